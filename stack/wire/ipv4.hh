// IPv4 (RFC 791).
#pragma once

#include <optional>

#include "stack/address.hh"
#include "stack/wire/bytes.hh"
#include "stack/wire/checksum.hh"
#include "stack/wire/ip.hh"

namespace understudy::stack::wire {

inline constexpr std::size_t ipv4_header_length = 20;  // without options

// What the options of a header say (RFC 791 3.1).
inline IpError check_ipv4_options(Bytes options) {
    constexpr std::uint8_t end_of_list = 0, no_operation = 1, loose_route = 131, strict_route = 137;
    for (std::size_t at = 0; at < options.size();) {
        const std::uint8_t type = load8(options.data() + at);
        if (type == end_of_list) break;
        if (type == no_operation) {
            ++at;
            continue;
        }
        if (type == loose_route || type == strict_route) return IpError::source_routed;
        if (at + 2 > options.size()) return IpError::malformed;
        const std::uint8_t length = load8(options.data() + at + 1);
        if (length < 2 || at + length > options.size()) return IpError::malformed;
        at += length;
    }
    return IpError::none;
}

// The fields behind the lengths, of a header that is whole.
inline void load_ipv4_fields(const std::byte* p, IpHeader& header) {
    header.traffic_class = load8(p + 1);
    header.identification = load16(p + 4);
    const std::uint16_t fragment = load16(p + 6);
    header.dont_fragment = (fragment & 0x4000) != 0;
    header.fragment = (fragment & 0x3fff) != 0;
    header.more_fragments = (fragment & 0x2000) != 0;
    header.fragment_offset = static_cast<std::uint16_t>((fragment & 0x1fff) * 8);
    header.ttl = load8(p + 8);
    header.protocol = IpProtocol{load8(p + 9)};
    header.source = IpAddress::from_v4(load32(p + 12));
    header.destination = IpAddress::from_v4(load32(p + 16));
}

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
    load_ipv4_fields(p, header);
    if (header.header_length != ipv4_header_length) {
        const IpError error =
            check_ipv4_options(packet.first(header.header_length).subspan(ipv4_header_length));
        if (error != IpError::none) return error;
    }
    return wrong_checksum ? IpError::unfilled_checksum : IpError::none;
}

// Writes a header without options; `packet` has room for ipv4_header_length bytes.
inline void write_ipv4(MutableBytes packet, const IpHeader& header) {
    std::byte* p = packet.data();
    store8(p, 0x45);
    store8(p + 1, header.traffic_class);
    store16(p + 2, static_cast<std::uint16_t>(header.total_length));
    store16(p + 4, static_cast<std::uint16_t>(header.identification));
    store16(p + 6, header.dont_fragment ? 0x4000 : 0);
    store8(p + 8, header.ttl);
    store8(p + 9, static_cast<std::uint8_t>(header.protocol));
    store16(p + 10, 0);
    store32(p + 12, header.source.v4());
    store32(p + 16, header.destination.v4());
    store16(p + 10, checksum_finish(checksum_add(packet.first(ipv4_header_length))));
}

}  // namespace understudy::stack::wire
