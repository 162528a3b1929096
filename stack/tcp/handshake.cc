// Connections as they begin: passive and active open (RFC 9293 3.5 and 3.10.7.2, 3.10.7.3).
#include <algorithm>

#include "stack/tcp/core.hh"

namespace understudy::stack::tcp {
namespace {

using wire::TcpFlags;

// RFC 9293 3.7.1, MUST-15.
std::uint16_t default_mss_of(const Connection& c) {
    constexpr std::uint16_t default_mss_v6 = 1220;
    return c.key.remote.is_v4() ? default_mss : default_mss_v6;
}

void start_at(Connection& c, Seq isn) {
    c.iss = isn;
    c.snd_una = c.iss;
    c.snd_nxt = c.snd_max = c.iss + 1;
    c.send_queue.reset(c.iss + 1);
}

void prepare(Core& core, Connection& c, const ConnectionOptions& options) {
    const TcpSettings& tcp = core.settings.tcp;
    const Endpoint local = core.local_of(c), remote = core.remote_of(c);
    start_at(c, core.sequence.initial(local, remote, core.now));
    c.ts_offset = core.sequence.timestamp_offset(local, remote);
    c.ts_first_own = tsval_now(core, c);
    give_options(core, c, options);
    size_receive_buffer(core, c);
    c.rtt = RttEstimator(tcp.rto_initial);
    c.timestamps = tcp.timestamps;
    c.sack = tcp.sack;
    c.window_scaling = tcp.window_scaling;
    c.ttl = tcp.ttl;
    c.rcv_scale = window_scale_for(tcp, options);
    c.progress_at = core.now;
    c.verified = true;
}

// RTT, RTO and window after the handshake (RFC 6298 5.7, RFC 5681 3.1).
void settle_handshake(Core& core, Connection& c, const Segment& segment) {
    const TcpSettings& tcp = core.settings.tcp;
    const wire::TcpOptions& options = segment.header.options;
    if (c.promoted || c.handshake_sent == 0) return;  // the clock of the first transmission was the primary's
    if (c.handshake_sent <= 1) {
        c.rtt.sample(core.now - c.progress_at, c.snd_una, c.snd_nxt, tcp);
    } else if (c.timestamps && options.timestamps_present && options.tsecr - c.ts_first_own < 0x80000000u) {
        c.rtt.sample(Duration(std::int64_t{tsval_now(core, c) - options.tsecr} * c.ts_tick()), c.snd_una,
                     c.snd_nxt, tcp);
    } else {
        c.rtt = RttEstimator(std::max<Duration>(std::chrono::seconds(3), tcp.rto_initial));
    }
    // Linux forgives one lost SYN, for its time-out is shorter than the three seconds of RFC 5681's time.
    if (c.handshake_sent > 2) c.congestion.cwnd = 1;
}

void begin_synchronized(Core& core, Connection& c, const Segment& segment) {
    c.retransmit_at = never;
    settle_handshake(core, c, segment);
    core.set_state(c, State::established);
    c.progress_at = c.sent_at = core.now;
    c.heard_at = c.data_at = milliseconds(core.now);
    c.snd_small = c.snd_una;
    begin_acknowledging(core, c);
    start_keepalive(core, c);
}

}  // namespace

bool is_loopback(const IpAddress& address) {
    if (address.is_v4()) return address.v4() >> 24 == 127;
    IpAddress loopback;
    loopback.octets[15] = 1;
    return address == loopback;
}

bool is_possible_peer(const IpAddress& address) {
    if (is_loopback(address)) return false;
    if (address.is_v4()) {  // not 0/8 (RFC 1122 3.2.1.3), 224/3
        const std::uint32_t first = address.v4() >> 24;
        return first != 0 && first < 224;
    }
    return address.octets[0] != 0xff && address != IpAddress{};
}

void negotiate(Core& core, Connection& c, const wire::TcpOptions& peer) {
    c.timestamps = c.timestamps && peer.timestamps_present;
    c.sack = c.sack && peer.sack_permitted;
    c.window_scaling = c.window_scaling && peer.window_scale_present;
    c.snd_scale = c.window_scaling ? peer.window_scale : 0;
    if (!c.window_scaling) c.rcv_scale = 0;
    const auto path_mss = core.interface_mss(c.key.remote);
    c.mss = std::clamp(peer.mss != 0 ? peer.mss : default_mss_of(c), least_send_mss, path_mss);
    if (const std::uint16_t most = options_of(core, c).max_segment; most != 0)
        c.mss = std::max(std::min(c.mss, most), least_send_mss);
    if (c.timestamps) {
        c.ts_recent = peer.tsval;
        c.ts_recent_at = seconds(core.now);
    }
    c.congestion.cwnd = core.settings.tcp.initial_window_segments;
}

bool establish_passive(Core& core, Connection& c, const Segment& segment) {
    c.snd_una = segment.ack();
    c.snd_wl1 = segment.seq();
    c.snd_wl2 = segment.ack();
    c.snd_wnd = std::uint32_t{segment.header.window} << c.snd_scale;
    c.max_snd_wnd = std::max(c.max_snd_wnd, c.snd_wnd);
    begin_synchronized(core, c, segment);
    const ConnectionId id = c.id();
    announce_connection(core, c);
    return core.table.find(id) != nullptr && offer_unread(core, c);
}

void listen_input(Core& core, const Segment& segment, std::optional<Seq> isn) {
    if (segment.has(TcpFlags::rst)) return;
    if (segment.has(TcpFlags::ack)) {
        send_reset_for(core, segment);
        return;
    }
    if (!segment.has(TcpFlags::syn) || segment.has(TcpFlags::fin)) {
        ++core.counters.drop_no_flags;  // RFC 9293 3.10.7.2, fourth
        return;
    }
    Listener* const found = core.listener(segment.local);
    if (found == nullptr) return send_reset_for(core, segment);
    Listener& listener = *found;
    if (!isn && wants_cookie(core, listener)) return answer_with_cookie(core, listener, segment);
    if (listener.half_open >= core.settings.tcp.syn_backlog) {
        ++core.counters.drop_syn_backlog;
        return;
    }
    Connection* c = core.table.create(core.key_of(segment.remote, segment.local));
    if (c == nullptr) {
        ++core.counters.drop_table_full;
        return;
    }
    prepare(core, *c, listener.options);
    if (isn) start_at(*c, *isn);
    c->state = State::syn_received;
    c->peer_link = segment.link_source;
    c->irs = segment.seq();
    c->rcv_nxt = c->rcv_edge = segment.seq() + 1;
    c->snd_wl1 = segment.seq();
    c->snd_wnd = c->max_snd_wnd = segment.header.window;
    c->service_seen = true;
    negotiate(core, *c, segment.header.options);
    c->ecn = accepts_ecn(core, segment);
    core.count_half_open(*c);
    send_handshake(core, *c);
}

Connection* open_from_cookie(Core& core, const Segment& segment, const wire::TcpOptions& syn) {
    Connection* c = core.table.create(core.key_of(segment.remote, segment.local));
    if (c == nullptr) {
        ++core.counters.drop_table_full;
        return nullptr;
    }
    prepare(core, *c, core.listener(segment.local)->options);
    start_at(*c, segment.ack() - 1);
    c->state = State::syn_received;
    c->peer_link = segment.link_source;
    c->irs = segment.seq() - 1;
    c->rcv_nxt = c->last_ack_sent = segment.seq();
    c->service_seen = true;
    negotiate(core, *c, syn);
    const std::uint32_t mss = offered_mss(core, *c) - (c->timestamps ? 12u : 0u);
    c->rcv_edge = c->rcv_nxt + initial_window(core.settings.tcp, c->receive_limit, mss);
    return c;
}

// RFC 6056 3.3.4 (algorithm 4): a walk that begins elsewhere for each peer.
std::uint16_t choose_port(Core& core, const IpAddress& local, const Endpoint& remote) {
    const std::uint32_t first = core.settings.tcp.ephemeral_first;
    const std::uint32_t count = core.settings.tcp.ephemeral_last - first + 1u;
    const std::uint32_t offset = core.sequence.hash({local, 0}, remote, 4, 0);
    std::uint32_t& walked =
        core.port_walks[core.sequence.hash({local, 0}, remote, 5, 0) % core.port_walks.size()];
    for (std::uint32_t tried = 0; tried < count; ++tried) {
        const auto port = static_cast<std::uint16_t>(first + (offset + walked++) % count);
        const Endpoint candidate{local, port};
        const FlowKey key = core.key_of(remote, candidate);
        const TimeWait* waiting = core.time_wait.find(key);
        if (core.is_service(candidate) || core.table.find(key) != nullptr) continue;
        if (waiting == nullptr || is_reusable(core, *waiting)) return port;
    }
    ++core.counters.drop_no_port;
    return 0;
}

Connection* open_active(Core& core, Endpoint local, const Endpoint& remote, const LinkAddress& link,
                        const ConnectionOptions& options) {
    if (!is_possible_peer(remote.address) || remote.port == 0) {  // RFC 9293 3.9.2.3, MUST-46
        ++core.counters.drop_bad_peer;
        return nullptr;
    }
    if (local.port == 0) local.port = choose_port(core, local.address, remote);
    if (local.port == 0) return nullptr;
    const FlowKey key = core.key_of(remote, local);
    if (core.table.find(key) != nullptr) return nullptr;
    const TimeWait* const waiting = core.time_wait.find(key);
    if (waiting != nullptr && !is_reusable(core, *waiting)) return nullptr;
    const std::optional<Seq> isn = leave_time_wait(core, key);
    Connection* c = core.table.create(key);
    if (c == nullptr) {
        ++core.counters.drop_table_full;
        return nullptr;
    }
    prepare(core, *c, options);
    if (isn) start_at(*c, *isn);
    c->state = State::syn_sent;
    c->active_open = true;
    c->peer_link = link;
    send_handshake(core, *c);
    return c;
}

void syn_sent_input(Core& core, Connection& c, const Segment& segment) {
    const bool acceptable = segment.has(TcpFlags::ack) && segment.ack() > c.iss && segment.ack() <= c.snd_nxt;
    if (segment.has(TcpFlags::ack) && !acceptable) {
        ++core.counters.drop_bad_ack;
        send_reset_for(core, segment);
        return;
    }
    if (segment.has(TcpFlags::rst)) {
        if (acceptable)
            core.finish(c, CloseReason::refused);
        else
            ++core.counters.drop_bad_reset;
        return;
    }
    if (!segment.has(TcpFlags::syn)) return;
    c.irs = segment.seq();
    c.rcv_nxt = c.rcv_edge = segment.seq() + 1;
    c.rcv_edge = c.rcv_nxt + initial_window(core.settings.tcp, c.receive_limit, offered_mss(core, c));
    c.peer_link = segment.link_source;
    negotiate(core, c, segment.header.options);
    c.ecn = core.settings.tcp.ecn == Ecn::active && c.handshake_sent == 1 && segment.has(TcpFlags::ece) &&
            !segment.has(TcpFlags::cwr);
    c.snd_wl1 = segment.seq();
    c.snd_wnd = c.max_snd_wnd = segment.header.window;
    if (!acceptable) {
        // Simultaneous open (RFC 9293 3.5, figure 7).
        core.set_state(c, State::syn_received);
        send_handshake(core, c);
        return;
    }
    c.snd_una = segment.ack();
    c.snd_wl2 = segment.ack();
    begin_synchronized(core, c, segment);
    c.ack_now = true;
    core.mark_dirty(c);
    const ConnectionId id = c.id();
    announce_connection(core, c);
    // RFC 9293 3.10.7.3, fifth: what else the SYN/ACK brings is processed from the sixth step on.
    if (core.table.find(id) == nullptr || segment.length() == 1) return;
    if (take_payload(core, c, segment, c.rcv_edge)) (void)finish_if_done(core, c);
}

}  // namespace understudy::stack::tcp
