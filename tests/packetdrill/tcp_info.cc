// TCP_INFO: what the stack knows of a connection, in the layout of Linux 6.18's struct tcp_info.
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "tests/packetdrill/sockets.hh"

namespace understudy::packetdrill {
namespace {

using Phase = Socket::Phase;

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

// The layout is the kernel's interface; debian's header is older and shorter.
struct TcpInfo {
    std::uint8_t state, ca_state, retransmits, probes, backoff, options, scales, flags;
    std::uint32_t rto, ato, snd_mss, rcv_mss;
    std::uint32_t unacked, sacked, lost, retrans, fackets;
    std::uint32_t last_data_sent, last_ack_sent, last_data_recv, last_ack_recv;
    std::uint32_t pmtu, rcv_ssthresh, rtt, rttvar, snd_ssthresh, snd_cwnd, advmss, reordering;
    std::uint32_t rcv_rtt, rcv_space, total_retrans;
    std::uint64_t pacing_rate, max_pacing_rate, bytes_acked, bytes_received;
    std::uint32_t segs_out, segs_in, notsent_bytes, min_rtt, data_segs_in, data_segs_out;
    std::uint64_t delivery_rate, busy_time, rwnd_limited, sndbuf_limited;
    std::uint32_t delivered, delivered_ce;
    std::uint64_t bytes_sent, bytes_retrans;
    std::uint32_t dsack_dups, reord_seen, rcv_ooopack, snd_wnd, rcv_wnd, rehash;
    std::uint16_t total_rto, total_rto_recoveries;
    std::uint32_t total_rto_time, received_ce;
    std::uint32_t accurate_ecn[7];
};

constexpr std::uint32_t unbounded = 0x7fffffff;

std::uint32_t microseconds(Duration duration) {
    return static_cast<std::uint32_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(duration).count());
}

}  // namespace

int Sockets::fill_tcp_info(const Socket& socket, void* value, socklen_t* length) const {
    const_cast<World&>(world_).stack().advance(world_.now());  // spans end now
    const auto s = snapshot(socket);
    TcpInfo info{};
    info.state = static_cast<std::uint8_t>(linux_state(socket, s));
    if (socket.id || socket.last) {
        const std::uint32_t mss = s.mss;
        info.rto = microseconds(s.rto);
        info.snd_mss = mss;
        info.rcv_mss = mss;
        info.options =
            static_cast<std::uint8_t>((s.timestamps ? 1 : 0) | (s.sack ? 2 : 0) | (s.window_scaling ? 4 : 0));
        info.scales = static_cast<std::uint8_t>(s.send_scale | s.receive_scale << 4);
        const std::uint32_t asked = connection_options(socket).max_segment;
        const std::uint32_t most = world_.settings().tcp.mss;
        info.advmss = (asked != 0 ? std::min(asked, most) : most) - (s.timestamps ? 12u : 0u);
        info.last_data_recv = microseconds(s.since_data) / 1000;
        info.pmtu = static_cast<std::uint32_t>(world_.settings().mtu);
        info.snd_ssthresh = std::min(s.ssthresh_segments, unbounded);
        info.ca_state = static_cast<std::uint8_t>(s.recovery);
        info.sacked = s.sacked_segments;
        info.lost = s.lost_segments;
        info.retrans = s.resent_segments;
        info.reordering = s.reordering_segments;
        info.rttvar = microseconds(s.rtt_variation);
        info.min_rtt = microseconds(s.min_rtt);
        info.snd_cwnd = s.cwnd_segments;
        info.rtt = microseconds(s.srtt);
        info.total_retrans = static_cast<std::uint32_t>(s.retransmitted_segments);
        info.bytes_received = s.bytes_received;
        info.notsent_bytes = s.app_nxt > s.snd_nxt ? s.app_nxt - s.snd_nxt : 0;
        info.unacked = s.unacked_segments;
        SendLimits limits = socket.limits;
        limits.update(s, socket.lacks_room, world_.now());
        info.busy_time = microseconds(limits.busy());
        info.rwnd_limited = microseconds(limits.by_window());
        info.sndbuf_limited = microseconds(limits.by_buffer());
        info.bytes_acked = s.snd_una - s.iss - (s.snd_una == s.iss ? 0 : 1);
        info.snd_wnd = s.snd_wnd;
        info.rcv_wnd = s.rcv_wnd;
    }
    const auto count = std::min<std::size_t>(*length, sizeof info);
    std::memcpy(value, &info, count);
    *length = static_cast<socklen_t>(count);
    return 0;
}

}  // namespace understudy::packetdrill
