// ICMP: echo, and the errors that a connection hears of (RFC 792).
#pragma once

#include "stack/wire/bytes.hh"
#include "stack/wire/checksum.hh"

namespace understudy::stack::wire {

inline constexpr std::size_t icmp_echo_header_length = 8;
inline constexpr std::uint8_t icmp_echo_reply = 0;
inline constexpr std::uint8_t icmp_echo_request = 8;
inline constexpr std::uint8_t icmp_unreachable = 3;
inline constexpr std::uint8_t icmp_time_exceeded = 11;
inline constexpr std::uint8_t icmp_parameter_problem = 12;
// Codes of icmp_unreachable.
inline constexpr std::uint8_t icmp_host_unreachable = 1;
inline constexpr std::uint8_t icmp_protocol_unreachable = 2;
inline constexpr std::uint8_t icmp_port_unreachable = 3;
inline constexpr std::uint8_t icmp_fragmentation_needed = 4;

inline bool is_valid_icmp(Bytes message) {
    return message.size() >= icmp_echo_header_length && checksum_finish(checksum_add(message)) == 0;
}

// Turns a copy of an echo request into its reply.
inline void make_echo_reply(MutableBytes message) {
    store8(message.data(), icmp_echo_reply);
    store16(message.data() + 2, 0);
    store16(message.data() + 2, checksum_finish(checksum_add(message)));
}

}  // namespace understudy::stack::wire
