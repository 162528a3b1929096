// The closing half of the state diagram (RFC 9293 3.6). While silent the primary's FIN stands for our own.
#include "stack/tcp/core.hh"

namespace understudy::stack::tcp {
namespace {

void enter_time_wait(Core& core, Connection& c, Duration linger) {
    core.set_state(c, State::time_wait);
    c.retransmit_at = never;
    c.life_at = core.now + (c.is_silent() ? core.settings.shadow.closed_linger : linger);
    core.arm(c);
}

}  // namespace

void limit_fin_wait_2(Core& core, Connection& c) {
    // Nobody is left to wait for the peer's FIN (RFC 9293 3.10.4 allows it; RFC 1122 4.2.2.20).
    if (!c.detached || c.is_silent() || c.state != State::fin_wait_2) return;
    c.life_at =
        core.now + options_of(core, c).fin_wait_2_timeout.value_or(core.settings.tcp.fin_wait_2_timeout);
    core.arm(c);
}

void on_peer_fin(Core& core, Connection& c) {
    switch (c.state) {
        case State::established:
            core.set_state(c, State::close_wait);
            break;
        case State::fin_wait_1:
            core.set_state(c, State::closing);
            break;
        case State::fin_wait_2:
            enter_time_wait(core, c, core.settings.tcp.time_wait);
            break;
        default:
            break;
    }
}

void on_fin_sent(Core& core, Connection& c) {
    if (c.state == State::established)
        core.set_state(c, State::fin_wait_1);
    else if (c.state == State::close_wait)
        core.set_state(c, State::last_ack);
}

void on_fin_acked(Core& core, Connection& c) {
    if (c.state == State::fin_wait_1) {
        core.set_state(c, State::fin_wait_2);
        limit_fin_wait_2(core, c);
    } else if (c.state == State::closing)
        enter_time_wait(core, c, core.settings.tcp.time_wait);
    else if (c.state == State::last_ack)
        enter_time_wait(core, c, Duration::zero());  // CLOSED, but for what the application has not read
}

bool finish_if_done(Core& core, Connection& c) {
    if (c.is_silent() && c.shadow->was_reset) {
        const Shadow& shadow = *c.shadow;
        if (!c.announced || core.now < shadow.reset_at + reset_patience(core, c)) return true;
        // The application hears of the primary's once it has written what the primary had written (rules.md
        // 10).
        if (shadow.reset_reason == CloseReason::reset_by_primary && tracks_output(c) &&
            c.send_queue.app_nxt() < max(c.send_queue.primary_nxt(), shadow.primary_reset))
            return true;
        return core.tell_closed(c, shadow.reset_reason);
    }
    if (c.state != State::time_wait) return true;
    if (c.announced) {
        if (!c.unread.empty() || !c.peer_close_told || !c.send_shut) return true;
        if (!core.tell_closed(c, CloseReason::finished)) return false;
    }
    if (c.life_at > core.now) {
        if (c.is_silent()) return true;
        if (c.last_ack_sent != c.rcv_nxt) send_ack(core, c);  // the record that follows has no more to say
        remember_time_wait(core, c);
    }
    core.finish(c, CloseReason::finished);
    return false;
}

}  // namespace understudy::stack::tcp
