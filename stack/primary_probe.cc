#include "stack/primary_probe.hh"

#include <algorithm>

#include "stack/wire/arp.hh"
#include "stack/wire/ethernet.hh"
#include "stack/wire/icmp6.hh"
#include "stack/wire/ipv6.hh"

namespace understudy::stack {

void PrimaryProbe::send(const IpAddress& address, const LinkAddress& primary) {
    primary_ = primary;
    asked_ = address;
    sent_ = true;
    if (address.is_v4())
        send_arp(address);
    else
        send_solicitation(address);
}

void PrimaryProbe::send_arp(const IpAddress& address) {
    const auto frame = core_.gate.reserve_probe(wire::ethernet_header_length + wire::arp_length);
    if (frame.empty()) return;
    wire::write_ethernet(frame, {primary_, core_.settings.link_address, wire::EtherType::arp});
    wire::write_arp(frame.subspan(wire::ethernet_header_length),
                    {wire::ArpOperation::request, core_.settings.link_address, IpAddress::from_v4(0),
                     LinkAddress{}, address});
    core_.gate.commit();
    ++core_.counters.primary_probes_sent;
}

void PrimaryProbe::send_solicitation(const IpAddress& address) {
    constexpr std::size_t length = wire::neighbour_message_length;
    const auto frame =
        core_.gate.reserve_probe(wire::ethernet_header_length + wire::ipv6_header_length + length);
    if (frame.empty()) return;
    const IpAddress source = wire::link_local(core_.settings.link_address);
    wire::write_ethernet(frame, {primary_, core_.settings.link_address, wire::EtherType::ipv6});
    wire::IpHeader header;
    header.source = source;
    header.destination = address;
    header.protocol = wire::IpProtocol::icmp6;
    header.ttl = wire::neighbour_hop_limit;
    header.total_length = static_cast<std::uint32_t>(wire::ipv6_header_length + length);
    wire::write_ipv6(frame.subspan(wire::ethernet_header_length), header);
    const auto message = frame.subspan(wire::ethernet_header_length + wire::ipv6_header_length);
    wire::write_solicitation(message, address, core_.settings.link_address);
    wire::finish_icmp6(message, source, address);
    core_.gate.commit();
    ++core_.counters.primary_probes_sent;
}

bool PrimaryProbe::is_answer(wire::Bytes frame) const {
    const auto link = wire::parse_ethernet(frame);
    if (!sent_ || !link || link->source != primary_ || link->destination != core_.settings.link_address)
        return false;
    const auto packet = frame.subspan(wire::ethernet_header_length);
    if (link->type == wire::EtherType::arp) {
        const auto arp = wire::parse_arp(packet);
        return arp && arp->operation == wire::ArpOperation::reply && arp->sender == asked_ &&
               arp->sender_link == primary_;
    }
    if (link->type != wire::EtherType::ipv6) return false;
    wire::IpHeader header;
    if (wire::parse_ipv6(packet, header) != wire::IpError::none || header.fragment ||
        header.protocol != wire::IpProtocol::icmp6 || header.ttl != wire::neighbour_hop_limit ||
        header.total_length > packet.size())
        return false;
    const auto message = packet.first(header.total_length).subspan(header.header_length);
    if (!wire::is_valid_icmp6(message, header.source, header.destination)) return false;
    if (wire::load8(message.data()) != wire::icmp6_neighbour_advertisement) return false;
    return wire::neighbour_target(message) == asked_;
}

}  // namespace understudy::stack
