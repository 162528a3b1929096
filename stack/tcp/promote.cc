// Silent → master for one connection (design.md 4 and 5): it goes on from what was observed.
#include <algorithm>

#include "stack/tcp/ack_news.hh"

namespace understudy::stack::tcp {
namespace {

// As configured; but beyond the primary's FIN nothing can be sent.
bool keeps_difference(Core& core, const Connection& c) {
    const Shadow& shadow = *c.shadow;
    return c.coverage == Coverage::diverged && !shadow.abandoned &&
           policy_of(core, c) == DivergencePolicy::keep &&
           !(shadow.has_primary_fin && c.send_queue.app_nxt() > shadow.primary_fin);
}

bool can_be_carried_on(Core& core, const Connection& c) {
    if (doubt_of(core, c)) return false;
    if (keeps_difference(core, c)) return true;
    return c.coverage == Coverage::covered || c.coverage == Coverage::half_open ||
           (c.coverage == Coverage::inferred && core.settings.shadow.cover_inferred);
}

Promoted reset(Core& core, Connection& c) {
    if (c.coverage == Coverage::diverged && policy_of(core, c) == DivergencePolicy::uncover) {
        ++core.counters.connections_left_at_promotion;
        core.finish(c, CloseReason::uncovered);
        return Promoted::left;
    }
    ++core.counters.connections_reset_at_promotion;
    refuse(core, c);
    return Promoted::reset;
}

// The primary's timestamp clock goes on, at its pace (rules.md 11).
void continue_timestamps(Core& core, Connection& c, const Shadow& shadow) {
    c.set_ts_tick(shadow.clock.tick() != 0 ? shadow.clock.tick() : core.primary_tick);
    c.ts_first_own = shadow.clock.continued(core.now, c.ts_tick());
    c.ts_offset = c.ts_first_own - ticks_at(core.now, c.ts_tick());
}

// Segments as large as the primary's were: the path may take no larger ones (rules.md 4).
void continue_segment_size(const Core& core, Connection& c, const Shadow& shadow) {
    const std::uint16_t options = c.timestamps ? 12 : 0;
    if (shadow.syn.mss == 0 && shadow.largest_segment != 0)
        c.mss = std::min<std::uint16_t>(shadow.largest_segment + options, core.interface_mss(c.key.remote));
    else if (shadow.full_segment + options >= default_mss)
        c.mss = std::min<std::uint16_t>(c.mss, shadow.full_segment + options);
}

// A handshake that the primary left half open is completed (rules.md 25): with its own SYN/ACK if that was
// seen.
Promoted complete_handshake(Core& core, Connection& c, const Shadow& shadow) {
    const Endpoint local = core.local_of(c), remote = core.remote_of(c);
    if (!shadow.seeded) {
        c.own_isn = true;
        wire::TcpOptions syn;
        syn.mss = shadow.syn.mss;
        syn.window_scale_present = shadow.syn.window_scale_present;
        syn.window_scale = shadow.syn.window_scale;
        syn.sack_permitted = shadow.syn.sack_permitted;
        syn.timestamps_present = shadow.syn.timestamps_present;
        syn.tsval = shadow.syn.tsval;
        c.iss = core.sequence.initial(local, remote, core.now);
        c.snd_una = c.iss;
        c.snd_nxt = c.snd_max = c.iss + 1;
        c.send_queue.reset(c.iss + 1);
        c.ts_offset = core.sequence.timestamp_offset(local, remote);
        c.ts_first_own = tsval_now(core, c);
        size_receive_buffer(core, c);
        c.timestamps = core.settings.tcp.timestamps;
        c.sack = core.settings.tcp.sack;
        c.window_scaling = true;
        c.rcv_scale = window_scale_for(core.settings.tcp, options_of(core, c));
        negotiate(core, c, syn);
    }
    c.coverage = Coverage::covered;
    c.ack_parked = false;
    c.rtt = RttEstimator(core.settings.tcp.rto_initial);
    ++core.counters.handshakes_completed;
    send_handshake(core, c);
    begin_verification(core, c);
    return Promoted::half_open;
}

// Whether the client has told that it holds [begin, end).
bool is_reported(const Shadow& shadow, Seq begin, Seq end) {
    return std::any_of(shadow.sacked.begin(), shadow.sacked.end(),
                       [&](const wire::SeqRange& range) { return range.begin <= begin && end <= range.end; });
}

// From here on what the primary sent may be on its way to the client or back: the last of it is younger than a
// round trip. Before it, what the client has reported something behind is lost.
Seq first_on_its_way(const Core& core, const Connection& c, const Shadow& shadow) {
    if (!core.settings.shadow.warm_start || !c.rtt.has_sample()) return c.snd_nxt;
    if (core.now >= shadow.data_at + c.rtt.srtt() + c.rtt.srtt() / 4) return c.snd_nxt;
    return shadow.sacked.empty() ? c.snd_una : max(c.snd_una, shadow.sacked.back().end);
}

// The scoreboard of what the primary sent and the client has not acknowledged. What is lost goes out again at
// once, as the primary sent it.
void resume_flight(Core& core, Connection& c, const Shadow& shadow) {
    Recovery& r = core.recovery_of(c);
    const std::uint32_t room = std::max(segment_room(c), 1u);
    const Seq on_its_way = first_on_its_way(core, c, shadow);
    for (Seq at = c.snd_una; at < c.snd_nxt;) {
        const Seq end = at + std::min(room, distance(at, c.snd_nxt));
        r.sent.push(at, end, core.now, {.pushed = end == c.snd_nxt});
        const std::uint32_t last = r.sent.size() - 1;
        if (is_reported(shadow, at, end))
            r.sent.mark_sacked(last);
        else if (at >= on_its_way)
            r.sent.mark_probed(last, shadow.data_at);  // times no round trip: most were sent earlier
        else
            r.sent.mark_lost(last);
        at = end;
    }
    if (core.settings.shadow.warm_start) c.congestion.cwnd = std::max(c.congestion.cwnd, r.sent.size());
    r.high_seq = c.snd_nxt;
    begin_pacing(core, c, core.settings.tcp.initial_window_segments);
    if (r.sent.lost() != 0) {
        r.state = RecoveryState::loss;
        resend_lost(core, c, r);
    } else if (!schedule_loss_probe(core, c, r)) {
        restart_retransmission(core, c);
    }
}

void resume_output(Core& core, Connection& c, const Shadow& shadow) {
    c.snd_max = max(c.snd_nxt, c.snd_una);
    if (shadow.has_primary_fin) {
        c.fin_queued = true;
        c.fin_seq = shadow.primary_fin;
    } else if (c.send_shut) {
        c.fin_queued = true;
        c.fin_seq = c.send_queue.end();
    }
    const std::uint32_t room = std::max(segment_room(c), 1u);
    const std::uint32_t initial = core.settings.tcp.initial_window_segments;
    const std::uint32_t flight = (std::max(shadow.flight, shadow.previous_flight) + room - 1) / room;
    c.congestion = CongestionState{};
    c.congestion.cwnd = core.settings.shadow.warm_start ? std::max(initial, flight) : initial;
    // It had found what the path takes, or was about to: slow start would double it once more.
    if (c.congestion.cwnd > initial) c.congestion.ssthresh = c.congestion.cwnd;
    c.progress_at = core.now;
    c.retransmit_at = never;
    c.snd_nxt = c.snd_max;
    if (c.snd_una == c.snd_nxt)
        begin_pacing(core, c, initial);
    else
        resume_flight(core, c, shadow);
}

}  // namespace

Promoted promote_connection(Core& core, Connection& c) {
    if (c.shadow->was_reset) {
        core.finish(c, c.shadow->reset_reason);
        return Promoted::ended;
    }
    const bool half_open = c.state == State::syn_received;
    const bool goes_on = !is_abandoned(c) && can_be_carried_on(core, c);
    leave_service(core, c);
    if (!goes_on) return reset(core, c);
    c.keeps_difference = keeps_difference(core, c);
    const bool withheld = is_withheld(c);
    const std::unique_ptr<Shadow> shadow = std::move(c.shadow);  // master from here on
    c.promoted = true;
    c.life_at = never;
    c.last_ack_sent = shadow->primary_ack;
    c.ts_recent_at = seconds(core.now);
    if (shadow->seeded && c.timestamps) continue_timestamps(core, c, *shadow);
    if (shadow->seeded) continue_segment_size(core, c, *shadow);
    if (half_open) return complete_handshake(core, c, *shadow);
    if (c.state == State::time_wait) {
        c.life_at = core.now + core.settings.tcp.time_wait;
        core.arm(c);
        return Promoted::carried_on;
    }
    c.ack_parked = false;
    c.heard_at = c.data_at = milliseconds(core.now);
    c.snd_small = c.snd_una;
    begin_acknowledging(core, c);
    start_keepalive(core, c);
    ++core.counters.connections_promoted;
    // Data carries the acknowledgement of all that the mirror showed; without any, it goes alone. The probe
    // asks the client for its own numbers (rules.md 23).
    c.ack_now = true;
    if (c.out_of_order != nullptr) send_ack(core, c);  // with what came behind a gap: data carries no SACK
    resume_output(core, c, *shadow);
    output(core, c);
    send_probe(core, c);
    begin_verification(core, c);
    kick_client(core, c, *shadow);
    if (withheld) (void)offer_unread(core, c);  // nothing is aligned any more
    return Promoted::carried_on;
}

}  // namespace understudy::stack::tcp
