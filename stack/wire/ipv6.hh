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

// RFC 8200 4.2: none is known here but padding and those that may be skipped.
inline IpError check_ipv6_options(Bytes options) {
    constexpr std::uint8_t pad1 = 0, must_be_known = 0xc0;
    for (std::size_t at = 0; at < options.size();) {
        const std::uint8_t type = load8(options.data() + at);
        if (type == pad1) {
            ++at;
            continue;
        }
        if (at + 2 > options.size()) return IpError::malformed;
        const std::size_t length = std::size_t{load8(options.data() + at + 1)} + 2;
        if (at + length > options.size()) return IpError::malformed;
        if ((type & must_be_known) != 0) return IpError::unknown_option;
        at += length;
    }
    return IpError::none;
}

}  // namespace detail

// Skips the extension headers of `packet` from `at` on, where one of type `next` begins (RFC 8200 4); they
// must be whole. Sets `header`'s protocol, its header length to where the payload begins, and of a fragment
// what its header says; a fragment header that holds the whole packet counts for nothing (RFC 6946).
inline IpError skip_extensions(Bytes packet, std::size_t at, std::uint8_t next, IpHeader& header) {
    const std::byte* p = packet.data();
    for (int headers = 0;; ++headers) {
        const bool has_options = next == detail::hop_by_hop || next == detail::destination_options;
        const bool is_extension = has_options || next == detail::routing || next == detail::fragment ||
                                  next == detail::authentication;
        if (!is_extension) break;
        if (headers == max_extension_headers || at + 8 > packet.size()) return IpError::malformed;
        std::size_t length = 8;
        if (next == detail::authentication)
            length = (std::size_t{load8(p + at + 1)} + 2) * 4;
        else if (next != detail::fragment)
            length = (std::size_t{load8(p + at + 1)} + 1) * 8;
        if (at + length > packet.size()) return IpError::malformed;
        if (next == detail::fragment) {
            const std::uint16_t place = load16(p + at + 2);
            header.fragment = (place & 0xfff9) != 0;
            header.more_fragments = (place & 1) != 0;
            header.fragment_offset = place & 0xfff8;
            header.identification = load32(p + at + 4);
        } else if (has_options) {
            const IpError error = detail::check_ipv6_options(packet.subspan(at + 2, length - 2));
            if (error != IpError::none) return error;
        } else if (next == detail::routing && load8(p + at + 3) != 0) {
            return IpError::source_routed;  // there is a way to go still, and we are no router
        }
        next = load8(p + at);
        at += length;
        // What follows the header of a fragment is a piece of the payload.
        if (header.fragment) break;
    }
    header.protocol = IpProtocol{next};
    header.header_length = static_cast<std::uint16_t>(at);
    return IpError::none;
}

// Reads the header at the start of `packet`, which may be longer than the total length (padding) or shorter
// (a cut capture): the caller compares. Extension headers are skipped; for what they must be see above.
inline IpError parse_ipv6(Bytes packet, IpHeader& header) {
    if (packet.size() < ipv6_header_length || load8(packet.data()) >> 4 != 6) return IpError::malformed;
    const std::byte* p = packet.data();
    header.traffic_class = static_cast<std::uint8_t>(load16(p) >> 4);
    header.total_length = static_cast<std::uint32_t>(ipv6_header_length) + load16(p + 4);
    header.ttl = load8(p + 7);
    header.source = detail::load_ipv6(p + 8);
    header.destination = detail::load_ipv6(p + 24);
    header.fragment = false;
    const Bytes whole = packet.first(std::min<std::size_t>(packet.size(), header.total_length));
    return skip_extensions(whole, ipv6_header_length, load8(p + 6), header);
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
