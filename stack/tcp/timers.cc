// What happens when a connection's time has come (RFC 9293 3.8, RFC 6298 5).
#include <algorithm>

#include "stack/tcp/core.hh"

namespace understudy::stack::tcp {
namespace {

// RFC 9293 3.8.3: after R2 the connection is given up.
bool is_given_up(Core& core, const Connection& c) {
    return core.now - c.progress_at >= user_timeout_of(core, c);
}

// False when the connection is gone.
bool on_handshake_timeout(Core& core, Connection& c) {
    if (c.handshake_sent > core.settings.tcp.syn_retries) {
        core.finish(c, CloseReason::timed_out);
        return false;
    }
    c.rtt.back_off(core.settings.tcp);
    send_handshake(core, c);
    return true;
}

void on_retransmission_timeout(Core& core, Connection& c) {
    ++core.counters.tcp_timeouts;
    // A probe of a closed window that goes unanswered is no sign of congestion.
    if (c.snd_wnd != 0) core.congestion.on_timeout(c.congestion, distance(c.snd_una, c.snd_max), c.mss);
    c.recover = c.snd_max;  // RFC 6582 4: no fast retransmit for what is sent again below
    c.in_recovery = false;
    c.duplicate_acks = 0;
    c.rtt_timed = false;
    c.snd_nxt = c.snd_una;
    c.rtt.back_off(core.settings.tcp);
    c.retransmit_at = core.now + c.rtt.rto();
    // The first segment goes out even into a closed window: its answer tells whether the window is still
    // closed.
    if (retransmit_first(core, c)) {
        const Seq sent = c.snd_una + std::min(segment_room(c), distance(c.snd_una, c.snd_max));
        c.snd_nxt = max(c.snd_nxt, sent);
    }
}

bool on_retransmit_timer(Core& core, Connection& c) {
    if (!c.is_synchronized()) return on_handshake_timeout(core, c);
    if (c.snd_una != c.snd_max) {
        if (is_given_up(core, c)) {
            core.finish(c, CloseReason::timed_out);
            return false;
        }
        on_retransmission_timeout(core, c);
    } else if (c.snd_nxt < c.send_queue.end()) {
        if (c.detached && is_given_up(core, c)) {  // nobody waits for a window that never opens
            core.finish(c, CloseReason::timed_out);
            return false;
        }
        ++core.counters.tcp_window_probes;
        c.rtt.back_off(core.settings.tcp);
        c.retransmit_at = core.now + c.rtt.rto();
        probe_window(core, c);
    }
    return true;
}

// TIME-WAIT is over, or the connection was found to differ after promotion.
void on_end_of_life(Core& core, Connection& c) {
    if (c.detached && c.state == State::fin_wait_2) return core.finish(c, CloseReason::finished);
    if (c.state != State::time_wait && !c.doomed) return (void)on_keepalive_timer(core, c);
    if (c.doomed) {
        send_reset(core, c, c.snd_nxt);
        return core.finish(c, CloseReason::uncovered);
    }
    if (c.announced && !c.unread.empty() && !is_given_up(core, c)) {
        c.life_at = core.now + core.settings.tcp.time_wait;  // the application has not read all
        return core.arm(c);
    }
    core.finish(c, CloseReason::finished);
}

}  // namespace

void on_timer(Core& core, Connection& c) {
    if (c.is_silent()) {
        if (c.life_at <= core.now) return on_shadow_timer(core, c);
        core.arm(c);
        return;
    }
    if (c.life_at <= core.now) {
        const ConnectionId id = c.id();
        on_end_of_life(core, c);
        if (core.table.find(id) == nullptr) return;
    }
    if (c.ack_at <= core.now) {
        on_ack_timer(core, c);
    }
    if (c.retransmit_at <= core.now) {
        c.retransmit_at = never;
        if (!on_retransmit_timer(core, c)) return;
        core.mark_dirty(c);
    }
    core.arm(c);
}

}  // namespace understudy::stack::tcp
