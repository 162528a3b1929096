// getsockopt(2) and setsockopt(2): the options that scripts set and read, with Linux's values.
#include <linux/tcp.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "tests/packetdrill/sockets.hh"

namespace understudy::packetdrill {
namespace {

using Phase = Socket::Phase;

constexpr int so_meminfo = 55;
constexpr std::size_t meminfo_words = 9;

template <typename T>
int answer(const T& value, void* out, socklen_t* length) {
    const auto count = std::min<std::size_t>(*length, sizeof value);
    std::memcpy(out, &value, count);
    *length = static_cast<socklen_t>(count);
    return 0;
}

}  // namespace

int Sockets::get_option(int fd, int level, int name, void* value, socklen_t* length) {
    const SocketPtr socket = find(fd);
    if (socket == nullptr) return -ENOTSOCK;
    if (length == nullptr || (value == nullptr && *length != 0)) return -EFAULT;
    if (static_cast<int>(*length) < 0) return -EINVAL;
    const bool tcp = level == IPPROTO_TCP;
    if (tcp && name == TCP_INFO) return fill_tcp_info(*socket, value, length);
    if (level == SOL_SOCKET && name == SO_ERROR) {
        const int error = std::exchange(socket->error, 0);
        return answer(error, value, length);
    }
    if (level == SOL_SOCKET && name == SO_TYPE) return answer(socket->type, value, length);
    if (level == SOL_SOCKET && name == SO_PROTOCOL) return answer(int{IPPROTO_TCP}, value, length);
    if (level == SOL_SOCKET && name == SO_DOMAIN) return answer(socket->domain, value, length);
    if (level == SOL_SOCKET && name == SO_ACCEPTCONN)
        return answer(int{socket->phase == Phase::listening}, value, length);
    if (level == SOL_SOCKET && name == so_meminfo) {
        std::array<std::uint32_t, meminfo_words> info{};
        const auto s = snapshot(*socket);
        info[0] = s.unread_bytes;
        info[1] = world_.settings().tcp.receive_buffer_bytes;
        info[3] = socket->ledger.buffer();
        info[5] = socket->ledger.queued(s);
        return answer(info, value, length);
    }
    const auto found = socket->options.find({level, name});
    if (found != socket->options.end()) {
        const auto count = std::min<std::size_t>(*length, found->second.size());
        std::memcpy(value, found->second.data(), count);
        *length = static_cast<socklen_t>(count);
        return 0;
    }
    if (tcp) {
        const auto& sysctls = world_.sysctls();
        switch (name) {
            case TCP_MAXSEG:
                return answer(static_cast<int>(socket->id ? snapshot(*socket).mss : 536), value, length);
            case TCP_CONGESTION: {
                char algorithm[16] = "cubic";
                return answer(algorithm, value, length);
            }
            case TCP_CC_INFO:
                *length = 0;
                return 0;
            case TCP_KEEPIDLE:
                return answer(static_cast<int>(sysctls.number("net.ipv4.tcp_keepalive_time", 7200)), value,
                              length);
            case TCP_KEEPINTVL:
                return answer(static_cast<int>(sysctls.number("net.ipv4.tcp_keepalive_intvl", 75)), value,
                              length);
            case TCP_KEEPCNT:
                return answer(static_cast<int>(sysctls.number("net.ipv4.tcp_keepalive_probes", 9)), value,
                              length);
            case TCP_SYNCNT:
                return answer(static_cast<int>(sysctls.number("net.ipv4.tcp_syn_retries", 6)), value, length);
            case TCP_LINGER2:
                return answer(static_cast<int>(sysctls.number("net.ipv4.tcp_fin_timeout", 60)), value,
                              length);
            case TCP_QUICKACK:
                return answer(1, value, length);
            case TCP_NODELAY:
            case TCP_CORK:
            case TCP_DEFER_ACCEPT:
            case TCP_WINDOW_CLAMP:
            case TCP_USER_TIMEOUT:
            case TCP_NOTSENT_LOWAT:
            case TCP_INQ:
            case TCP_FASTOPEN:
                return answer(0, value, length);
            default:
                return -ENOPROTOOPT;
        }
    }
    if (level == SOL_SOCKET) {
        if (name == SO_RCVBUF)
            return answer(static_cast<int>(world_.settings().tcp.receive_buffer_bytes), value, length);
        if (name == SO_SNDBUF) return answer(static_cast<int>(socket->ledger.buffer()), value, length);
        if (name == SO_LINGER) return answer(linger{}, value, length);
        if (name == SO_RCVTIMEO || name == SO_SNDTIMEO) return answer(timeval{}, value, length);
    }
    return answer(0, value, length);
}

int Sockets::set_option(int fd, int level, int name, const void* value, socklen_t length) {
    const SocketPtr socket = find(fd);
    if (socket == nullptr) return -ENOTSOCK;
    if (value == nullptr) return -EFAULT;
    const bool takes_text = level == IPPROTO_TCP && (name == TCP_CONGESTION || name == TCP_ULP);
    const bool takes_byte = level == IPPROTO_IP && length != 0;
    if (!takes_text && !takes_byte && length < sizeof(int)) return -EINVAL;
    std::vector<std::byte> bytes(length);
    std::memcpy(bytes.data(), value, length);
    int number = 0;
    std::memcpy(&number, value, std::min<std::size_t>(length, sizeof number));
    if (level == IPPROTO_TCP) {
        switch (name) {
            case TCP_MAXSEG:
                if (number != 0 && (number < 88 || number > 32767)) return -EINVAL;
                break;
            case TCP_KEEPIDLE:
            case TCP_KEEPINTVL:
                if (number < 1 || number > 32767) return -EINVAL;
                break;
            case TCP_KEEPCNT:
            case TCP_SYNCNT:
                if (number < 1 || number > 127) return -EINVAL;
                break;
            case TCP_USER_TIMEOUT:
                if (number < 0) return -EINVAL;
                break;
            case TCP_INQ:
                if (number != 0 && number != 1) return -EINVAL;
                break;
            default:
                break;
        }
    }
    if (level == SOL_SOCKET && (name == SO_RCVBUF || name == SO_SNDBUF)) {
        // The kernel takes as much again for its own bookkeeping, and shows it.
        number = std::max(2 * number, name == SO_RCVBUF ? 2304 : 4608);
        std::memcpy(bytes.data(), &number, sizeof number);
    }
    if (level == SOL_SOCKET && name == SO_SNDBUF)
        socket->ledger.fix_buffer(static_cast<std::uint32_t>(number));
    if (level == IPPROTO_TCP && name == TCP_NOTSENT_LOWAT)
        socket->ledger.set_low_mark(number != 0 ? static_cast<std::uint32_t>(number)
                                                : static_cast<std::uint32_t>(world_.sysctls().number(
                                                      "net.ipv4.tcp_notsent_lowat", 0xffffffff)));
    if (level == SOL_SOCKET && name == SO_TIMESTAMPING)
        socket->errors.set_timestamping(static_cast<std::uint32_t>(number), snapshot(*socket).snd_una);
    const bool off = !takes_text && number == 0 && length == sizeof number;
    if (off)
        socket->options.erase({level, name});
    else
        socket->options[{level, name}] = std::move(bytes);
    if (level == IPPROTO_TCP && name == TCP_QUICKACK && socket->id)
        world_.stack().acknowledge(*socket->id, number != 0, world_.now());
    apply_options(*socket, level == IPPROTO_TCP && name == TCP_NODELAY);
    return 0;
}

stack::ConnectionOptions Sockets::connection_options(const Socket& socket) const {
    using std::chrono::milliseconds;
    using std::chrono::seconds;
    stack::ConnectionOptions options = world_.settings().tcp.options;
    const auto number = [&](int level, int name) -> std::optional<int> {
        const auto found = socket.options.find({level, name});
        if (found == socket.options.end()) return std::nullopt;
        int value = 0;
        std::memcpy(&value, found->second.data(), std::min(sizeof value, found->second.size()));
        return value;
    };
    options.nodelay = number(IPPROTO_TCP, TCP_NODELAY).value_or(0) != 0;
    options.cork = number(IPPROTO_TCP, TCP_CORK).value_or(0) != 0;
    options.keepalive = number(SOL_SOCKET, SO_KEEPALIVE).value_or(0) != 0;
    if (const auto value = number(IPPROTO_TCP, TCP_KEEPIDLE)) options.keepalive_idle = seconds(*value);
    if (const auto value = number(IPPROTO_TCP, TCP_KEEPINTVL)) options.keepalive_interval = seconds(*value);
    if (const auto value = number(IPPROTO_TCP, TCP_KEEPCNT))
        options.keepalive_count = static_cast<std::uint8_t>(*value);
    if (const auto value = number(IPPROTO_TCP, TCP_USER_TIMEOUT)) options.user_timeout = milliseconds(*value);
    if (const auto value = number(IPPROTO_TCP, TCP_LINGER2); value && *value >= 0)
        options.fin_wait_2_timeout = seconds(*value);
    if (const auto value = number(IPPROTO_TCP, TCP_MAXSEG))
        options.max_segment = static_cast<std::uint16_t>(*value);
    if (const auto value = number(socket.domain == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP,
                                  socket.domain == AF_INET6 ? IPV6_TCLASS : IP_TOS))
        options.traffic_class = static_cast<std::uint8_t>(*value);
    if (const auto value = number(SOL_SOCKET, SO_RCVBUF))
        options.receive_buffer_bytes = static_cast<std::uint32_t>(*value);
    const auto linger_option = socket.options.find({SOL_SOCKET, SO_LINGER});
    if (linger_option != socket.options.end() && linger_option->second.size() >= sizeof(linger)) {
        linger value{};
        std::memcpy(&value, linger_option->second.data(), sizeof value);
        options.abort_on_close = value.l_onoff != 0 && value.l_linger == 0;
    }
    return options;
}

void Sockets::apply_options(const Socket& socket, bool is_nodelay) {
    const stack::ConnectionOptions options = connection_options(socket);
    if (socket.id && (is_nodelay || world_.stack().options(*socket.id) != options))
        world_.stack().set_options(*socket.id, options, world_.now());
    if (socket.phase != Phase::listening) return;
    for (const stack::Endpoint& endpoint : listening_endpoints(socket))
        world_.stack().set_service_options(endpoint, options);
}

}  // namespace understudy::packetdrill
