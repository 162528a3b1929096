#include "stack/host_protocols.hh"

#include <algorithm>

#include "stack/wire/icmp.hh"
#include "stack/wire/icmp6.hh"
#include "stack/wire/ipv4.hh"
#include "stack/wire/ipv6.hh"

namespace understudy::stack {

void HostProtocols::on_arp(wire::Bytes bytes) {
    const auto arp = wire::parse_arp(bytes);
    if (!arp) {
        ++core_.counters.drop_malformed_arp;
        return;
    }
    if (arp->operation != wire::ArpOperation::request || !core_.local_address_index(arp->target)) return;
    if (arp->sender == arp->target) return;  // somebody's own announcement asks nothing
    if (!core_.settings.speaks_for_host) return;
    send_arp(arp->sender_link, {wire::ArpOperation::reply, core_.settings.link_address, arp->target,
                                arp->sender_link, arp->sender});
    ++core_.counters.arp_replies_sent;
}

void HostProtocols::send_arp(const LinkAddress& destination, const wire::ArpPacket& arp) {
    const auto frame = core_.gate.reserve(wire::ethernet_header_length + wire::arp_length);
    if (frame.empty()) return;
    wire::write_ethernet(frame, {destination, core_.settings.link_address, wire::EtherType::arp});
    wire::write_arp(frame.subspan(wire::ethernet_header_length), arp);
    core_.gate.commit();
}

void HostProtocols::on_icmp(const IpPacket& packet) {
    if (!wire::is_valid_icmp(packet.payload)) {
        ++core_.counters.drop_malformed_icmp;
        return;
    }
    const std::uint8_t type = wire::load8(packet.payload.data());
    if (type == wire::icmp_unreachable || type == wire::icmp_time_exceeded)
        return on_error(packet.payload, false);
    if (type != wire::icmp_echo_request) {
        ++core_.counters.drop_icmp_type;
        return;
    }
    echo(packet);
}

void HostProtocols::on_icmp6(const IpPacket& packet) {
    if (packet.header.source.is_v4() ||
        !wire::is_valid_icmp6(packet.payload, packet.header.source, packet.header.destination)) {
        ++core_.counters.drop_malformed_icmp;
        return;
    }
    switch (wire::load8(packet.payload.data())) {
        case wire::icmp6_neighbour_solicitation:
            return on_solicitation(packet);
        case wire::icmp6_echo_request:
            if (core_.local_address_index(packet.header.destination)) return echo(packet);
            ++core_.counters.drop_not_ours;
            return;
        case wire::icmp6_unreachable:
        case wire::icmp6_packet_too_big:
        case wire::icmp6_time_exceeded:
            return on_error(packet.payload, true);
        default:
            ++core_.counters.drop_icmp_type;
    }
}

// The message quotes the IP header of what it is about and at least the 8 bytes after it (RFC 1122 3.2.2, RFC
// 4443 2.4): ports and sequence number.
void HostProtocols::on_error(wire::Bytes message, bool v6) {
    constexpr std::size_t least_after_ip = 8;
    const wire::Bytes quoted = message.subspan(wire::icmp_echo_header_length);
    const std::byte* const ip = quoted.data();
    std::size_t ip_length = wire::ipv6_header_length;
    if (!v6) ip_length = quoted.empty() ? 0 : std::size_t{4} * (wire::load8(ip) & 0x0f);
    if (ip_length < wire::ipv4_header_length || quoted.size() < ip_length + least_after_ip ||
        wire::load8(ip) >> 4 != (v6 ? 6 : 4)) {
        ++core_.counters.drop_malformed_icmp;
        return;
    }
    const std::byte* const tcp = ip + ip_length;
    Endpoint local, remote;
    if (v6) {
        local.address = wire::detail::load_ipv6(ip + 8);
        remote.address = wire::detail::load_ipv6(ip + 24);
    } else {
        local.address = IpAddress::from_v4(wire::load32(ip + 12));
        remote.address = IpAddress::from_v4(wire::load32(ip + 16));
    }
    local.port = wire::load16(tcp);
    remote.port = wire::load16(tcp + 2);
    const auto protocol = static_cast<wire::IpProtocol>(wire::load8(ip + (v6 ? 6 : 9)));
    tcp::Connection* const c = protocol == wire::IpProtocol::tcp && core_.local_address_index(local.address)
                                   ? core_.table.find(core_.key_of(remote, local))
                                   : nullptr;
    if (c == nullptr) {
        ++core_.counters.drop_icmp_unproven;
        return;
    }
    tcp::Core::Batch batch(core_);
    const Seq seq(wire::load32(tcp + 4));
    const std::uint8_t type = wire::load8(message.data()), code = wire::load8(message.data() + 1);
    if (v6 && type == wire::icmp6_packet_too_big)
        return tcp::on_path_mtu(core_, *c, wire::load32(message.data() + 4), seq);
    if (!v6 && type == wire::icmp_unreachable && code == wire::icmp_fragmentation_needed)
        return tcp::on_path_mtu(core_, *c, wire::load16(message.data() + 6), seq);
    const bool hard = v6 ? type == wire::icmp6_unreachable && code == wire::icmp6_port_unreachable
                         : type == wire::icmp_unreachable && (code == wire::icmp_protocol_unreachable ||
                                                              code == wire::icmp_port_unreachable);
    tcp::on_unreachable(core_, *c, hard, seq);
}

void HostProtocols::echo(const IpPacket& packet) {
    if (!core_.settings.speaks_for_host) return;
    wire::IpHeader ip;
    ip.source = packet.header.destination;
    ip.destination = packet.header.source;
    ip.protocol = packet.header.protocol;
    const auto reply = core_.begin_packet(packet.link.source, ip, packet.payload.size());
    if (reply.empty()) return;
    std::copy(packet.payload.begin(), packet.payload.end(), reply.begin());
    if (ip.source.is_v4()) {
        wire::make_echo_reply(reply);
    } else {
        wire::store8(reply.data(), wire::icmp6_echo_reply);
        wire::finish_icmp6(reply, ip.source, ip.destination);
    }
    core_.gate.commit();
    ++core_.counters.icmp_echo_replies_sent;
}

// RFC 4861 7.2.3 and 7.2.4.
void HostProtocols::on_solicitation(const IpPacket& packet) {
    const auto target = wire::neighbour_target(packet.payload);
    if (!target || packet.header.ttl != wire::neighbour_hop_limit) {
        ++core_.counters.drop_malformed_neighbour;
        return;
    }
    if (!core_.local_address_index(*target) || !core_.settings.speaks_for_host) return;
    // Without a source somebody probes whether our address is free (RFC 4862 5.4.3): all must hear.
    const bool is_probe = packet.header.source == IpAddress{};
    if (is_probe)
        advertise(*target, wire::all_nodes, wire::multicast_link(wire::all_nodes), false);
    else
        advertise(*target, packet.header.source, packet.link.source, true);
    ++core_.counters.neighbour_replies_sent;
}

void HostProtocols::advertise(const IpAddress& target, const IpAddress& destination, const LinkAddress& link,
                              bool solicited) {
    wire::IpHeader ip;
    ip.source = target;
    ip.destination = destination;
    ip.protocol = wire::IpProtocol::icmp6;
    ip.ttl = wire::neighbour_hop_limit;
    const auto message = core_.begin_packet(link, ip, wire::neighbour_message_length);
    if (message.empty()) return;
    wire::write_advertisement(message, {target, core_.settings.link_address, solicited});
    wire::finish_icmp6(message, ip.source, ip.destination);
    core_.gate.commit();
}

// Snooping switches deliver solicitations only where somebody listens to their group (rules.md 26).
void HostProtocols::report_listening(const IpAddress& address) {
    wire::IpHeader ip;
    ip.source = wire::link_local(core_.settings.link_address);
    ip.destination = wire::all_mld_routers;
    ip.protocol = wire::IpProtocol{0};  // hop-by-hop options come first
    ip.ttl = 1;
    const auto bytes = core_.begin_packet(wire::multicast_link(ip.destination), ip,
                                          wire::hop_by_hop_alert_length + wire::listener_report_length);
    if (bytes.empty()) return;
    wire::write_hop_by_hop_alert(bytes);
    const auto report = bytes.subspan(wire::hop_by_hop_alert_length);
    wire::write_listener_report(report, wire::solicited_node(address));
    wire::finish_icmp6(report, ip.source, ip.destination);
    core_.gate.commit();
}

// ARP in both forms: the request is always taken, the reply satisfies receivers that only listen to replies.
void HostProtocols::announce() {
    if (!core_.settings.speaks_for_host) return;
    for (const IpAddress& address : core_.local_addresses()) {
        if (!address.is_v4()) {
            advertise(address, wire::all_nodes, wire::multicast_link(wire::all_nodes), false);
            report_listening(address);
            ++core_.counters.neighbour_announcements_sent;
            continue;
        }
        for (const auto operation : {wire::ArpOperation::request, wire::ArpOperation::reply}) {
            send_arp(LinkAddress::broadcast(),
                     wire::gratuitous_arp(operation, core_.settings.link_address, address));
            ++core_.counters.arp_announcements_sent;
        }
    }
}

}  // namespace understudy::stack
