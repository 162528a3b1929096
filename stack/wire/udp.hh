// The UDP header (RFC 768).
#pragma once

#include <optional>

#include "stack/wire/bytes.hh"

namespace understudy::stack::wire {

inline constexpr std::size_t udp_header_length = 8;
inline constexpr std::size_t udp_checksum_offset = 6;

struct UdpHeader {
    std::uint16_t source_port = 0;  // 0: the sender wants no answer
    std::uint16_t destination_port = 0;
    std::uint16_t length = 0;    // header and payload
    std::uint16_t checksum = 0;  // 0: none was computed
};

// Reads the header of the datagram that `packet`, the payload of an IP packet, holds. Nothing when it is cut,
// or its length is shorter than the header or longer than the packet. It may be shorter than the packet: what
// follows is not data.
inline std::optional<UdpHeader> parse_udp(Bytes packet) {
    if (packet.size() < udp_header_length) return std::nullopt;
    const std::byte* p = packet.data();
    const UdpHeader header{load16(p), load16(p + 2), load16(p + 4), load16(p + udp_checksum_offset)};
    if (header.length < udp_header_length || header.length > packet.size()) return std::nullopt;
    return header;
}

// Writes the header as it is; `datagram` has room for udp_header_length.
inline void write_udp(MutableBytes datagram, const UdpHeader& header) {
    store16(datagram.data(), header.source_port);
    store16(datagram.data() + 2, header.destination_port);
    store16(datagram.data() + 4, header.length);
    store16(datagram.data() + udp_checksum_offset, header.checksum);
}

}  // namespace understudy::stack::wire
