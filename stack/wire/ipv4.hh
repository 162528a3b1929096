// IPv4 (RFC 791).
#pragma once

#include <optional>

#include "stack/address.hh"
#include "stack/wire/bytes.hh"
#include "stack/wire/checksum.hh"
#include "stack/wire/ip.hh"

namespace understudy::stack::wire {

inline constexpr std::size_t ipv4_header_length = 20;  // without options

// Reads the header at the start of `packet`, which may be longer than the total length (padding) or shorter
// (a cut capture): the caller compares. The header itself must be whole.
inline IpError parse_ipv4(Bytes packet, IpHeader& header) {
    if (packet.size() < ipv4_header_length) return IpError::malformed;
    const std::byte* p = packet.data();
    header.header_length = static_cast<std::uint16_t>((load8(p) & 0x0f) * 4);
    header.total_length = load16(p + 2);
    if (load8(p) >> 4 != 4 || header.header_length < ipv4_header_length ||
        header.header_length > packet.size() || header.total_length < header.header_length)
        return IpError::malformed;
    const bool wrong_checksum = checksum_finish(checksum_add(packet.first(header.header_length))) != 0;
    if (wrong_checksum && load16(p + 10) != 0) return IpError::bad_checksum;
    header.traffic_class = load8(p + 1);
    header.identification = load16(p + 4);
    const std::uint16_t fragment = load16(p + 6);
    header.dont_fragment = (fragment & 0x4000) != 0;
    header.fragment = (fragment & 0x3fff) != 0;
    header.ttl = load8(p + 8);
    header.protocol = IpProtocol{load8(p + 9)};
    header.source = IpAddress::from_v4(load32(p + 12));
    header.destination = IpAddress::from_v4(load32(p + 16));
    return wrong_checksum ? IpError::unfilled_checksum : IpError::none;
}

// Writes a header without options; `packet` has room for ipv4_header_length bytes.
inline void write_ipv4(MutableBytes packet, const IpHeader& header) {
    std::byte* p = packet.data();
    store8(p, 0x45);
    store8(p + 1, header.traffic_class);
    store16(p + 2, static_cast<std::uint16_t>(header.total_length));
    store16(p + 4, header.identification);
    store16(p + 6, header.dont_fragment ? 0x4000 : 0);
    store8(p + 8, header.ttl);
    store8(p + 9, static_cast<std::uint8_t>(header.protocol));
    store16(p + 10, 0);
    store32(p + 12, header.source.v4());
    store32(p + 16, header.destination.v4());
    store16(p + 10, checksum_finish(checksum_add(packet.first(ipv4_header_length))));
}

}  // namespace understudy::stack::wire
