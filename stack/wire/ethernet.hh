// Ethernet II.
#pragma once

#include <cstring>
#include <optional>

#include "stack/address.hh"
#include "stack/wire/bytes.hh"

namespace understudy::stack::wire {

inline constexpr std::size_t ethernet_header_length = 14;

enum class EtherType : std::uint16_t {
    ipv4 = 0x0800,
    arp = 0x0806,
    vlan = 0x8100,
    qinq = 0x88a8,
    ipv6 = 0x86dd,
};

struct EthernetHeader {
    LinkAddress destination;
    LinkAddress source;
    EtherType type{};
};

inline constexpr std::size_t vlan_tag_length = 4;
inline constexpr std::uint16_t vlan_id_mask = 0x0fff;  // of the tag's first two bytes behind the type

inline std::optional<EthernetHeader> parse_ethernet(Bytes frame) {
    if (frame.size() < ethernet_header_length) return std::nullopt;
    EthernetHeader header;
    std::memcpy(header.destination.octets.data(), frame.data(), 6);
    std::memcpy(header.source.octets.data(), frame.data() + 6, 6);
    header.type = EtherType{load16(frame.data() + 12)};
    return header;
}

// `frame` has room for ethernet_header_length bytes.
inline void write_ethernet(MutableBytes frame, const EthernetHeader& header) {
    std::memcpy(frame.data(), header.destination.octets.data(), 6);
    std::memcpy(frame.data() + 6, header.source.octets.data(), 6);
    store16(frame.data() + 12, static_cast<std::uint16_t>(header.type));
}

// The same with an IEEE 802.1Q tag; `frame` has room for ethernet_header_length + vlan_tag_length bytes.
inline void write_tagged_ethernet(MutableBytes frame, const EthernetHeader& header, std::uint16_t vlan) {
    write_ethernet(frame, {header.destination, header.source, EtherType::vlan});
    store16(frame.data() + 14, vlan);
    store16(frame.data() + 16, static_cast<std::uint16_t>(header.type));
}

}  // namespace understudy::stack::wire
