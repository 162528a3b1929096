// Cuts the IP packet in a frame into fragments, on its own: not with the code under test.
#pragma once

#include <algorithm>
#include <vector>

#include "stack/wire/ip_packet.hh"

namespace understudy::stack::test {

using Frame = std::vector<std::byte>;

struct Cut {
    std::size_t begin;  // of the IP payload, a multiple of 8
    std::size_t end;
    bool more = true;
};

// One piece of `frame`, which holds an IPv4 or IPv6 packet without options or extension headers.
inline Frame piece_of(const Frame& frame, const Cut& cut, std::uint32_t id, std::uint8_t traffic_class = 0) {
    const bool v4 = wire::load16(frame.data() + 12) == 0x0800;
    const std::size_t ip = 14, header = v4 ? 20 : 40, extra = v4 ? 0 : 8;
    const std::size_t length = cut.end - cut.begin;
    Frame piece(ip + header + extra + length);
    std::copy_n(frame.begin(), ip + header, piece.begin());
    std::copy_n(frame.begin() + static_cast<std::ptrdiff_t>(ip + header + cut.begin), length,
                piece.begin() + static_cast<std::ptrdiff_t>(ip + header + extra));
    std::byte* const p = piece.data() + ip;
    if (v4) {
        wire::store8(p + 1, traffic_class);
        wire::store16(p + 2, static_cast<std::uint16_t>(header + length));
        wire::store16(p + 4, static_cast<std::uint16_t>(id));
        wire::store16(p + 6, static_cast<std::uint16_t>(cut.begin / 8 | (cut.more ? 0x2000 : 0)));
        wire::store16(p + 10, 0);
        wire::store16(p + 10, wire::checksum_finish(wire::checksum_add({p, header})));
        return piece;
    }
    wire::store16(p, static_cast<std::uint16_t>(0x6000 | traffic_class << 4));
    wire::store16(p + 4, static_cast<std::uint16_t>(extra + length));
    const std::uint8_t next = wire::load8(p + 6);
    wire::store8(p + 6, 44);
    wire::store8(p + header, next);
    wire::store16(p + header + 2, static_cast<std::uint16_t>(cut.begin | (cut.more ? 1 : 0)));
    wire::store32(p + header + 4, id);
    return piece;
}

inline std::size_t ip_payload_length(const Frame& frame) {
    return frame.size() - 14 - (wire::load16(frame.data() + 12) == 0x0800 ? 20 : 40);
}

// All pieces of `size` bytes, a multiple of 8, in order.
inline std::vector<Frame> pieces_of(const Frame& frame, std::size_t size, std::uint32_t id) {
    std::vector<Frame> pieces;
    const std::size_t length = ip_payload_length(frame);
    for (std::size_t at = 0; at < length; at += size) {
        const std::size_t end = std::min(at + size, length);
        pieces.push_back(piece_of(frame, {at, end, end < length}, id));
    }
    return pieces;
}

}  // namespace understudy::stack::test
