#include "shadow_app/shim/options.hh"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace understudy::shadow_app::shim {
namespace {

using proto::shim::Message;
using stack::State;
using std::chrono::milliseconds;
using std::chrono::seconds;

template <typename Value>
bool read(const Message& message, Value& value) {
    if (message.length < sizeof value || message.length > sizeof message.value) return false;
    std::memcpy(&value, message.value, sizeof value);
    return true;
}

void write(Message& answer, const void* value, std::size_t length) {
    answer.length = static_cast<std::uint32_t>(length);
    std::memcpy(answer.value, value, length);
}

void write(Message& answer, std::int64_t value) {
    const int narrow = static_cast<int>(value);
    write(answer, &narrow, sizeof narrow);
}

// As tcpi_state numbers it.
std::uint8_t kernel_state(State state) {
    switch (state) {
        case State::syn_sent: return TCP_SYN_SENT;
        case State::syn_received: return TCP_SYN_RECV;
        case State::established: return TCP_ESTABLISHED;
        case State::fin_wait_1: return TCP_FIN_WAIT1;
        case State::fin_wait_2: return TCP_FIN_WAIT2;
        case State::close_wait: return TCP_CLOSE_WAIT;
        case State::closing: return TCP_CLOSING;
        case State::last_ack: return TCP_LAST_ACK;
        case State::time_wait: return TCP_TIME_WAIT;
    }
    return TCP_CLOSE;
}

std::uint32_t microseconds(stack::Duration duration) {
    return static_cast<std::uint32_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(duration).count());
}

tcp_info info_of(const stack::ConnectionSnapshot& s) {
    tcp_info info{};
    info.tcpi_state = kernel_state(s.state);
    info.tcpi_ca_state = static_cast<std::uint8_t>(s.recovery);
    info.tcpi_options = static_cast<std::uint8_t>((s.timestamps ? TCPI_OPT_TIMESTAMPS : 0) |
                                                  (s.sack ? TCPI_OPT_SACK : 0) |
                                                  (s.window_scaling ? TCPI_OPT_WSCALE : 0));
    info.tcpi_snd_wscale = s.send_scale & 15;
    info.tcpi_rcv_wscale = s.receive_scale & 15;
    info.tcpi_rto = microseconds(s.rto);
    info.tcpi_snd_mss = s.mss;
    info.tcpi_rcv_mss = s.mss;
    info.tcpi_unacked = s.unacked_segments;
    info.tcpi_sacked = s.sacked_segments;
    info.tcpi_lost = s.lost_segments;
    info.tcpi_retrans = s.resent_segments;
    info.tcpi_rtt = microseconds(s.srtt);
    info.tcpi_rttvar = microseconds(s.rtt_variation);
    info.tcpi_snd_ssthresh = s.ssthresh_segments;
    info.tcpi_snd_cwnd = s.cwnd_segments;
    info.tcpi_advmss = s.mss;
    info.tcpi_reordering = s.reordering_segments;
    info.tcpi_rcv_space = s.rcv_wnd;
    info.tcpi_total_retrans = static_cast<std::uint32_t>(s.retransmitted_segments);
    info.tcpi_last_data_recv = microseconds(s.since_data) / 1000;
    return info;
}

// The bounds are the kernel's.
int apply_tcp(int name, int value, stack::ConnectionOptions& options) {
    const auto in = [value](int low, int high) { return value >= low && value <= high; };
    constexpr int longest_keepalive_s = 32767;
    switch (name) {
        case TCP_NODELAY: options.nodelay = value != 0; return 0;
        case TCP_CORK: options.cork = value != 0; return 0;
        case TCP_QUICKACK: return 0;
        case TCP_KEEPIDLE:
            if (!in(1, longest_keepalive_s)) return EINVAL;
            options.keepalive_idle = seconds(value);
            return 0;
        case TCP_KEEPINTVL:
            if (!in(1, longest_keepalive_s)) return EINVAL;
            options.keepalive_interval = seconds(value);
            return 0;
        case TCP_KEEPCNT:
            if (!in(1, 127)) return EINVAL;
            options.keepalive_count = static_cast<std::uint8_t>(value);
            return 0;
        case TCP_LINGER2:
            if (value < 0) return EINVAL;
            options.fin_wait_2_timeout = seconds(value);
            return 0;
        case TCP_MAXSEG:
            if (!in(88, 32767)) return EINVAL;
            options.max_segment = static_cast<std::uint16_t>(value);
            return 0;
        case TCP_USER_TIMEOUT:
            if (value < 0) return EINVAL;
            options.user_timeout = value == 0 ? std::nullopt : std::optional<stack::Duration>(milliseconds(value));
            return 0;
        default: return ENOPROTOOPT;
    }
}

}  // namespace

int apply_option(const Message& message, stack::ConnectionOptions& options) {
    if (message.level == SOL_SOCKET && message.name == SO_LINGER) {
        linger value{};
        if (!read(message, value)) return EINVAL;
        options.abort_on_close = value.l_onoff != 0 && value.l_linger == 0;
        return 0;
    }
    int value = 0;
    if (!read(message, value)) return EINVAL;
    if (message.level == IPPROTO_TCP) return apply_tcp(message.name, value, options);
    if (message.level == SOL_SOCKET && message.name == SO_KEEPALIVE) {
        options.keepalive = value != 0;
        return 0;
    }
    if ((message.level == IPPROTO_IP && message.name == IP_TOS) ||
        (message.level == IPPROTO_IPV6 && message.name == IPV6_TCLASS)) {
        options.traffic_class = static_cast<std::uint8_t>(value);
        return 0;
    }
    return ENOPROTOOPT;
}

void read_option(const Message& question, const stack::ConnectionOptions& options,
                 const std::optional<stack::ConnectionSnapshot>& snapshot, Message& answer) {
    if (question.level == IPPROTO_IP && question.name == IP_TOS) return write(answer, options.traffic_class);
    if (question.level == IPPROTO_IPV6 && question.name == IPV6_TCLASS)
        return write(answer, options.traffic_class);
    if (question.level == SOL_SOCKET && question.name == SO_KEEPALIVE) return write(answer, options.keepalive);
    if (question.level != IPPROTO_TCP) {
        answer.error = ENOPROTOOPT;
        return;
    }
    const auto in_seconds = [](stack::Duration d) { return std::chrono::duration_cast<seconds>(d).count(); };
    switch (question.name) {
        case TCP_NODELAY: return write(answer, options.nodelay);
        case TCP_CORK: return write(answer, options.cork);
        case TCP_QUICKACK: return write(answer, 1);
        case TCP_KEEPIDLE: return write(answer, in_seconds(options.keepalive_idle));
        case TCP_KEEPINTVL: return write(answer, in_seconds(options.keepalive_interval));
        case TCP_KEEPCNT: return write(answer, options.keepalive_count);
        case TCP_LINGER2: return write(answer, in_seconds(options.fin_wait_2_timeout.value_or(seconds(60))));
        case TCP_MAXSEG:
            return write(answer, snapshot && snapshot->mss != 0 ? snapshot->mss
                                 : options.max_segment != 0     ? options.max_segment
                                                                : 536);
        case TCP_USER_TIMEOUT:
            return write(answer, options.user_timeout
                                     ? std::chrono::duration_cast<milliseconds>(*options.user_timeout).count()
                                     : 0);
        case TCP_INFO: {
            tcp_info info{};
            info.tcpi_state = TCP_LISTEN;
            if (snapshot) info = info_of(*snapshot);
            static_assert(sizeof info <= proto::shim::max_value_bytes);
            return write(answer, &info, sizeof info);
        }
        default: answer.error = ENOPROTOOPT;
    }
}

}  // namespace understudy::shadow_app::shim
