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

wire::MutableBytes PrimaryProbe::begin(wire::EtherType type, std::size_t length) {
    const auto& vlan = core_.settings.vlan;
    const std::size_t link_length = wire::ethernet_header_length + (vlan ? wire::vlan_tag_length : 0);
    const auto frame = core_.gate.reserve_probe(link_length + length);
    if (frame.empty()) return {};
    const wire::EthernetHeader link{primary_, core_.settings.link_address, type};
    if (vlan)
        wire::write_tagged_ethernet(frame, link, *vlan);
    else
        wire::write_ethernet(frame, link);
    return frame.subspan(link_length);
}

void PrimaryProbe::send_arp(const IpAddress& address) {
    const auto packet = begin(wire::EtherType::arp, wire::arp_length);
    if (packet.empty()) return;
    wire::write_arp(packet,
                    {wire::ArpOperation::request, core_.settings.link_address, IpAddress::from_v4(0),
                     LinkAddress{}, address});
    core_.gate.commit();
    ++core_.counters.primary_probes_sent;
}

void PrimaryProbe::send_solicitation(const IpAddress& address) {
    constexpr std::size_t length = wire::neighbour_message_length;
    const auto packet = begin(wire::EtherType::ipv6, wire::ipv6_header_length + length);
    if (packet.empty()) return;
    const IpAddress source = wire::link_local(core_.settings.link_address);
    wire::IpHeader header;
    header.source = source;
    header.destination = address;
    header.protocol = wire::IpProtocol::icmp6;
    header.ttl = wire::neighbour_hop_limit;
    header.total_length = static_cast<std::uint32_t>(wire::ipv6_header_length + length);
    wire::write_ipv6(packet, header);
    const auto message = packet.subspan(wire::ipv6_header_length);
    wire::write_solicitation(message, address, core_.settings.link_address);
    wire::finish_icmp6(message, source, address);
    core_.gate.commit();
    ++core_.counters.primary_probes_sent;
}

bool PrimaryProbe::is_answer(const LinkFrame& frame) const {
    const wire::EthernetHeader& link = frame.link;
    if (!sent_ || link.source != primary_ || link.destination != core_.settings.link_address) return false;
    const wire::Bytes packet = frame.payload;
    if (link.type == wire::EtherType::arp) {
        const auto arp = wire::parse_arp(packet);
        return arp && arp->operation == wire::ArpOperation::reply && arp->sender == asked_ &&
               arp->sender_link == primary_;
    }
    if (link.type != wire::EtherType::ipv6) return false;
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
