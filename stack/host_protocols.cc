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
    const auto claimed = core_.local_address_index(arp->sender);
    if (claimed && arp->sender_link != core_.settings.link_address) on_claim(*claimed, arp->sender_link);
    const bool answers =
        arp->operation == wire::ArpOperation::reply && core_.local_address_index(arp->target);
    learn_neighbour(arp->sender, arp->sender_link, {.solicited = answers});
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
    const bool is_discovery =
        type == wire::icmp6_neighbour_solicitation || type == wire::icmp6_neighbour_advertisement;
    if (!is_discovery && type != wire::icmp6_listener_query) {
        ++core_.counters.drop_icmp_type;
        return;
    }
    // RFC 6980 5: never in fragments.
    if (packet.reassembled) {
        ++core_.counters.drop_malformed_neighbour;
        return;
    }
    if (type == wire::icmp6_neighbour_solicitation) return on_solicitation(packet);
    if (type == wire::icmp6_neighbour_advertisement) return on_advertisement(packet);
    on_listener_query(packet);
}

void HostProtocols::on_advertisement(const IpPacket& packet) {
    const auto target = wire::neighbour_target(packet.payload);
    if (!target || packet.header.ttl != wire::neighbour_hop_limit) {
        ++core_.counters.drop_malformed_neighbour;
        return;
    }
    // RFC 4862 5.4.4: an address that is in use here is duplicate.
    const auto claimed = core_.local_address_index(*target);
    if (claimed && packet.link.source != core_.settings.link_address) on_claim(*claimed, packet.link.source);
    // Without the option the sender counts on our knowing it (RFC 4861 4.4).
    const auto link = wire::neighbour_link(packet.payload, wire::target_link_option);
    const std::uint32_t flags = wire::load32(packet.payload.data() + 4);
    const bool solicited = (flags & wire::solicited_flag) != 0,
               overrides = (flags & wire::override_flag) != 0;
    learn_neighbour(*target, link.value_or(packet.link.source),
                    {.solicited = solicited, .overrides = overrides});
}

void HostProtocols::learn_neighbour(const IpAddress& address, const LinkAddress& link,
                                    ip::Neighbours::Word word) {
    for (const auto& frame : core_.neighbours.learn(address, link, word, core_.now)) {
        const auto room = core_.gate.reserve(frame.size());
        if (room.empty()) continue;
        std::copy(frame.begin(), frame.end(), room.begin());
        core_.gate.commit();
    }
}

void HostProtocols::resolve_neighbours() {
    const auto due = core_.neighbours.advance(core_.now);
    for (const auto& solicitation : due.ask)
        solicit(solicitation);
    const std::size_t link_length =
        wire::ethernet_header_length + (core_.settings.vlan ? wire::vlan_tag_length : 0);
    for (const auto& frame : due.lost)
        errors.no_route(wire::Bytes(frame).subspan(link_length));
}

void HostProtocols::solicit(const ip::Neighbours::Solicitation& s) {
    ++core_.counters.neighbours_solicited;
    const LinkAddress& own = core_.settings.link_address;
    if (s.target.is_v4())
        return send_arp(s.link.value_or(LinkAddress::broadcast()),
                        {wire::ArpOperation::request, own, s.source, LinkAddress{}, s.target});
    send_solicitation(s.source, s.target, s.link);
}

void HostProtocols::send_solicitation(const IpAddress& source, const IpAddress& target,
                                      const std::optional<LinkAddress>& link) {
    wire::IpHeader ip;
    ip.source = source;
    ip.destination = link ? target : wire::solicited_node(target);
    ip.protocol = wire::IpProtocol::icmp6;
    ip.ttl = wire::neighbour_hop_limit;
    const auto message = core_.begin_packet(link.value_or(wire::multicast_link(ip.destination)), ip,
                                            wire::neighbour_message_length);
    if (message.empty()) return;
    wire::write_solicitation(message, target, core_.settings.link_address);
    wire::finish_icmp6(message, ip.source, ip.destination);
    core_.gate.commit();
}

void HostProtocols::on_claim(std::size_t index, const LinkAddress& link) {
    if (!core_.settings.speaks_for_host) return;
    ++core_.counters.address_conflicts;
    if (!guard_.claimed(index, core_.now)) return;
    const IpAddress address = core_.local_addresses()[index];
    announce(address);
    ++core_.counters.address_defences;
    core_.events.address_conflict(address, link);
}

// Who asks which groups we listen to hears it at once: there are few of us, and snooping switches forget
// listeners that do not answer (RFC 3810 6.1 would spread the answers over time).
void HostProtocols::on_listener_query(const IpPacket& packet) {
    constexpr std::size_t least_query = 24;  // RFC 3810 5.1, RFC 2710 3
    // RFC 3810 5.1.14.
    if (packet.payload.size() < least_query || packet.header.ttl != 1 ||
        !wire::is_link_local(packet.header.source)) {
        ++core_.counters.drop_malformed_neighbour;
        return;
    }
    if (!core_.settings.speaks_for_host) return;
    for (const IpAddress& address : core_.local_addresses())
        if (!address.is_v4()) report_listening(address, wire::ListenerRecord::mode_is_exclude);
    ++core_.counters.listener_queries_answered;
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
    if (const auto link = wire::neighbour_link(packet.payload, wire::source_link_option))
        learn_neighbour(packet.header.source, *link, {});
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
void HostProtocols::report_listening(const IpAddress& address, wire::ListenerRecord record) {
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
    wire::write_listener_report(report, wire::solicited_node(address), record);
    wire::finish_icmp6(report, ip.source, ip.destination);
    core_.gate.commit();
}

// ARP in both forms: the request is always taken, the reply satisfies receivers that only listen to replies.
void HostProtocols::announce(const IpAddress& address) {
    if (!address.is_v4()) {
        advertise(address, wire::all_nodes, wire::multicast_link(wire::all_nodes), false);
        ++core_.counters.neighbour_announcements_sent;
        return;
    }
    for (const auto operation : {wire::ArpOperation::request, wire::ArpOperation::reply}) {
        send_arp(LinkAddress::broadcast(),
                 wire::gratuitous_arp(operation, core_.settings.link_address, address));
        ++core_.counters.arp_announcements_sent;
    }
}

// An owner that is still there says so at once, which it does not on hearing the announcement: Linux takes
// that for a packet with a forged source. IPv6 asks from our link-local address, not as RFC 4862 from none:
// the answer to that goes to all nodes and would send them to the owner.
void HostProtocols::probe_for_conflict(const IpAddress& address) {
    ++core_.counters.conflict_probes_sent;
    const LinkAddress& own = core_.settings.link_address;
    if (address.is_v4())
        return send_arp(LinkAddress::broadcast(),
                        {wire::ArpOperation::request, own, IpAddress::from_v4(0), LinkAddress{}, address});
    send_solicitation(wire::link_local(own), address, std::nullopt);
}

void HostProtocols::announce() {
    if (!core_.settings.speaks_for_host) return;
    for (const IpAddress& address : core_.local_addresses()) {
        announce(address);
        if (core_.settings.conflict_probes) probe_for_conflict(address);
        if (!address.is_v4()) report_listening(address, wire::ListenerRecord::change_to_exclude);
    }
}

}  // namespace understudy::stack
