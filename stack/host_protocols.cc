#include "stack/host_protocols.hh"

#include <algorithm>

#include "stack/wire/icmp.hh"
#include "stack/wire/icmp6.hh"

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
    const auto packet = core_.begin_frame(destination, wire::EtherType::arp, wire::arp_length);
    if (packet.empty()) return;
    wire::write_arp(packet, arp);
    core_.gate.commit();
}

void HostProtocols::on_icmp(const IpPacket& packet, Source source) {
    const bool v4 = packet.header.source.is_v4();
    if (v4 != (packet.header.protocol == wire::IpProtocol::icmp)) {
        ++core_.counters.drop_ip_protocol;
        return;
    }
    const bool valid =
        v4 ? wire::is_valid_icmp(packet.payload)
           : wire::is_valid_icmp6(packet.payload, packet.header.source, packet.header.destination);
    if (!valid) {
        ++core_.counters.drop_malformed_icmp;
        return;
    }
    if (ip::IcmpErrors::is_error(packet)) return errors.receive(packet, source);
    const std::uint8_t type = wire::load8(packet.payload.data());
    if (source != Source::service) {
        ++core_.counters.drop_icmp_type;
    } else if (type == (v4 ? wire::icmp_echo_request : wire::icmp6_echo_request)) {
        if (core_.local_address_index(packet.header.destination))
            echo(packet);
        else
            ++core_.counters.drop_not_ours;
    } else if (!v4) {
        on_icmp6(packet, type);
    } else {
        ++core_.counters.drop_icmp_type;
    }
}

void HostProtocols::on_icmp6(const IpPacket& packet, std::uint8_t type) {
    if (type != wire::icmp6_neighbour_solicitation) {
        ++core_.counters.drop_icmp_type;
        return;
    }
    // RFC 6980 5: never in fragments.
    if (packet.reassembled) {
        ++core_.counters.drop_malformed_neighbour;
        return;
    }
    on_solicitation(packet);
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
