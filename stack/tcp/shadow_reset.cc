// RST on the mirror: whose it is, and when it counts (design.md 4, rules.md 10).
//
// A mirror may show a RST before what was sent before it, and each side may have sent more before it heard of
// the other's. So a connection that was reset goes on for ShadowSettings::reset_grace, then the application
// hears of it.
#include <algorithm>

#include "stack/tcp/core.hh"

namespace understudy::stack::tcp {
namespace {

void begin_reset(Core& core, Connection& c, CloseReason reason) {
    Shadow& shadow = *c.shadow;
    if (shadow.was_reset) return;
    shadow.reset_reason = reason;
    shadow.client_reset_waits = false;
    linger_after_reset(core, c);
    if (c.announced) c.life_at = core.now + core.settings.shadow.reset_grace;
    core.arm(c);
}

}  // namespace

Duration reset_patience(const Core& core, const Connection& c) {
    const Shadow& shadow = *c.shadow;
    const bool is_incomplete = shadow.hole_since != never || shadow.gap_since != never;
    const Duration grace = core.settings.shadow.reset_grace;
    return is_incomplete ? std::max(grace, missing_grace(core)) : grace;
}

void linger_after_reset(Core& core, Connection& c) {
    c.shadow->was_reset = true;
    c.shadow->reset_at = core.now;
    c.life_at = core.now + core.settings.shadow.closed_linger;
    core.arm(c);
}

void on_client_reset(Core& core, Connection& c, const Segment& segment) {
    Shadow& shadow = *c.shadow;
    const bool is_ahead = segment.seq() > c.rcv_nxt && !are_far_apart(segment.seq(), c.rcv_nxt);
    if (segment.seq() != c.rcv_nxt && !is_ahead) {
        ++core.counters.drop_bad_reset;
        return;
    }
    if (!c.is_synchronized()) {
        if (is_ahead) ++core.counters.drop_bad_reset;
        if (!is_ahead) core.finish(c, CloseReason::reset_by_peer);
        return;
    }
    if (!is_ahead) return begin_reset(core, c, CloseReason::reset_by_peer);
    shadow.client_reset_waits = true;
    shadow.client_reset = segment.seq();
    shadow.client_reset_at = core.now;
    check_coverage(core, c);
}

void apply_client_reset(Core& core, Connection& c) {
    Shadow& shadow = *c.shadow;
    if (!shadow.client_reset_waits || shadow.client_reset > c.rcv_nxt) return;
    if (shadow.client_reset == c.rcv_nxt) return begin_reset(core, c, CloseReason::reset_by_peer);
    shadow.client_reset_waits = false;  // the client went on
    ++core.counters.drop_bad_reset;
}

void give_up_waiting_for_reset(Core& core, Connection& c) {
    Shadow& shadow = *c.shadow;
    shadow.client_reset_waits = false;
    // What lies before it is lost; the RST ends all that was seen behind.
    if (c.out_of_order != nullptr && c.out_of_order->highest() == shadow.client_reset)
        return begin_reset(core, c, CloseReason::reset_by_peer);
    ++core.counters.drop_bad_reset;
}

void on_primary_reset(Core& core, Connection& c, const Segment& segment) {
    Shadow& shadow = *c.shadow;
    if (c.state == State::time_wait) return;  // a straggler was answered; ours may still be on the way
    // RFC 9293 3.10.7.3: one that acknowledges no SYN of this handshake answers another.
    if (!c.is_synchronized() && segment.has(wire::TcpFlags::ack) && segment.ack() <= c.irs) {
        ++core.counters.drop_bad_reset;
        return;
    }
    if (!c.is_synchronized()) return core.finish(c, CloseReason::reset_by_primary);
    if (has_ended(c) || is_abandoned(c)) return linger_after_reset(core, c);
    // The client takes none that lies before what it has acknowledged.
    if (segment.seq() < c.snd_una || are_far_apart(segment.seq(), c.send_queue.primary_nxt())) {
        ++core.counters.drop_bad_reset;
        return;
    }
    shadow.primary_reset = segment.seq();
    if (segment.has(wire::TcpFlags::ack) && !are_far_apart(segment.ack(), c.rcv_nxt))
        shadow.primary_ack = max(shadow.primary_ack, segment.ack());
    begin_reset(core, c, CloseReason::reset_by_primary);
    check_coverage(core, c);
}

void on_reset_timer(Core& core, Connection& c) {
    const Shadow& shadow = *c.shadow;
    const Duration patience = reset_patience(core, c);
    if (c.announced && core.now < shadow.reset_at + patience) {
        c.life_at = shadow.reset_at + patience;
        return core.arm(c);
    }
    const Instant end = shadow.reset_at + std::max(core.settings.shadow.closed_linger, patience);
    conclude_missing(core, c);
    if (core.now >= end) return core.finish(c, shadow.reset_reason);
    c.life_at = end;
    core.arm(c);
    (void)finish_if_done(core, c);
}

bool disprove_reset(Core& core, Connection& c, const Segment& segment) {
    Shadow& shadow = *c.shadow;
    if (!shadow.was_reset || segment.payload.empty()) return false;
    const bool from_primary = segment.source == Source::tap_from_primary;
    const bool is_own = from_primary == (shadow.reset_reason == CloseReason::reset_by_primary);
    if (!is_own || segment.end() <= (from_primary ? shadow.primary_reset : c.rcv_nxt)) return false;
    ++core.counters.drop_bad_reset;
    if (has_ended(c)) {  // too late: the application was told
        uncover(
            core, c, from_primary ? Coverage::uncompared : Coverage::hole,
            from_primary ? distance(c.iss + 1, c.send_queue.primary_nxt()) : distance(c.irs + 1, c.rcv_nxt));
        return true;
    }
    shadow.was_reset = false;
    c.life_at = never;
    core.arm(c);
    return true;
}

}  // namespace understudy::stack::tcp
