#include "stack/ingress.hh"

#include "stack/wire/tcp.hh"

namespace understudy::stack {
namespace {

// Filled where it stays: a header written field by field and copied at once makes the processor wait.
bool fill_ip(const LinkFrame& frame, Source source, const ShadowSettings& settings, Counters& counters,
             IpPacket& packet) {
    packet.link = frame.link;
    const wire::Bytes bytes = frame.payload;
    const bool is_v6 = frame.link.type == wire::EtherType::ipv6;
    switch (is_v6 ? wire::parse_ipv6(bytes, packet.header) : wire::parse_ipv4(bytes, packet.header)) {
        case wire::IpError::malformed:
            ++counters.drop_malformed_ip;
            return false;
        case wire::IpError::bad_checksum:
            ++counters.drop_ip_checksum;
            return false;
        case wire::IpError::unfilled_checksum:
            if (settings.accept_unfilled_checksums && source != Source::service) break;
            ++counters.drop_unfilled_ip_checksum;
            return false;
        case wire::IpError::source_routed:
            ++counters.drop_source_route;
            return false;
        case wire::IpError::unknown_option:
            ++counters.drop_ip_option;
            return false;
        case wire::IpError::none:
            break;
    }
    if (packet.header.total_length > bytes.size()) {
        ++counters.drop_truncated;
        return false;
    }
    // Of a fragment nobody can say it.
    packet.transport_checked = frame.transport_checked && !packet.header.fragment;
    packet.whole = bytes.first(packet.header.total_length);
    packet.payload = packet.whole.subspan(packet.header.header_length);
    return true;
}

}  // namespace

std::optional<LinkFrame> read_link(const ReceivedFrame& frame, const Settings& settings, Counters& counters) {
    const auto link = wire::parse_ethernet(frame.bytes);
    if (!link) {
        ++counters.drop_malformed_ethernet;
        return std::nullopt;
    }
    LinkFrame result{*link, frame.bytes.subspan(wire::ethernet_header_length), frame.transport_checked};
    if (frame.source != Source::service) return result;
    // IEEE 802.1Q: id 0 is a priority without a VLAN.
    std::uint16_t vlan = 0;
    if (link->type == wire::EtherType::vlan) {
        if (result.payload.size() < wire::vlan_tag_length) {
            ++counters.drop_malformed_ethernet;
            return std::nullopt;
        }
        vlan = wire::load16(result.payload.data()) & wire::vlan_id_mask;
        result.link.type = wire::EtherType{wire::load16(result.payload.data() + 2)};
        result.payload = result.payload.subspan(wire::vlan_tag_length);
    }
    if (vlan != settings.vlan.value_or(0)) {
        ++counters.drop_vlan;
        return std::nullopt;
    }
    return result;
}

std::optional<IpPacket> read_ip(const LinkFrame& frame, Source source, const ShadowSettings& settings,
                                Counters& counters) {
    std::optional<IpPacket> packet(std::in_place);
    if (!fill_ip(frame, source, settings, counters, *packet)) packet.reset();
    return packet;
}

bool read_tcp(const IpPacket& packet, Source source, const ShadowSettings& settings, Counters& counters,
              tcp::Segment& segment) {
    if (!wire::parse_tcp(packet.payload, segment.header)) {
        ++counters.drop_malformed_tcp;
        return false;
    }
    const std::uint64_t pseudo = wire::pseudo_header_sum(packet.header.source, packet.header.destination,
                                                         static_cast<std::uint8_t>(wire::IpProtocol::tcp),
                                                         static_cast<std::uint32_t>(packet.payload.size()));
    if (!packet.transport_checked && wire::checksum_finish(wire::checksum_add(packet.payload, pseudo)) != 0) {
        // A sender that leaves the sum to its NIC fills in the folded pseudo-header sum: exactly
        // recognisable.
        const std::uint16_t field = wire::load16(packet.payload.data() + wire::tcp_checksum_offset);
        const bool unfilled = field == wire::checksum_fold(pseudo);
        if (!unfilled) {
            ++counters.drop_tcp_checksum;
            return false;
        }
        if (!settings.accept_unfilled_checksums || source == Source::service) {
            ++counters.drop_unfilled_checksum;
            return false;
        }
    }
    segment.source = source;
    segment.link_source = packet.link.source;
    segment.link_destination = packet.link.destination;
    segment.payload = packet.payload.subspan(segment.header.header_length);
    segment.ttl = packet.header.ttl;
    segment.traffic_class = packet.header.traffic_class;
    if (segment.header.options.malformed) ++counters.drop_malformed_option;
    segment.remote = {packet.header.source, segment.header.source_port};
    segment.local = {packet.header.destination, segment.header.destination_port};
    if (source == Source::tap_from_primary) std::swap(segment.remote, segment.local);
    ++counters.tcp_segments_received;
    return true;
}

}  // namespace understudy::stack
