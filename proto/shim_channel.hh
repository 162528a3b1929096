// The words between understudyd and the processes of a replicated program (design.md 7).
//
// Fixed layouts instead of Protobuf: the preload library lives inside other people's programs, and must bring no
// library of its own into them. Both ends run on one host, so layouts are native; `magic` tells another version.
//
// A process connects to understudyd's channel, a SOCK_SEQPACKET socket, and says first what the connection is for:
//   bind    it becomes the program's listening descriptor: answered by `answer`; `listen` follows, and from then on
//           each `accepted` brings one connection's descriptor (SCM_RIGHTS). Whoever shares it shares the queue.
//   attach  set_option and get_option of any socket of one service. get_option brings a descriptor for its answer.
// What a descriptor is stands in its own abstract name: no table of the process can go stale by dup, fork or exec.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace understudy::proto::shim {

inline constexpr char channel_variable[] = "UNDERSTUDY_CHANNEL";    // path of the channel's socket
inline constexpr char services_variable[] = "UNDERSTUDY_SERVICES";  // "10.77.0.1:6379,[fd00::1]:6379"
inline constexpr std::size_t max_services = 16;

// Least SO_SNDBUF of the program's end. The kernel calls a socket writable while a quarter of it is in use, and the byte
// that the daemon leaves unread (shadow_app/shim/service.hh) holds all of its buffer, which has up to 17 pages.
inline constexpr int least_send_buffer = 212992;
inline constexpr std::uint32_t magic = 0x55530001;
inline constexpr std::size_t max_value_bytes = 256;  // of a socket option

// get_option of this level, for what is no socket option: how many bytes the client has not acknowledged (SIOCOUTQ).
inline constexpr std::int32_t own_level = -1;
inline constexpr std::int32_t unacknowledged_bytes = 1;

enum class Kind : std::uint8_t { bind = 1, attach, listen, set_option, get_option, answer, accepted };

struct Address {
    std::uint8_t octets[16];  // IPv4 in its mapped form
    std::uint16_t port;       // host order
};

struct Message {
    std::uint32_t magic_number = magic;
    Kind kind = Kind::answer;
    std::uint8_t family = 0;      // of the program's socket: AF_INET or AF_INET6
    std::uint8_t shares_port = 0;  // bind: SO_REUSEPORT
    std::uint8_t unused = 0;
    std::int32_t error = 0;  // answer: an errno, or 0
    std::int32_t level = 0;  // of an option
    std::int32_t name = 0;
    std::uint32_t length = 0;  // of `value`; listen: the backlog
    std::uint64_t id = 0;      // of the socket
    Address local{};           // bind, attach: the service
    Address remote{};          // accepted: the client
    std::uint8_t value[max_value_bytes] = {};
};

// What a socket of the replicated program is, as its abstract name says it, in letters that `ss -x` can show:
// "understudy/l4/" + address in hex + '/' + port in hex + '/' + id in hex.
struct SocketName {
    char role = 0;            // 'l': listens; 'p': the program's end of a connection; 'd': the daemon's
    std::uint8_t family = 0;  // 4 or 6: what the program takes it for
    Address address{};        // 'l', 'p': the local address; 'd': the client's
    std::uint64_t id = 0;
};

inline constexpr char name_prefix[] = "understudy/";
inline constexpr std::size_t name_bytes = sizeof name_prefix - 1 + 3 + 32 + 1 + 4 + 1 + 16;

namespace detail {

inline char* put_hex(char* out, std::uint64_t value, int digits) {
    for (int i = digits - 1; i >= 0; --i, value >>= 4)
        out[i] = "0123456789abcdef"[value & 15];
    return out + digits;
}

inline bool get_hex(const char*& in, std::uint64_t& value, int digits) {
    value = 0;
    for (int i = 0; i < digits; ++i, ++in) {
        const char c = *in;
        const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) return false;
        value = value << 4 | static_cast<unsigned>(digit);
    }
    return true;
}

}  // namespace detail

// Writes name_bytes characters.
inline void format_name(const SocketName& name, char* out) {
    std::memcpy(out, name_prefix, sizeof name_prefix - 1);
    out += sizeof name_prefix - 1;
    *out++ = name.role;
    *out++ = static_cast<char>('0' + name.family);
    *out++ = '/';
    for (const std::uint8_t octet : name.address.octets)
        out = detail::put_hex(out, octet, 2);
    *out++ = '/';
    out = detail::put_hex(out, name.address.port, 4);
    *out++ = '/';
    detail::put_hex(out, name.id, 16);
}

// False for any other name.
inline bool parse_name(const char* text, std::size_t length, SocketName& name) {
    if (length != name_bytes || std::memcmp(text, name_prefix, sizeof name_prefix - 1) != 0) return false;
    const char* in = text + sizeof name_prefix - 1;
    name.role = in[0];
    name.family = static_cast<std::uint8_t>(in[1] - '0');
    in += 3;
    std::uint64_t value = 0;
    for (std::uint8_t& octet : name.address.octets) {
        if (!detail::get_hex(in, value, 2)) return false;
        octet = static_cast<std::uint8_t>(value);
    }
    if (*in++ != '/' || !detail::get_hex(in, value, 4)) return false;
    name.address.port = static_cast<std::uint16_t>(value);
    return *in++ == '/' && detail::get_hex(in, name.id, 16) && (name.family == 4 || name.family == 6);
}

}  // namespace understudy::proto::shim
