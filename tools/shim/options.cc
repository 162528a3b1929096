#include "tools/shim/options.hh"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "tools/shim/socket.hh"

namespace understudy::shim {
namespace {

using proto::shim::Kind;
using proto::shim::Message;
using proto::shim::SocketName;

// stack     the daemon sets it on the connection, and tells its value
// both      so, and the local socket keeps it for getsockopt
// local     the local socket does it: buffers, time-outs, what bind() asks
// constant  read only; what it is follows from the kind of socket
// ignored   has no effect that the program or its peer could see, as in the kernel under most conditions
// SO_SNDBUF cannot be less than least_send_buffer, as the kernel's cannot be less than a bound of its own.
// Anything else is refused with ENOPROTOOPT.
enum class Class : std::uint8_t { stack, both, local, constant, ignored };

struct Option {
    int level;
    int name;
    Class kind;
    bool may_fail;  // the daemon's answer is waited for
    const char* test;
};

constexpr Option options[] = {
    {SOL_SOCKET, SO_KEEPALIVE, Class::stack, false, "options"},
    {SOL_SOCKET, SO_LINGER, Class::both, false, "linger"},
    {SOL_SOCKET, SO_REUSEADDR, Class::local, false, "options"},
    {SOL_SOCKET, SO_RCVTIMEO, Class::local, false, "timeouts"},
    {SOL_SOCKET, SO_SNDTIMEO, Class::local, false, "timeouts"},
    {SOL_SOCKET, SO_RCVBUF, Class::local, false, "options"},
    {SOL_SOCKET, SO_SNDBUF, Class::local, false, "options"},
    {SOL_SOCKET, SO_RCVLOWAT, Class::local, false, "options"},
    {SOL_SOCKET, SO_ERROR, Class::local, false, "reset"},
    {SOL_SOCKET, SO_PRIORITY, Class::local, false, "options"},
    {SOL_SOCKET, SO_BROADCAST, Class::local, false, "options"},
    {SOL_SOCKET, SO_OOBINLINE, Class::local, false, "urgent"},
    {SOL_SOCKET, SO_DONTROUTE, Class::local, false, "options"},
    {SOL_SOCKET, SO_TYPE, Class::constant, false, "options"},
    {SOL_SOCKET, SO_DOMAIN, Class::constant, false, "options"},
    {SOL_SOCKET, SO_PROTOCOL, Class::constant, false, "options"},
    {SOL_SOCKET, SO_ACCEPTCONN, Class::constant, false, "options"},
    {IPPROTO_IPV6, IPV6_V6ONLY, Class::constant, false, "options"},
    {IPPROTO_TCP, TCP_NODELAY, Class::stack, false, "options"},
    {IPPROTO_TCP, TCP_CORK, Class::stack, false, "options"},
    {IPPROTO_TCP, TCP_QUICKACK, Class::stack, false, "options"},
    {IPPROTO_TCP, TCP_KEEPIDLE, Class::stack, true, "options"},
    {IPPROTO_TCP, TCP_KEEPINTVL, Class::stack, true, "options"},
    {IPPROTO_TCP, TCP_KEEPCNT, Class::stack, true, "options"},
    {IPPROTO_TCP, TCP_LINGER2, Class::stack, true, "options"},
    {IPPROTO_TCP, TCP_MAXSEG, Class::stack, true, "options"},
    {IPPROTO_TCP, TCP_USER_TIMEOUT, Class::stack, true, "options"},
    {IPPROTO_TCP, TCP_INFO, Class::stack, false, "tcp_info"},
    {IPPROTO_TCP, TCP_DEFER_ACCEPT, Class::ignored, false, "options"},
    {IPPROTO_IP, IP_TOS, Class::stack, false, "options"},
    {IPPROTO_IPV6, IPV6_TCLASS, Class::stack, false, "options"},
};

bool is(const Option& option, int level, int name) {
    return option.level == level && option.name == name;
}

const Option* find(int level, int name) {
    for (const Option& option : options)
        if (is(option, level, name)) return &option;
    return nullptr;
}

int refuse(int level, int name) {
    static std::atomic<std::uint64_t> told{0};
    const std::uint64_t bit = std::uint64_t{1} << (static_cast<unsigned>(level * 31 + name) % 64);
    if ((told.fetch_or(bit, std::memory_order_relaxed) & bit) == 0) {
        char line[96];
        std::snprintf(line, sizeof line, "socket option %d of level %d is refused: this service cannot have it", name,
                      level);
        tell(line);
    }
    errno = ENOPROTOOPT;
    return -1;
}

int channel_of(int descriptor, const SocketName& name) {
    return name.role == 'l' ? descriptor : attached_channel(name.address);
}

int give(const void* value, std::size_t size, void* out, socklen_t* length) {
    const socklen_t given = *length < size ? *length : static_cast<socklen_t>(size);
    std::memcpy(out, value, given);
    *length = given;
    return 0;
}

int constant(const SocketName& name, int level, int option, void* value, socklen_t* length) {
    int answer = 0;
    if (level == IPPROTO_IPV6) {
        if (name.family != 6) return refuse(level, option);
    } else {
        switch (option) {
            case SO_TYPE: answer = SOCK_STREAM; break;
            case SO_DOMAIN: answer = name.family == 6 ? AF_INET6 : AF_INET; break;
            case SO_PROTOCOL: answer = IPPROTO_TCP; break;
            default: answer = name.role == 'l'; break;
        }
    }
    return give(&answer, sizeof answer, value, length);
}

Message option_message(Kind kind, std::uint64_t id, int level, int option) {
    Message message;
    message.kind = kind;
    message.id = id;
    message.level = level;
    message.name = option;
    return message;
}

}  // namespace

int get_option(int descriptor, const SocketName& name, int level, int option, void* value, socklen_t* length) {
    const Option* known = find(level, option);
    if (known == nullptr) return refuse(level, option);
    if (known->kind == Class::local || known->kind == Class::both)
        return real().getsockopt(descriptor, level, option, value, length);
    if (value == nullptr || length == nullptr) {
        errno = EFAULT;
        return -1;
    }
    if (known->kind == Class::constant) return constant(name, level, option, value, length);
    if (known->kind == Class::ignored) {
        const int nothing = 0;
        return give(&nothing, sizeof nothing, value, length);
    }
    const int channel = channel_of(descriptor, name);
    Message answer;
    if (channel < 0 || !ask(channel, option_message(Kind::get_option, name.id, level, option), answer)) return -1;
    return give(answer.value, answer.length, value, length);
}

int set_option(int descriptor, const SocketName& name, int level, int option, const void* value,
               socklen_t length) {
    const Option* known = find(level, option);
    if (known == nullptr || known->kind == Class::constant || is(*known, IPPROTO_TCP, TCP_INFO))
        return refuse(level, option);
    if (known->kind == Class::ignored) return 0;
    int buffer = 0;
    if (is(*known, SOL_SOCKET, SO_SNDBUF) && name.role == 'p' && value != nullptr && length >= sizeof buffer) {
        std::memcpy(&buffer, value, sizeof buffer);
        if (buffer < proto::shim::least_send_buffer) buffer = proto::shim::least_send_buffer;
        value = &buffer;
        length = sizeof buffer;
    }
    if (known->kind != Class::stack && real().setsockopt(descriptor, level, option, value, length) != 0) return -1;
    if (known->kind == Class::local) return 0;
    if (value == nullptr || length < sizeof(int) || length > proto::shim::max_value_bytes) {
        errno = value == nullptr ? EFAULT : EINVAL;
        return -1;
    }
    Message message = option_message(Kind::set_option, name.id, level, option);
    message.length = length;
    std::memcpy(message.value, value, length);
    const int channel = channel_of(descriptor, name);
    if (channel < 0) return -1;
    Message answer;
    return (known->may_fail ? ask(channel, message, answer) : send_message(channel, message)) ? 0 : -1;
}

int get_unacknowledged(const SocketName& name, int* bytes) {
    const int channel = attached_channel(name.address);
    Message answer;
    if (channel < 0 || !ask(channel,
                            option_message(Kind::get_option, name.id, proto::shim::own_level,
                                           proto::shim::unacknowledged_bytes),
                            answer)) {
        // Of a connection that has ended nothing is left.
        if (errno != ENOTCONN) return -1;
        *bytes = 0;
        return 0;
    }
    std::memcpy(bytes, answer.value, sizeof *bytes);
    return 0;
}

void carry_options(int from, int channel, std::uint64_t id) {
    const int kept = errno;
    int domain = AF_INET;
    socklen_t domain_length = sizeof domain;
    real().getsockopt(from, SOL_SOCKET, SO_DOMAIN, &domain, &domain_length);
    const int fresh = ::socket(domain, SOCK_STREAM | SOCK_CLOEXEC, 0);
    for (const Option& option : options) {
        if (option.kind == Class::constant || option.kind == Class::ignored ||
            is(option, SOL_SOCKET, SO_ERROR) || is(option, IPPROTO_TCP, TCP_INFO))
            continue;
        unsigned char set[64] = {}, usual[64] = {};
        socklen_t length = sizeof set, usual_length = sizeof usual;
        if (real().getsockopt(from, option.level, option.name, set, &length) != 0 ||
            real().getsockopt(fresh, option.level, option.name, usual, &usual_length) != 0 ||
            std::memcmp(set, usual, length) == 0)
            continue;
        int size = 0;
        if (option.level == SOL_SOCKET && (option.name == SO_RCVBUF || option.name == SO_SNDBUF)) {
            // The kernel tells twice what was asked for.
            std::memcpy(&size, set, sizeof size);
            size /= 2;
            std::memcpy(set, &size, sizeof size);
        }
        if (option.kind != Class::stack) real().setsockopt(channel, option.level, option.name, set, length);
        if (option.kind == Class::local) continue;
        Message message = option_message(Kind::set_option, id, option.level, option.name);
        message.length = length;
        std::memcpy(message.value, set, length);
        send_message(channel, message);
    }
    if (fresh >= 0) ::close(fresh);
    errno = kept;
}

}  // namespace understudy::shim
