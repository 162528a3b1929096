// The work of a port that fills in checksums.
#pragma once

#include "stack/wire/checksum.hh"
#include "stack/wire/ethernet.hh"
#include "stack/wire/tcp.hh"
#include "stack/wire/udp.hh"

namespace understudy::stack::test {

// What a port does to a frame that leaves by it: to the sum that stands in the field it adds the rest.
inline void fill_checksum(std::span<std::byte> frame) {
    const bool v4 = wire::parse_ethernet(frame)->type == wire::EtherType::ipv4;
    const std::size_t offset = wire::ethernet_header_length + (v4 ? 20 : 40);
    const auto protocol = std::to_integer<int>(frame[wire::ethernet_header_length + (v4 ? 9 : 6)]);
    if (protocol != 6 && protocol != 17) return;
    const auto segment = frame.subspan(offset);
    wire::store16(segment.data() + (protocol == 6 ? wire::tcp_checksum_offset : wire::udp_checksum_offset),
                  wire::checksum_finish(wire::checksum_add(segment)));
}

}  // namespace understudy::stack::test
