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

// include/net/tcp_states.h
enum class LinuxState : std::uint8_t {
    established = 1,
    syn_sent,
    syn_recv,
    fin_wait1,
    fin_wait2,
    time_wait,
    close,
    close_wait,
    last_ack,
    listen,
    closing,
};

LinuxState linux_state(const Socket& socket, const stack::ConnectionSnapshot& s) {
    using stack::State;
    if (socket.phase == Phase::listening) return LinuxState::listen;
    if (!socket.id) return LinuxState::close;
    switch (s.state) {
        case State::syn_sent:
            return LinuxState::syn_sent;
        case State::syn_received:
            return LinuxState::syn_recv;
        case State::established:
            return LinuxState::established;
        case State::fin_wait_1:
            return LinuxState::fin_wait1;
        case State::fin_wait_2:
            return LinuxState::fin_wait2;
        case State::close_wait:
            return LinuxState::close_wait;
        case State::closing:
            return LinuxState::closing;
        case State::last_ack:
            return LinuxState::last_ack;
        case State::time_wait:
            return LinuxState::time_wait;
    }
    return LinuxState::close;
}

template <typename T>
int answer(const T& value, void* out, socklen_t* length) {
    const auto count = std::min<std::size_t>(*length, sizeof value);
    std::memcpy(out, &value, count);
    *length = static_cast<socklen_t>(count);
    return 0;
}

std::uint32_t microseconds(Duration duration) {
    return static_cast<std::uint32_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(duration).count());
}

}  // namespace

int Sockets::fill_tcp_info(const Socket& socket, void* value, socklen_t* length) const {
    const auto s = snapshot(socket);
    tcp_info info{};
    info.tcpi_state = static_cast<std::uint8_t>(linux_state(socket, s));
    if (socket.id || socket.last) {
        const std::uint32_t mss = world_.settings().tcp.mss - (world_.settings().tcp.timestamps ? 12u : 0u);
        info.tcpi_rto = microseconds(s.rto);
        info.tcpi_snd_mss = mss;
        info.tcpi_rcv_mss = mss;
        info.tcpi_snd_cwnd = mss != 0 ? s.cwnd / mss : 0;
        info.tcpi_rtt = microseconds(s.srtt);
        info.tcpi_total_retrans = static_cast<std::uint32_t>(s.retransmitted_segments);
        info.tcpi_bytes_received = s.bytes_received;
        info.tcpi_notsent_bytes = s.app_nxt > s.snd_nxt ? s.app_nxt - s.snd_nxt : 0;
        info.tcpi_unacked = mss != 0 ? (s.snd_nxt - s.snd_una + mss - 1) / mss : 0;
    }
    return answer(info, value, length);
}

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
        info[3] = world_.settings().tcp.send_buffer_bytes;
        info[5] = s.app_nxt - s.snd_una;
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
                return answer(static_cast<int>(socket->id ? world_.settings().tcp.mss : 536), value, length);
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
        if (name == SO_SNDBUF)
            return answer(static_cast<int>(world_.settings().tcp.send_buffer_bytes), value, length);
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
    const bool off = !takes_text && number == 0 && length == sizeof number;
    if (off)
        socket->options.erase({level, name});
    else
        socket->options[{level, name}] = std::move(bytes);
    apply_option(*socket, level, name);
    return 0;
}

// The stack has no options of one connection yet: they are kept and shown.
void Sockets::apply_option(Socket&, int, int) {}

}  // namespace understudy::packetdrill
