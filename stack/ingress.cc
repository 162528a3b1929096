#include "stack/ingress.hh"

#include "stack/wire/tcp.hh"

namespace understudy::stack {

std::optional<IpPacket> read_ip(const ReceivedFrame& frame, const wire::EthernetHeader& link,
                                const ShadowSettings& settings, Counters& counters) {
    IpPacket packet;
    packet.link = link;
    const wire::Bytes bytes = frame.bytes.subspan(wire::ethernet_header_length);
    const bool is_v6 = link.type == wire::EtherType::ipv6;
    switch (is_v6 ? wire::parse_ipv6(bytes, packet.header) : wire::parse_ipv4(bytes, packet.header)) {
        case wire::IpError::malformed:
            ++counters.drop_malformed_ip;
            return std::nullopt;
        case wire::IpError::bad_checksum:
            ++counters.drop_ip_checksum;
            return std::nullopt;
        case wire::IpError::unfilled_checksum:
            if (settings.accept_unfilled_checksums && frame.source != Source::service) break;
            ++counters.drop_unfilled_ip_checksum;
            return std::nullopt;
        case wire::IpError::none:
            break;
    }
    if (packet.header.total_length > bytes.size()) {
        ++counters.drop_truncated;
        return std::nullopt;
    }
    if (packet.header.fragment) {
        ++counters.drop_ip_fragment;
        return std::nullopt;
    }
    packet.payload = bytes.first(packet.header.total_length).subspan(packet.header.header_length);
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
    if (wire::checksum_finish(wire::checksum_add(packet.payload, pseudo)) != 0) {
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
