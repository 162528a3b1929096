#include "tests/corpus/segments.hh"

#include "stack/wire/ip_packet.hh"

namespace understudy::corpus {

using namespace stack;

std::optional<SegmentView> view_segment(std::span<const std::byte> frame) {
    const auto link = wire::parse_ethernet(frame);
    if (!link) return std::nullopt;
    const auto packet = frame.subspan(wire::ethernet_header_length);
    wire::IpHeader ip;
    if (link->type == wire::EtherType::ipv4) {
        const wire::IpError error = wire::parse_ipv4(packet, ip);
        if (error == wire::IpError::malformed) return std::nullopt;
        if (error == wire::IpError::bad_checksum) {  // the rest of the header is read all the same
            ip.fragment = (wire::load16(packet.data() + 6) & 0x3fff) != 0;
            ip.protocol = wire::IpProtocol{wire::load8(packet.data() + 9)};
            ip.source = IpAddress::from_v4(wire::load32(packet.data() + 12));
            ip.destination = IpAddress::from_v4(wire::load32(packet.data() + 16));
        }
    } else if (link->type != wire::EtherType::ipv6 || wire::parse_ipv6(packet, ip) != wire::IpError::none) {
        return std::nullopt;
    }
    if (ip.fragment || ip.protocol != wire::IpProtocol::tcp || ip.total_length > packet.size())
        return std::nullopt;
    const auto segment = packet.first(ip.total_length).subspan(ip.header_length);
    SegmentView view;
    if (!wire::parse_tcp(segment, view.header)) return std::nullopt;
    view.source = {ip.source, view.header.source_port};
    view.destination = {ip.destination, view.header.destination_port};
    view.payload = segment.subspan(view.header.header_length);
    return view;
}

}  // namespace understudy::corpus
