#include "tap/kernel_interface.hh"

#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <optional>

namespace understudy::tap {
namespace {

std::optional<ifreq> ask(int socket, const std::string& name, unsigned long request) {
    ifreq answer{};
    if (name.empty() || name.size() >= sizeof answer.ifr_name) return std::nullopt;
    std::memcpy(answer.ifr_name, name.data(), name.size());
    if (ioctl(socket, request, &answer) != 0) return std::nullopt;
    return answer;
}

}  // namespace

KernelInterface::KernelInterface(std::string name)
    : name_(std::move(name)), socket_(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {}

KernelInterface::~KernelInterface() {
    if (socket_ >= 0) close(socket_);
}

int KernelInterface::index() const {
    const auto answer = ask(socket_, name_, SIOCGIFINDEX);
    return answer ? answer->ifr_ifindex : 0;
}

short KernelInterface::flags() const {
    const auto answer = ask(socket_, name_, SIOCGIFFLAGS);
    return answer ? answer->ifr_flags : short{0};
}

bool KernelInterface::up() const {
    return (flags() & IFF_UP) != 0;
}

bool KernelInterface::carrier() const {
    return (flags() & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING);
}

std::size_t KernelInterface::mtu() const {
    const auto answer = ask(socket_, name_, SIOCGIFMTU);
    return answer ? static_cast<std::size_t>(answer->ifr_mtu) : 0;
}

std::array<std::uint8_t, 6> KernelInterface::link_address() const {
    std::array<std::uint8_t, 6> address{};
    const auto answer = ask(socket_, name_, SIOCGIFHWADDR);
    if (answer && answer->ifr_hwaddr.sa_family == ARPHRD_ETHER)
        std::memcpy(address.data(), answer->ifr_hwaddr.sa_data, address.size());
    return address;
}

}  // namespace understudy::tap
