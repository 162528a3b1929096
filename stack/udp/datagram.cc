#include "stack/udp/datagram.hh"

#include <utility>

#include "stack/wire/checksum.hh"
#include "stack/wire/udp.hh"

namespace understudy::stack::udp {
namespace {

enum class Sum : std::uint8_t { right, wrong, unfilled, missing };

Sum judge_checksum(const IpPacket& packet, wire::Bytes datagram, std::uint16_t field) {
    // RFC 768: zero means that the sender computed none. RFC 8200 8.1: not over IPv6.
    if (field == 0) return packet.header.source.is_v4() ? Sum::right : Sum::missing;
    if (packet.transport_checked) return Sum::right;
    const std::uint64_t pseudo = wire::pseudo_header_sum(packet.header.source, packet.header.destination,
                                                         static_cast<std::uint8_t>(wire::IpProtocol::udp),
                                                         static_cast<std::uint32_t>(datagram.size()));
    if (wire::checksum_finish(wire::checksum_add(datagram, pseudo)) == 0) return Sum::right;
    return field == wire::checksum_fold(pseudo) ? Sum::unfilled : Sum::wrong;
}

}  // namespace

std::optional<Datagram> read_datagram(const IpPacket& packet, Source source, const ShadowSettings& settings,
                                      Counters& counters) {
    const auto header = wire::parse_udp(packet.payload);
    if (!header) {
        ++counters.drop_malformed_udp;
        return std::nullopt;
    }
    const wire::Bytes bytes = packet.payload.first(header->length);
    const Sum sum = judge_checksum(packet, bytes, header->checksum);
    if (sum == Sum::wrong) {
        ++counters.drop_udp_checksum;
        return std::nullopt;
    }
    if (sum == Sum::missing) {
        ++counters.drop_udp_no_checksum;
        return std::nullopt;
    }
    // Left to the sender's NIC (rules.md 6).
    if (sum == Sum::unfilled && (!settings.accept_unfilled_checksums || source == Source::service)) {
        ++counters.drop_udp_unfilled_checksum;
        return std::nullopt;
    }
    Datagram datagram;
    datagram.source = source;
    datagram.link_source = packet.link.source;
    datagram.link_destination = packet.link.destination;
    datagram.remote = {packet.header.source, header->source_port};
    datagram.local = {packet.header.destination, header->destination_port};
    if (source == Source::tap_from_primary) std::swap(datagram.remote, datagram.local);
    if (packet.header.source.is_v4())
        datagram.identification = static_cast<std::uint16_t>(packet.header.identification);
    datagram.tap = packet.tap;
    datagram.payload = bytes.subspan(wire::udp_header_length);
    return datagram;
}

}  // namespace understudy::stack::udp
