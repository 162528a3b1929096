// IPv6 (RFC 8200).
#pragma once

#include <algorithm>
#include <cstring>

#include "stack/wire/bytes.hh"
#include "stack/wire/ip.hh"

namespace understudy::stack::wire {

inline constexpr std::size_t ipv6_header_length = 40;
// More extension headers than any host sends are an attack.
inline constexpr int max_extension_headers = 8;

namespace detail {

enum ExtensionHeader : std::uint8_t {
    hop_by_hop = 0,
    routing = 43,
    fragment = 44,
    authentication = 51,
    destination_options = 60,
};

inline IpAddress load_ipv6(const std::byte* p) {
    IpAddress address;
    std::memcpy(address.octets.data(), p, address.octets.size());
    return address;
}

}  // namespace detail

// Reads the header at the start of `packet`, which may be longer than the total length (padding) or shorter
// (a cut capture): the caller compares. Extension headers are skipped (RFC 8200 4); they must be whole. A
// fragment header that holds the whole packet counts for nothing (RFC 6946).
inline IpError parse_ipv6(Bytes packet, IpHeader& header) {
    if (packet.size() < ipv6_header_length || load8(packet.data()) >> 4 != 6) return IpError::malformed;
    const std::byte* p = packet.data();
    header.traffic_class = static_cast<std::uint8_t>(load16(p) >> 4);
    header.total_length = static_cast<std::uint32_t>(ipv6_header_length) + load16(p + 4);
    header.ttl = load8(p + 7);
    header.source = detail::load_ipv6(p + 8);
    header.destination = detail::load_ipv6(p + 24);
    header.fragment = false;
    std::uint8_t next = load8(p + 6);
    std::size_t at = ipv6_header_length;
    const std::size_t end = std::min<std::size_t>(packet.size(), header.total_length);
    for (int headers = 0;; ++headers) {
        const bool is_extension = next == detail::hop_by_hop || next == detail::routing ||
                                  next == detail::fragment || next == detail::authentication ||
                                  next == detail::destination_options;
        if (!is_extension) break;
        if (headers == max_extension_headers || at + 8 > end) return IpError::malformed;
        std::size_t length = 8;
        if (next == detail::fragment) {
            if ((load16(p + at + 2) & 0xfff9) != 0) header.fragment = true;
        } else if (next == detail::authentication) {
            length = (std::size_t{load8(p + at + 1)} + 2) * 4;
        } else {
            length = (std::size_t{load8(p + at + 1)} + 1) * 8;
        }
        next = load8(p + at);
        at += length;
        if (at > end) return IpError::malformed;
        // What follows the header of a fragment is a piece of the payload.
        if (header.fragment) break;
    }
    header.protocol = IpProtocol{next};
    header.header_length = static_cast<std::uint16_t>(at);
    return IpError::none;
}

// Writes a header without extensions; `packet` has room for ipv6_header_length bytes.
inline void write_ipv6(MutableBytes packet, const IpHeader& header) {
    std::byte* p = packet.data();
    store16(p, static_cast<std::uint16_t>(0x6000 | header.traffic_class << 4));
    store16(p + 2, 0);
    store16(p + 4, static_cast<std::uint16_t>(header.total_length - ipv6_header_length));
    store8(p + 6, static_cast<std::uint8_t>(header.protocol));
    store8(p + 7, header.ttl);
    std::memcpy(p + 8, header.source.octets.data(), 16);
    std::memcpy(p + 24, header.destination.octets.data(), 16);
}

}  // namespace understudy::stack::wire
