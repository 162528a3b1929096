#include "tests/interop/tap_device.hh"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace understudy::interop {

TapDevice::TapDevice(const std::string& name)
    : descriptor_(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)) {
    ifreq request{};
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    if (descriptor_.get() < 0 || ::ioctl(descriptor_.get(), TUNSETIFF, &request) != 0)
        throw std::system_error(errno, std::generic_category(), "TAP interface " + name);
    frames_.reserve(burst);
}

std::span<const stack::ReceivedFrame> TapDevice::receive() {
    frames_.clear();
    while (frames_.size() < burst) {
        auto& buffer = received_[frames_.size()];
        const ssize_t length = ::read(descriptor_.get(), buffer.data(), buffer.size());
        if (length <= 0) break;
        frames_.push_back({stack::Source::service, std::span(buffer).first(static_cast<std::size_t>(length)),
                           static_cast<std::uint32_t>(length)});
    }
    return frames_;
}

std::span<std::byte> TapDevice::reserve(std::size_t length) {
    outgoing_.assign(length, std::byte{0});
    return outgoing_;
}

void TapDevice::commit() {
    // A frame that the interface does not take is a frame lost on the wire.
    if (::write(descriptor_.get(), outgoing_.data(), outgoing_.size()) < 0) ++send_failures_;
}

}  // namespace understudy::interop
