// What happens when a connection's time has come (RFC 9293 3.8, RFC 6298 5).
#include <algorithm>

#include "stack/tcp/ack_news.hh"

namespace understudy::stack::tcp {
namespace {

// RFC 9293 3.8.3: after R2 the connection is given up.
bool is_given_up(Core& core, const Connection& c) {
    return core.now - c.progress_at >= user_timeout_of(core, c);
}

// False when the connection is gone.
bool on_handshake_timeout(Core& core, Connection& c) {
    const TcpSettings& tcp = core.settings.tcp;
    if (c.handshake_sent > (c.state == State::syn_sent ? tcp.syn_retries : tcp.syn_ack_retries)) {
        core.finish(c, c.unreachable ? CloseReason::unreachable : CloseReason::timed_out);
        return false;
    }
    c.rtt.back_off(core.settings.tcp);
    send_handshake(core, c);
    return true;
}

void on_retransmission_timeout(Core& core, Connection& c, Recovery& r) {
    ++core.counters.tcp_timeouts;
    suspect_black_hole(core, c);
    enter_loss(core, c, r);
    (void)resend(core, c, r, 0, false);
    c.rtt.back_off(core.settings.tcp);
    restart_retransmission(core, c);
}

void on_window_probe(Core& core, Connection& c) {
    if (c.snd_nxt >= c.send_queue.end()) return;
    ++core.counters.tcp_window_probes;
    ++c.probe_backoff;
    probe_window(core, c);
    if (c.recovery == nullptr || c.recovery->sent.empty()) schedule_window_probe(core, c);
}

bool on_transmit_timer(Core& core, Connection& c) {
    if (!c.is_synchronized()) return on_handshake_timeout(core, c);
    if (c.transmit_timer == TransmitTimer::window_probe) {
        if (c.detached && is_given_up(core, c)) {  // nobody waits for a window that never opens
            core.finish(c, CloseReason::timed_out);
            return false;
        }
        on_window_probe(core, c);
        return true;
    }
    Recovery* const r = c.recovery.get();
    if (r == nullptr || r->sent.empty()) return true;
    if (c.transmit_timer == TransmitTimer::reordering) {
        on_reorder_timeout(core, c, *r);
    } else if (c.transmit_timer == TransmitTimer::loss_probe) {
        send_loss_probe(core, c, *r);
    } else if (is_given_up(core, c)) {
        core.finish(c, CloseReason::timed_out);
        return false;
    } else {
        on_retransmission_timeout(core, c, *r);
    }
    return true;
}

// TIME-WAIT is over, or the connection was found to differ after promotion.
void on_end_of_life(Core& core, Connection& c) {
    if (c.refused) return on_refused_timer(core, c);
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
    if (c.resumption() != nullptr) {
        if (!on_verification_timer(core, c)) return;
        resume_pacing(core, c);
    }
    if (c.ack_at <= core.now) {
        on_ack_timer(core, c);
    }
    if (c.retransmit_at <= core.now) {
        c.retransmit_at = never;
        if (!on_transmit_timer(core, c)) return;
        core.mark_dirty(c);
    }
    core.arm(c);
}

}  // namespace understudy::stack::tcp
