// Whether a takeover would be invisible to a connection's client: never guessed (rules.md 1).
#include <algorithm>

#include "stack/tcp/core.hh"

namespace understudy::stack::tcp {
namespace {

std::uint64_t& counter_of(Counters& counters, Coverage reason) {
    switch (reason) {
        case Coverage::hole:
            return counters.holes;
        case Coverage::uncompared:
            return counters.uncompared;
        case Coverage::too_old:
            return counters.connections_too_old;
        case Coverage::inferred:
            return counters.connections_inferred;
        case Coverage::over_budget:
            return counters.lag_budget_exceeded;
        case Coverage::not_continuable:
            return counters.connections_not_continuable;
        case Coverage::conflicting:
            return counters.conflicting_copies;
        default:
            return counters.divergences;
    }
}

// Whether bytes of the client will not reach the application, which the primary's may have read.
bool loses_input(Coverage reason) {
    return reason == Coverage::hole || reason == Coverage::over_budget || reason == Coverage::conflicting ||
           reason == Coverage::not_continuable;
}

}  // namespace

Duration missing_grace(const Core& core) {
    return std::max(core.settings.shadow.hole_grace, core.settings.shadow.repair_deadline);
}

void uncover(Core& core, Connection& c, Coverage reason, std::uint64_t offset) {
    // The first reason is the one an operator needs; a half-open or inferred connection may still find a
    // worse one, and from being abandoned there is no way back.
    const bool can_worsen = c.coverage == Coverage::covered || c.coverage == Coverage::half_open ||
                            c.coverage == Coverage::inferred;
    const bool gives_up = reason == Coverage::over_budget || reason == Coverage::not_continuable;
    const bool is_final = gives_up || reason == Coverage::conflicting;
    if (is_abandoned(c) || c.coverage == reason || (!can_worsen && !is_final)) return;
    if (gives_up) c.shadow->abandoned = true;
    c.coverage = reason;
    c.rare().uncovered_at = offset;
    ++counter_of(core.counters, reason);
    if (loses_input(reason)) lose_state(core, core.local_of(c));
}

std::optional<Doubt> doubt_of(const Core& core, const Connection& c) {
    if (!c.is_silent()) return std::nullopt;
    const Shadow& shadow = *c.shadow;
    if (is_in_doubt(c)) return Doubt{Coverage::diverged, distance(c.iss + 1, c.send_queue.primary_nxt())};
    if (is_beyond_handshake(c)) return Doubt{Coverage::inferred, 0};
    if (shadow.gap_since != never)
        return Doubt{Coverage::uncompared, distance(c.iss + 1, c.send_queue.primary_nxt())};
    if (shadow.hole_since != never) return Doubt{Coverage::hole, distance(c.irs + 1, c.rcv_nxt)};
    const Listener* const service = core.listener(core.local_of(c));
    if (service == nullptr || service->state == ServiceState::stateless) return std::nullopt;
    // What is missing on one connection, another one's answers may depend on.
    if (service->state == ServiceState::attested && service->missing_input == 0) return std::nullopt;
    return Doubt{Coverage::state, 0};
}

void charge_memory(Core& core, Connection& c) {
    note_lag(core, c);
    Shadow& shadow = *c.shadow;
    const std::uint64_t held =
        std::uint64_t{c.unread.size()} + c.send_queue.bytes() + shadow.unconfirmed.size();
    shadow.memory.count_in(core.shadow_bytes);
    shadow.memory.set(held);
    if (held != 0 && core.shadow_bytes > core.settings.shadow.total_budget_bytes)
        uncover(core, c, Coverage::over_budget, c.bytes_received - c.unread.size());
}

void note_hindrance(Core& core, Connection& c, Hindrance hindrance) {
    if (is_abandoned(c)) return;
    c.shadow->hindrance = hindrance;
    uncover(core, c, Coverage::not_continuable, 0);
}

bool abandon(Core& core, Connection& c) {
    Shadow& shadow = *c.shadow;
    if (c.coverage == Coverage::too_old || shadow.emptied) return true;
    shadow.emptied = true;
    shadow.alignment.reset();
    shadow.unconfirmed.clear();
    c.unread.clear();
    c.out_of_order.reset();
    if (!shadow.from_primary.empty()) (void)shadow.from_primary.front_at(shadow.from_primary.highest());
    if (shadow.seeded) {
        c.send_queue.reset(c.snd_nxt);
        if (!c.ack_parked) c.parked_ack = max(c.snd_una, c.iss + 1);
    }
    shadow.memory.set(0);
    shadow.hole_since = shadow.gap_since = never;
    note_missing_input(core, c, false);
    c.life_at = core.now + core.settings.shadow.too_old_idle;
    core.arm(c);
    return !c.announced || core.tell_closed(c, CloseReason::uncovered);
}

void give_up(Core& core, Connection& c) {
    c.shadow->abandoned = true;
    c.life_at = core.now;
    core.arm(c);
}

bool tracks_output(const Connection& c) {
    if (c.is_silent() && c.shadow->abandoned) return false;
    return c.coverage == Coverage::covered || c.coverage == Coverage::half_open ||
           c.coverage == Coverage::inferred || c.coverage == Coverage::hole ||
           c.coverage == Coverage::diverged || c.coverage == Coverage::conflicting;
}

void check_coverage(Core& core, Connection& c) {
    Shadow& shadow = *c.shadow;
    if (!shadow.seeded) return note_missing_input(core, c, c.bytes_received != 0 || c.out_of_order != nullptr);
    if (c.state == State::time_wait) {  // nothing is missing any more
        shadow.hole_since = shadow.gap_since = never;
        return note_missing_input(core, c, false);
    }
    const Seq primary_nxt = c.send_queue.primary_nxt() + (shadow.has_primary_fin ? 1 : 0);
    // The time counts for the byte that is missing first: while bytes are filled, and others go missing
    // behind them, none of them is given up.
    const auto note = [&](Instant& since, Seq& at, Seq next, bool present) {
        if (!present)
            since = never;
        else if (since == never || at != next)
            since = core.now;
        at = next;
    };
    note(shadow.hole_since, shadow.hole_at, c.rcv_nxt, shadow.primary_ack > c.rcv_nxt);
    note(shadow.gap_since, shadow.gap_at, primary_nxt, proven_sent(c) > primary_nxt);
    note_missing_input(core, c, shadow.hole_since != never);
    list_incomplete(core, c);
    const Instant first = std::min(shadow.hole_since, shadow.gap_since);
    if (!c.is_synchronized() || shadow.was_reset) return;
    c.life_at = std::min(first == never ? never : first + missing_grace(core),
                         alignment_deadline(core, c));
    if (shadow.client_reset_waits)
        c.life_at = std::min(c.life_at, shadow.client_reset_at + reset_patience(core, c));
    core.arm(c);
}

void conclude_missing(Core& core, Connection& c) {
    const Shadow& shadow = *c.shadow;
    const Duration grace = missing_grace(core);
    const bool followed = tracks_output(c) && c.coverage != Coverage::hole;
    if (shadow.hole_since != never && core.now - shadow.hole_since >= grace) {
        uncover(core, c, Coverage::hole, distance(c.irs + 1, c.rcv_nxt));
        if (followed) core.counters.client_bytes_missed += missing_bytes(c, Direction::from_client);
    }
    if (shadow.gap_since != never && core.now - shadow.gap_since >= grace) {
        uncover(core, c, Coverage::uncompared, distance(c.iss + 1, c.send_queue.primary_nxt()));
        if (followed) {
            const std::uint32_t missed = missing_bytes(c, Direction::from_primary);
            core.counters.primary_bytes_missed += missed;
            core.counters.primary_bytes_followed += missed;
        }
    }
}

bool is_settled(const Connection& c) {
    if (!c.shadow->seeded || !tracks_output(c) || c.coverage == Coverage::hole) return true;
    const bool client_is_ahead = c.ack_parked && c.parked_ack > c.snd_nxt;
    return c.unread.size() == 0 && !client_is_ahead && c.shadow->primary_ack <= c.rcv_nxt &&
           c.send_queue.app_nxt() >= c.send_queue.primary_nxt();
}

void on_shadow_timer(Core& core, Connection& c) {
    Shadow& shadow = *c.shadow;
    c.life_at = never;
    if (is_abandoned(c) && c.coverage != Coverage::too_old && !shadow.emptied) return (void)abandon(core, c);
    if (c.state == State::time_wait || is_abandoned(c)) return core.finish(c, CloseReason::finished);
    if (shadow.was_reset) return on_reset_timer(core, c);
    if (!c.is_synchronized()) return core.finish(c, CloseReason::timed_out);
    conclude_missing(core, c);
    if (shadow.client_reset_waits && core.now - shadow.client_reset_at >= reset_patience(core, c)) {
        give_up_waiting_for_reset(core, c);
        if (shadow.was_reset) return;
    }
    if (!advance_alignment(core, c)) return;
    const Instant first = std::min(shadow.hole_since, shadow.gap_since);
    const Duration grace = missing_grace(core);
    c.life_at = alignment_deadline(core, c);
    if (first != never && first + grace > core.now) c.life_at = std::min(c.life_at, first + grace);
    if (shadow.client_reset_waits)
        c.life_at = std::min(c.life_at, shadow.client_reset_at + reset_patience(core, c));
    core.arm(c);
}

}  // namespace understudy::stack::tcp
