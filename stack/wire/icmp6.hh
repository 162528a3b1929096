// ICMPv6: echo (RFC 4443 4), neighbour discovery (RFC 4861 4) and the listener report that makes snooping
// switches deliver it (RFC 3810 5.2).
#pragma once

#include <cstring>
#include <optional>

#include "stack/address.hh"
#include "stack/wire/bytes.hh"
#include "stack/wire/checksum.hh"
#include "stack/wire/ip.hh"

namespace understudy::stack::wire {

inline constexpr std::uint8_t icmp6_unreachable = 1;
inline constexpr std::uint8_t icmp6_port_unreachable = 4;  // a code of it
inline constexpr std::uint8_t icmp6_packet_too_big = 2;
inline constexpr std::uint8_t icmp6_time_exceeded = 3;
inline constexpr std::uint8_t icmp6_parameter_problem = 4;
inline constexpr std::uint8_t icmp6_unrecognised_header = 1;  // a code of it
inline constexpr std::uint8_t icmp6_echo_request = 128;
inline constexpr std::uint8_t icmp6_echo_reply = 129;
inline constexpr std::uint8_t icmp6_listener_query = 130;
inline constexpr std::uint8_t icmp6_neighbour_solicitation = 135;
inline constexpr std::uint8_t icmp6_neighbour_advertisement = 136;
inline constexpr std::uint8_t icmp6_listener_report = 143;
inline constexpr std::uint8_t neighbour_hop_limit = 255;  // RFC 4861 7.1: it has crossed no router

inline constexpr std::size_t icmp6_header_length = 8;
inline constexpr std::size_t neighbour_message_length = 32;  // with one link-level address option

inline std::uint64_t icmp6_pseudo_sum(const IpAddress& source, const IpAddress& destination,
                                      std::size_t length) {
    return pseudo_header_sum(source, destination, static_cast<std::uint8_t>(IpProtocol::icmp6),
                             static_cast<std::uint32_t>(length));
}

inline bool is_valid_icmp6(Bytes message, const IpAddress& source, const IpAddress& destination) {
    return message.size() >= icmp6_header_length &&
           checksum_finish(checksum_add(message, icmp6_pseudo_sum(source, destination, message.size()))) == 0;
}

inline void finish_icmp6(MutableBytes message, const IpAddress& source, const IpAddress& destination) {
    store16(message.data() + 2, 0);
    store16(message.data() + 2,
            checksum_finish(checksum_add(message, icmp6_pseudo_sum(source, destination, message.size()))));
}

// The target of a neighbour solicitation or advertisement (RFC 4861 4.3, 4.4); nothing for a malformed one.
inline std::optional<IpAddress> neighbour_target(Bytes message) {
    if (message.size() < 24 || load8(message.data() + 1) != 0) return std::nullopt;
    IpAddress target;
    std::memcpy(target.octets.data(), message.data() + 8, 16);
    // RFC 4861 7.1.1: no option has length zero, and none is cut.
    for (std::size_t at = 24; at < message.size();) {
        if (at + 2 > message.size()) return std::nullopt;
        const std::size_t length = std::size_t{load8(message.data() + at + 1)} * 8;
        if (length == 0 || at + length > message.size()) return std::nullopt;
        at += length;
    }
    if (target.octets[0] == 0xff) return std::nullopt;
    return target;
}

// The option of `type` that says where the sender is; only behind neighbour_target(), which checks their
// lengths.
inline constexpr std::uint8_t source_link_option = 1, target_link_option = 2;  // RFC 4861 4.6.1
inline std::optional<LinkAddress> neighbour_link(Bytes message, std::uint8_t type) {
    for (std::size_t at = 24; at < message.size(); at += std::size_t{load8(message.data() + at + 1)} * 8) {
        if (load8(message.data() + at) != type) continue;
        LinkAddress link;
        std::memcpy(link.octets.data(), message.data() + at + 2, 6);
        return link;
    }
    return std::nullopt;
}

// `message` has room for neighbour_message_length bytes; its checksum is still to be finished.
inline void write_solicitation(MutableBytes message, const IpAddress& target, const LinkAddress& link) {
    std::byte* p = message.data();
    store32(p, std::uint32_t{icmp6_neighbour_solicitation} << 24);
    store32(p + 4, 0);
    std::memcpy(p + 8, target.octets.data(), 16);
    store8(p + 24, source_link_option);
    store8(p + 25, 1);
    std::memcpy(p + 26, link.octets.data(), 6);
}

inline constexpr std::uint32_t solicited_flag = 0x40000000, override_flag = 0x20000000;

struct Advertisement {
    IpAddress target;
    LinkAddress link;
    bool solicited = false;
};

// `message` has room for neighbour_message_length bytes; its checksum is still to be finished. The override
// flag is always set: the address has moved (RFC 4861 7.2.6).
inline void write_advertisement(MutableBytes message, const Advertisement& advertisement) {
    std::byte* p = message.data();
    store32(p, std::uint32_t{icmp6_neighbour_advertisement} << 24);
    store32(p + 4, (advertisement.solicited ? solicited_flag : 0) | override_flag);
    std::memcpy(p + 8, advertisement.target.octets.data(), 16);
    store8(p + 24, target_link_option);
    store8(p + 25, 1);
    std::memcpy(p + 26, advertisement.link.octets.data(), 6);
}

inline constexpr IpAddress all_nodes = {{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
inline constexpr IpAddress all_mld_routers = {{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x16}};

// RFC 4291 2.7.1.
inline IpAddress solicited_node(const IpAddress& address) {
    IpAddress group = {{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff}};
    std::memcpy(group.octets.data() + 13, address.octets.data() + 13, 3);
    return group;
}

// RFC 2464 7.
inline LinkAddress multicast_link(const IpAddress& group) {
    LinkAddress link = {{0x33, 0x33}};
    std::memcpy(link.octets.data() + 2, group.octets.data() + 12, 4);
    return link;
}

// RFC 4291 2.5.6.
inline bool is_link_local(const IpAddress& address) {
    return address.octets[0] == 0xfe && (address.octets[1] & 0xc0) == 0x80;
}

// RFC 4291 2.5.6 with the interface identifier of RFC 2464 4.
inline IpAddress link_local(const LinkAddress& link) {
    const auto& o = link.octets;
    return {{0xfe, 0x80, 0, 0, 0, 0, 0, 0, static_cast<std::uint8_t>(o[0] ^ 2), o[1], o[2], 0xff, 0xfe, o[3],
             o[4], o[5]}};
}

// RFC 3810 5.2.12: every source is listened to; as the answer to a query, and as news.
enum class ListenerRecord : std::uint8_t { mode_is_exclude = 2, change_to_exclude = 4 };

// RFC 3810 5.2: one record for `group`; behind a hop-by-hop header with the router alert (RFC 2711), whose
// bytes stand first.
inline constexpr std::size_t hop_by_hop_alert_length = 8;
inline constexpr std::size_t listener_report_length = 28;
inline void write_hop_by_hop_alert(MutableBytes bytes) {
    store32(bytes.data(), std::uint32_t{static_cast<std::uint8_t>(IpProtocol::icmp6)} << 24 | 0x0502);
    store32(bytes.data() + 4, 0x00000100);
}
inline void write_listener_report(MutableBytes message, const IpAddress& group, ListenerRecord record) {
    std::byte* p = message.data();
    store32(p, std::uint32_t{icmp6_listener_report} << 24);
    store32(p + 4, 1);
    store32(p + 8, std::uint32_t{static_cast<std::uint8_t>(record)} << 24);
    std::memcpy(p + 12, group.octets.data(), 16);
}

}  // namespace understudy::stack::wire
