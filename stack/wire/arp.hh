// ARP for IPv4 over Ethernet (RFC 826).
#pragma once

#include <cstring>
#include <optional>

#include "stack/address.hh"
#include "stack/wire/bytes.hh"
#include "stack/wire/ethernet.hh"

namespace understudy::stack::wire {

inline constexpr std::size_t arp_length = 28;

enum class ArpOperation : std::uint16_t { request = 1, reply = 2 };

struct ArpPacket {
    ArpOperation operation{};
    LinkAddress sender_link;
    IpAddress sender;
    LinkAddress target_link;
    IpAddress target;
};

// Nothing for anything but Ethernet/IPv4 requests and replies.
inline std::optional<ArpPacket> parse_arp(Bytes packet) {
    if (packet.size() < arp_length) return std::nullopt;
    const std::byte* p = packet.data();
    if (load16(p) != 1 || load16(p + 2) != 0x0800 || load8(p + 4) != 6 || load8(p + 5) != 4)
        return std::nullopt;
    const std::uint16_t operation = load16(p + 6);
    if (operation != 1 && operation != 2) return std::nullopt;
    ArpPacket arp;
    arp.operation = ArpOperation{operation};
    std::memcpy(arp.sender_link.octets.data(), p + 8, 6);
    arp.sender = IpAddress::from_v4(load32(p + 14));
    std::memcpy(arp.target_link.octets.data(), p + 18, 6);
    arp.target = IpAddress::from_v4(load32(p + 24));
    return arp;
}

// `packet` has room for arp_length bytes.
inline void write_arp(MutableBytes packet, const ArpPacket& arp) {
    std::byte* p = packet.data();
    store16(p, 1);
    store16(p + 2, 0x0800);
    store8(p + 4, 6);
    store8(p + 5, 4);
    store16(p + 6, static_cast<std::uint16_t>(arp.operation));
    std::memcpy(p + 8, arp.sender_link.octets.data(), 6);
    store32(p + 14, arp.sender.v4());
    std::memcpy(p + 18, arp.target_link.octets.data(), 6);
    store32(p + 24, arp.target.v4());
}

// The two forms of a gratuitous announcement that every tested receiver takes at once: the request whose
// target is its sender (RFC 5227 3), and the reply with the sender's own address as target hardware address.
inline ArpPacket gratuitous_arp(ArpOperation operation, const LinkAddress& link, const IpAddress& address) {
    const LinkAddress target = operation == ArpOperation::request ? LinkAddress{} : link;
    return {operation, link, address, target, address};
}

}  // namespace understudy::stack::wire
