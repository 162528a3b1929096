// Segments that arrive at a master, in the order of RFC 9293 3.10.7.4.
#include <algorithm>

#include "stack/tcp/core.hh"

namespace understudy::stack::tcp {
namespace {

using wire::TcpFlags;

constexpr Duration timestamp_validity = std::chrono::hours(24 * 24);  // RFC 7323 5.5

bool is_mirrored(const Segment& segment) {
    return segment.source != Source::service;
}

// First: is any of it inside the window (RFC 9293 table 6)?
bool is_in_window(const Connection& c, const Segment& segment) {
    const Seq begin = segment.seq(), end = segment.end();
    if (c.rcv_edge == c.rcv_nxt) return segment.length() == 0 && begin == c.rcv_nxt;
    if (segment.length() == 0) return c.rcv_nxt <= begin && begin < c.rcv_edge;
    return (c.rcv_nxt <= begin && begin < c.rcv_edge) || (c.rcv_nxt < end && end <= c.rcv_edge) ||
           (begin < c.rcv_nxt && end > c.rcv_edge);
}

// PAWS (RFC 7323 5.3). Segments without the option are let through, as Linux does.
bool fails_paws(const Core& core, const Connection& c, const Segment& segment) {
    const wire::TcpOptions& options = segment.header.options;
    return c.timestamps && options.timestamps_present && !segment.has(TcpFlags::rst) &&
           static_cast<std::int32_t>(options.tsval - c.ts_recent) < 0 &&
           core.now - c.progress_at < timestamp_validity;
}

void note_timestamp(Connection& c, const Segment& segment) {
    const wire::TcpOptions& options = segment.header.options;
    if (!c.timestamps || !options.timestamps_present) return;
    // RFC 7323 4.3 (2): only from the segment that the next acknowledgement answers.
    if (segment.seq() <= c.last_ack_sent && static_cast<std::int32_t>(options.tsval - c.ts_recent) >= 0)
        c.ts_recent = options.tsval;
}

void challenge(Core& core, Connection& c, const Segment& segment) {
    if (is_mirrored(segment)) return;
    ++core.counters.tcp_challenge_acks;
    send_ack(core, c);
}

// Second: RST (RFC 9293 3.10.7.4, RFC 5961 3.2).
void on_reset(Core& core, Connection& c, const Segment& segment) {
    if (segment.seq() == c.rcv_nxt) {
        core.finish(
            c, c.active_open && !c.is_synchronized() ? CloseReason::refused : CloseReason::reset_by_peer);
        return;
    }
    ++core.counters.drop_bad_reset;
    challenge(core, c, segment);
}

// Fourth: SYN inside a connection.
void on_unexpected_syn(Core& core, Connection& c, const Segment& segment) {
    if (c.state == State::syn_received && segment.seq() == c.irs) {
        send_handshake(core, c);
        return;
    }
    // TIME-WAIT gives way to a new incarnation (RFC 9293 3.6.1, RFC 6191).
    if (c.state == State::time_wait && !segment.has(TcpFlags::ack) && segment.seq() > c.rcv_nxt &&
        !is_mirrored(segment)) {
        core.finish(c, CloseReason::finished);
        listen_input(core, segment);
        return;
    }
    ++core.counters.drop_unexpected_syn;
    challenge(core, c, segment);  // RFC 5961 4.2
}

// Fifth, SYN-RECEIVED: the handshake's last acknowledgement. False when the segment is done with.
bool complete_handshake(Core& core, Connection& c, const Segment& segment) {
    if (!(segment.ack() > c.snd_una && segment.ack() <= c.snd_nxt)) {
        if (!c.promoted) {
            ++core.counters.drop_bad_ack;
            send_reset_for(core, segment);
            return false;
        }
        // The primary had answered the SYN with a number that the mirror did not show (rules.md 25).
        c.iss = segment.ack() - 1;
        c.snd_nxt = c.snd_max = segment.ack();
        c.recover = c.iss;
        c.send_queue.reset(c.snd_nxt);
        ++core.counters.connections_inferred;
    }
    c.snd_una = segment.ack();
    c.snd_wl1 = segment.seq();
    c.snd_wl2 = segment.ack();
    c.snd_wnd = std::uint32_t{segment.header.window} << c.snd_scale;
    c.max_snd_wnd = std::max(c.max_snd_wnd, c.snd_wnd);
    c.retransmit_at = never;
    core.set_state(c, State::established);
    const ConnectionId id = c.id();
    announce_connection(core, c);
    return core.table.find(id) != nullptr && offer_unread(core, c);
}

// Decides when the acknowledgement goes out (RFC 9293 3.8.6.3, RFC 5681 4.2). An answer that leaves earlier
// carries it.
void schedule_ack(Core& core, Connection& c, const Segment& segment, bool in_order, bool had_gap) {
    if (segment.length() == 0) return;
    const bool at_once = !in_order || had_gap || c.out_of_order != nullptr || segment.has(TcpFlags::fin);
    if (at_once) {
        if (is_mirrored(segment) && !in_order) return;  // rules.md 18
        c.ack_now = true;
    } else if (++c.unacked_segments >= 2) {
        c.ack_now = true;
    } else if (c.ack_at == never) {
        c.ack_at = core.now + core.settings.tcp.delayed_ack;
        core.arm(c);
    }
    // A duplicate acknowledgement counts only if every segment draws its own.
    if (c.ack_now && !in_order) send_ack(core, c);
}

void on_unacceptable(Core& core, Connection& c, const Segment& segment) {
    ++core.counters.drop_out_of_window;
    if (segment.has(TcpFlags::rst) || is_mirrored(segment)) return;
    if (c.state == State::time_wait && segment.has(TcpFlags::fin)) {
        c.life_at = core.now + core.settings.tcp.time_wait;  // RFC 9293 3.10.7.4, eighth, TIME-WAIT
        core.arm(c);
    }
    // A closed window refuses bytes, not acknowledgements (RFC 9293 3.10.7.4, first).
    if (segment.has(TcpFlags::ack) && c.state != State::syn_received && segment.seq() >= c.rcv_nxt &&
        c.rcv_edge == c.rcv_nxt) {
        if (!master_ack(core, c, segment)) return;
        const ConnectionId id = c.id();
        release_acked(core, c);
        if (core.table.find(id) == nullptr) return;
    }
    c.ack_now = true;
    core.mark_dirty(c);
}

void synchronized_input(Core& core, Connection& c, const Segment& segment) {
    if (fails_paws(core, c, segment)) {
        ++core.counters.drop_paws;
        if (!is_mirrored(segment)) send_ack(core, c);
        return;
    }
    if (segment.has(TcpFlags::syn) && (c.state == State::syn_received || c.state == State::time_wait))
        return on_unexpected_syn(core, c, segment);
    if (!is_in_window(c, segment)) return on_unacceptable(core, c, segment);
    if (segment.has(TcpFlags::rst)) return on_reset(core, c, segment);
    if (segment.has(TcpFlags::syn)) return on_unexpected_syn(core, c, segment);
    if (!segment.has(TcpFlags::ack)) return;
    if (c.state == State::syn_received && !complete_handshake(core, c, segment)) return;

    const ConnectionId id = c.id();
    const bool in_order = segment.seq() <= c.rcv_nxt && segment.end() > c.rcv_nxt;
    const bool had_gap = c.out_of_order != nullptr;
    note_timestamp(c, segment);
    if (!is_mirrored(segment)) c.peer_link = segment.link_source;
    if (!master_ack(core, c, segment)) return;
    release_acked(core, c);
    if (core.table.find(id) == nullptr) return;
    if (!is_mirrored(segment)) c.verified = true;
    if (!take_payload(core, c, segment, c.rcv_edge)) return;
    schedule_ack(core, c, segment, in_order, had_gap);
    core.mark_dirty(c);
    if (!finish_if_done(core, c)) return;
}

}  // namespace

void master_input(Core& core, Connection* c, const Segment& segment) {
    if (c == nullptr) {
        const bool in_grace = core.promoted_at && core.now < *core.promoted_at + core.settings.unknown_grace;
        if (is_mirrored(segment)) {
            ++core.counters.drop_tap_after_promotion;
        } else if (core.is_service(segment.local) && segment.has(TcpFlags::syn) &&
                   !segment.has(TcpFlags::ack)) {
            listen_input(core, segment);
        } else if (in_grace) {
            ++core.counters.drop_unknown_connection;
        } else {
            send_reset_for(core, segment);
        }
        return;
    }
    // Once a connection's frames reach the service port, their mirrored copies bring nothing (rules.md 18).
    if (!is_mirrored(segment)) {
        c->service_seen = true;
    } else if (c->service_seen) {
        ++core.counters.drop_tap_after_promotion;
        return;
    }
    if (c->state == State::syn_sent)
        syn_sent_input(core, *c, segment);
    else
        synchronized_input(core, *c, segment);
}

}  // namespace understudy::stack::tcp
