#include "tools/agent/announcer.hh"

#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>
#include <vector>

#include <boost/asio/steady_timer.hpp>

#include "stack/settings.hh"
#include "stack/wire/arp.hh"
#include "stack/wire/icmp6.hh"
#include "stack/wire/ip_packet.hh"
#include "tools/common/program.hh"

namespace understudy::tools {

namespace wire = stack::wire;

namespace {

class PacketSocket {
  public:
    explicit PacketSocket(const std::string& interface)
        // Protocol 0: it only sends, nothing is received.
        : interface_(interface),
          descriptor_(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
        if (descriptor_ < 0) fail(errno == EPERM ? "needs root or CAP_NET_RAW" : std::strerror(errno));
        try {
            bind();
        } catch (...) {
            ::close(descriptor_);
            throw;
        }
    }
    ~PacketSocket() { ::close(descriptor_); }
    PacketSocket(const PacketSocket&) = delete;
    PacketSocket& operator=(const PacketSocket&) = delete;

    const stack::LinkAddress& link_address() const { return link_address_; }
    bool send(wire::Bytes frame) const {
        return ::send(descriptor_, frame.data(), frame.size(), 0) == static_cast<ssize_t>(frame.size());
    }

  private:
    [[noreturn]] void fail(const std::string& what) const {
        throw std::runtime_error("cannot announce on interface " + interface_ + ": " + what);
    }

    void bind() {
        ifreq request{};
        if (interface_.size() >= sizeof request.ifr_name) fail("no interface has so long a name");
        std::memcpy(request.ifr_name, interface_.c_str(), interface_.size() + 1);
        if (::ioctl(descriptor_, SIOCGIFHWADDR, &request) != 0) fail(std::strerror(errno));
        if (request.ifr_hwaddr.sa_family != ARPHRD_ETHER) fail("it is no Ethernet interface");
        std::memcpy(link_address_.octets.data(), request.ifr_hwaddr.sa_data, link_address_.octets.size());
        if (::ioctl(descriptor_, SIOCGIFINDEX, &request) != 0) fail(std::strerror(errno));
        sockaddr_ll address{};
        address.sll_family = AF_PACKET;
        address.sll_ifindex = request.ifr_ifindex;
        if (::bind(descriptor_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
            fail(std::strerror(errno));
    }

    std::string interface_;
    int descriptor_;
    stack::LinkAddress link_address_;
};

using FrameBytes = std::vector<std::byte>;

// Padded to the shortest frame that Ethernet carries.
FrameBytes arp_frame(wire::ArpOperation operation, const stack::LinkAddress& link,
                     const stack::IpAddress& address) {
    FrameBytes frame(ETH_ZLEN);
    wire::write_ethernet(frame, {stack::LinkAddress::broadcast(), link, wire::EtherType::arp});
    wire::write_arp(std::span(frame).subspan(wire::ethernet_header_length),
                    wire::gratuitous_arp(operation, link, address));
    return frame;
}

// RFC 4861 7.2.6.
FrameBytes advertisement_frame(const stack::LinkAddress& link, const stack::IpAddress& address) {
    const std::size_t offset = wire::ethernet_header_length + wire::ipv6_header_length;
    FrameBytes frame(offset + wire::neighbour_message_length);
    wire::write_ethernet(frame, {wire::multicast_link(wire::all_nodes), link, wire::EtherType::ipv6});
    wire::IpHeader ip;
    ip.source = address;
    ip.destination = wire::all_nodes;
    ip.protocol = wire::IpProtocol::icmp6;
    ip.ttl = wire::neighbour_hop_limit;
    ip.total_length = wire::ipv6_header_length + wire::neighbour_message_length;
    wire::write_ipv6(std::span(frame).subspan(wire::ethernet_header_length), ip);
    const auto message = std::span(frame).subspan(offset);
    wire::write_advertisement(message, {address, link, false});
    wire::finish_icmp6(message, ip.source, ip.destination);
    return frame;
}

std::vector<FrameBytes> announcement_frames(const stack::LinkAddress& link, const stack::IpAddress& address) {
    if (!address.is_v4()) return {advertisement_frame(link, address)};
    return {arp_frame(wire::ArpOperation::request, link, address),
            arp_frame(wire::ArpOperation::reply, link, address)};
}

}  // namespace

Announcement parse_announcement(std::string_view text) {
    const std::size_t equals = text.find('=');
    const auto address =
        equals == std::string_view::npos ? std::nullopt : stack::parse_ip_address(text.substr(equals + 1));
    if (!address || equals == 0)
        throw UsageError("--announce: '" + std::string(text) + "' is no INTERFACE=ADDRESS");
    return {std::string(text.substr(0, equals)), *address};
}

struct Announcer::Impl : std::enable_shared_from_this<Impl> {
    Announcement announcement;
    OnSent on_sent;
    PacketSocket socket;
    boost::asio::steady_timer timer;
    std::chrono::steady_clock::time_point started;
    // The schedule of the replica's own announcement.
    const std::vector<stack::Duration> repeats = stack::Settings{}.announce_repeats;
    std::size_t next_repeat = 0;

    Impl(boost::asio::io_context& io, const Announcement& wanted, OnSent callback)
        : announcement(wanted), on_sent(std::move(callback)), socket(wanted.interface), timer(io) {}

    void announce() {
        std::size_t frames = 0;
        for (const FrameBytes& frame : announcement_frames(socket.link_address(), announcement.address))
            if (socket.send(frame)) ++frames;
        if (on_sent) on_sent(announcement, frames);
        if (next_repeat == repeats.size()) return;
        timer.expires_at(started + std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                                       repeats[next_repeat++]));
        timer.async_wait([self = shared_from_this()](boost::system::error_code error) {
            if (!error) self->announce();
        });
    }
};

Announcer::Announcer(boost::asio::io_context& io, const Announcement& announcement, OnSent on_sent)
    : impl_(std::make_shared<Impl>(io, announcement, std::move(on_sent))) {}

Announcer::~Announcer() {
    if (impl_) stop();
}
Announcer::Announcer(Announcer&&) noexcept = default;
Announcer& Announcer::operator=(Announcer&&) noexcept = default;

void Announcer::start() {
    impl_->started = std::chrono::steady_clock::now();
    impl_->next_repeat = 0;
    impl_->announce();
}

void Announcer::stop() {
    impl_->timer.cancel();
}

}  // namespace understudy::tools
