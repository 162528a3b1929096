// Messages to clients that wait for their own timers: the mirror showed nothing of what they have in flight,
// so no acknowledgement can be given.
#include <algorithm>

#include "stack/tcp/core.hh"
#include "stack/wire/icmp.hh"
#include "stack/wire/ipv4.hh"

namespace understudy::stack::tcp {
namespace {

// The header of the client's segment that stands at RCV.NXT, as far as an error quotes it (RFC 792).
constexpr std::size_t quoted_tcp_bytes = 8;
constexpr std::size_t error_length =
    wire::icmp_echo_header_length + wire::ipv4_header_length + quoted_tcp_bytes;

void send_error(Core& core, const Connection& c, std::uint8_t code, std::uint16_t mtu) {
    const Endpoint local = core.local_of(c), remote = core.remote_of(c);
    wire::IpHeader ip;
    ip.source = local.address;
    ip.destination = remote.address;
    ip.protocol = wire::IpProtocol::icmp;
    ip.ttl = c.ttl;
    const auto message = core.begin_packet(c.peer_link, ip, error_length);
    if (message.empty()) return;
    std::fill(message.begin(), message.end(), std::byte{0});
    wire::store8(message.data(), wire::icmp_unreachable);
    wire::store8(message.data() + 1, code);
    wire::store16(message.data() + 6, mtu);
    wire::IpHeader quoted;
    quoted.source = remote.address;
    quoted.destination = local.address;
    quoted.protocol = wire::IpProtocol::tcp;
    quoted.total_length = static_cast<std::uint32_t>(core.settings.mtu);
    wire::write_ipv4(message.subspan(wire::icmp_echo_header_length), quoted);
    std::byte* const tcp = message.data() + wire::icmp_echo_header_length + wire::ipv4_header_length;
    wire::store16(tcp, remote.port);
    wire::store16(tcp + 2, local.port);
    wire::store32(tcp + 4, c.rcv_nxt.raw());
    wire::store16(message.data() + 2, wire::checksum_finish(wire::checksum_add(message)));
    core.gate.commit();
    ++core.counters.client_kicks;
}

}  // namespace

void kick_client(Core& core, const Connection& c, const Shadow& shadow) {
    const ShadowSettings& settings = core.settings.shadow;
    if (!c.key.remote.is_v4() || c.peer_fin_seen) return;
    // What the mirror showed is acknowledged, which moves the client better than any error.
    if (c.rcv_nxt != shadow.primary_ack || c.out_of_order != nullptr) return;
    // Before its first time-out nothing is backed off.
    if (core.now - core.primary_seen_at >= core.settings.tcp.rto_min)
        for (int i = 0; i < settings.unreachable_kicks; ++i)
            send_error(core, c, wire::icmp_host_unreachable, 0);
    if (settings.path_mtu_kick)
        send_error(core, c, wire::icmp_fragmentation_needed,
                   static_cast<std::uint16_t>(core.settings.mtu - 1));
}

}  // namespace understudy::stack::tcp
