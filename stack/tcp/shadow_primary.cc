// Mirrored segments of the primary: the seed, and the stream that ours is compared with (design.md 4).
#include <algorithm>

#include "stack/tcp/core.hh"

namespace understudy::stack::tcp {
namespace {

using wire::TcpFlags;

// What the client's SYN said, as far as it was seen.
void apply_client_options(const Core& core, Connection& c) {
    const Shadow::ClientSyn& syn = c.shadow->syn;
    c.snd_scale = c.window_scaling ? syn.window_scale : 0;
    c.mss = std::min(syn.mss != 0 ? syn.mss : default_mss, core.interface_mss(c.key.remote));
}

void report_seed(Core& core, const Connection& c) {
    const Shadow& shadow = *c.shadow;
    SeedRecord record;
    record.at = core.now;
    record.client = core.remote_of(c);
    record.service = core.local_of(c);
    record.client_link = c.peer_link;
    record.client_isn = c.irs.raw();
    record.primary_isn = c.iss.raw();
    record.client_mss = shadow.syn.mss;
    record.primary_mss = shadow.primary_mss;
    record.client_window_scale = c.snd_scale;
    record.primary_window_scale = c.rcv_scale;
    record.window_scaling = c.window_scaling;
    record.timestamps = c.timestamps;
    record.sack_permitted = c.sack;
    record.inferred = !shadow.syn.seen;
    record.primary_tsval = shadow.clock.newest();
    record.client_tsval = c.ts_recent;
    core.events.seeded(record);
}

// Takes the connection's numbers and options from the SYN/ACK: the replica's connection is the primary's.
void seed(Core& core, Connection& c, const Segment& segment) {
    Shadow& shadow = *c.shadow;
    const wire::TcpOptions& options = segment.header.options;
    const TcpSettings& tcp = core.settings.tcp;
    shadow.seeded = true;
    c.iss = segment.seq();
    c.snd_una = c.iss;
    c.snd_nxt = c.snd_max = shadow.round_end = c.iss + 1;
    c.send_queue.reset(c.iss + 1);
    c.timestamps = options.timestamps_present;
    c.sack = options.sack_permitted;
    c.window_scaling = options.window_scale_present;
    c.rcv_scale = options.window_scale;
    c.ecn = segment.has(TcpFlags::ece) && !segment.has(TcpFlags::cwr);
    apply_client_options(core, c);
    c.receive_limit = std::max<std::uint32_t>(tcp.receive_buffer_bytes, segment.header.window);
    c.rcv_edge = max(c.rcv_edge, segment.ack() + segment.header.window);
    c.ttl = segment.ttl;
    c.rtt = RttEstimator(tcp.rto_initial);
    c.congestion.cwnd = tcp.initial_window_segments;
    begin_alignment(core, c);
    shadow.primary_mss = options.mss;
    shadow.primary_ack = segment.ack();
    if (c.timestamps) shadow.clock.begin(options.tsval, core.now);
    if (!shadow.syn.seen) uncover(core, c, Coverage::inferred, 0);
    if (options.authenticated) note_hindrance(core, c, Hindrance::authentication);
    if (options.multipath) note_hindrance(core, c, Hindrance::multipath);
    if (segment.ack() != c.irs + 1) note_hindrance(core, c, Hindrance::fast_open);
    ++core.counters.connections_seeded;
    report_seed(core, c);
}

// A record for a handshake whose SYN is `syn`, or was not on the mirror.
Connection* begin_from_syn_ack(Core& core, const Segment& segment, const Shadow::ClientSyn& syn) {
    Connection* c = core.table.create(core.key_of(segment.remote, segment.local));
    if (c == nullptr) {
        ++core.counters.drop_table_full;
        lose_state(core, segment.local);
        return nullptr;
    }
    c->shadow = std::make_unique<Shadow>();
    c->shadow->syn = syn;
    c->state = State::syn_received;
    c->coverage = Coverage::half_open;
    c->irs = segment.ack() - 1;
    c->rcv_nxt = c->rcv_edge = segment.ack();
    c->snd_wl1 = c->irs;
    c->ts_recent = syn.seen ? syn.tsval : segment.header.options.tsecr;
    c->life_at = core.now + core.settings.shadow.half_open_timeout;
    core.arm(*c);
    return c;
}

void compare(Core& core, Connection& c, wire::Bytes bytes) {
    note_answer(core, c);
    core.counters.primary_bytes_followed += bytes.size();
    if (c.announced) core.events.primary_sent(c.id(), bytes);
    const SendQueue::Written written = c.send_queue.write_primary(bytes);
    note_comparison(core, c, written);
    if (c.send_shut && c.send_queue.primary_nxt() > c.send_queue.app_nxt())
        note_end_difference(core, c, c.send_queue.app_nxt());
}

void take_reordered(Core& core, Connection& c) {
    Reassembly& waiting = c.shadow->from_primary;
    for (auto more = waiting.front_at(c.send_queue.primary_nxt()); !more.empty();
         more = waiting.front_at(c.send_queue.primary_nxt())) {
        compare(core, c, more);
        waiting.pop_front();
    }
}

// The primary's FIN, once all before it was seen.
void take_primary_fin(Core& core, Connection& c) {
    const Shadow& shadow = *c.shadow;
    if (!shadow.has_primary_fin || c.send_queue.primary_nxt() != shadow.primary_fin) return;
    if (c.send_queue.app_nxt() > shadow.primary_fin) note_end_difference(core, c, shadow.primary_fin);
    on_fin_sent(core, c);
}

// What overtook the SYN/ACK. False when the connection is gone.
bool take_waiting_output(Core& core, Connection& c) {
    Shadow& shadow = *c.shadow;
    if (!shadow.from_primary.empty() && are_far_apart(shadow.from_primary.highest(), c.iss)) {
        (void)shadow.from_primary.front_at(shadow.from_primary.highest());  // of another conversation
        shadow.has_primary_fin = false;
    }
    if (shadow.from_primary.empty() && !shadow.has_primary_fin) return true;
    // The primary sends data only on an established connection.
    if (!establish_shadow(core, c)) return false;
    if (!shadow.from_primary.empty()) c.snd_nxt = max(c.snd_nxt, shadow.from_primary.highest());
    if (shadow.has_primary_fin) c.snd_nxt = max(c.snd_nxt, shadow.primary_fin + 1);
    if (tracks_output(c)) take_reordered(core, c);
    take_primary_fin(core, c);
    return apply_client_acks(core, c);
}

// Segments of the primary that overtook its SYN/ACK on the mirror wait for it.
void keep_for_seed(Core& core, Connection& c, const Segment& segment) {
    Shadow& shadow = *c.shadow;
    if (segment.length() == 0 || segment.has(TcpFlags::rst)) return;
    if (!shadow.from_primary.empty() && are_far_apart(segment.seq(), shadow.from_primary.highest())) return;
    ++core.counters.mirror_reordered;
    if (segment.has(TcpFlags::fin)) {
        shadow.has_primary_fin = true;
        shadow.primary_fin = segment.seq() + static_cast<std::uint32_t>(segment.payload.size());
    }
    if (!segment.payload.empty())
        (void)keep_out_of_order(core, shadow.from_primary, segment.seq(), segment.payload,
                                core.settings.shadow.lag_budget_bytes, max_shadow_ranges);
}

// Whether a SYN/ACK acknowledges the SYN, or the SYN and data that it carried (RFC 7413).
bool answers_syn(const Connection& c, const Segment& segment) {
    const Seq first = c.irs + 1;
    return segment.ack() >= first && segment.ack() <= first + c.shadow->syn.data_bytes;
}

// The last SYN/ACK that the client accepts wins (design.md 4).
void on_syn_ack(Core& core, Connection* c, const Segment& segment) {
    if (c != nullptr && c->shadow->seeded && c->iss == segment.seq() && answers_syn(*c, segment)) {
        ++core.counters.seeds_retransmitted;
        return;
    }
    if (c != nullptr && !answers_syn(*c, segment)) {
        const Shadow::ClientSyn next = c->shadow->next_syn;
        const bool reused = next.seen && next.isn + 1 == segment.ack();
        if (!reused && c->state != State::time_wait && !is_abandoned(*c)) {
            ++core.counters.drop_seed_mismatch;
            return;
        }
        ++core.counters.connections_evicted;
        core.finish(*c, CloseReason::evicted);
        c = begin_from_syn_ack(core, segment, reused ? next : Shadow::ClientSyn{});
    } else if (c != nullptr && c->is_synchronized()) {
        ++core.counters.drop_seed_mismatch;
        return;
    } else if (c == nullptr) {
        c = begin_from_syn_ack(core, segment, {});
    }
    if (c == nullptr) return;
    c->peer_link = segment.link_destination;
    seed(core, *c, segment);
    if (is_abandoned(*c)) return (void)abandon(core, *c);
    // Client segments that overtook the SYN/ACK on the mirror are there already.
    if (c->ack_parked) {
        c->snd_wnd <<= c->snd_scale;  // their scale was not known
        c->max_snd_wnd = std::max(c->max_snd_wnd, c->snd_wnd);
    }
    if (c->ack_parked && c->parked_ack > c->iss) {
        if (!establish_shadow(core, *c) || !apply_client_acks(core, *c)) return;
    }
    if (!take_waiting_output(core, *c)) return;
    check_coverage(core, *c);
}

void forget_confirmed(Shadow& shadow) {
    if (shadow.unconfirmed.empty() || shadow.primary_ack <= shadow.unconfirmed_begin) return;
    const std::uint32_t count =
        std::min(distance(shadow.unconfirmed_begin, shadow.primary_ack), shadow.unconfirmed.size());
    shadow.unconfirmed.pop(count);
    shadow.unconfirmed_begin += count;
}

// A sender pushes at the end of what it has: a segment that does not was cut by the MSS at work. Larger ones
// than the client accepts were put together by an offloading host.
void note_segment_size(Connection& c, const Segment& segment) {
    const auto size = segment.payload.size();
    if (size == 0 || (c.shadow->syn.mss != 0 && size > segment_room(c))) return;
    Shadow& shadow = *c.shadow;
    shadow.largest_segment = std::max(shadow.largest_segment, static_cast<std::uint16_t>(size));
    if (!segment.has(TcpFlags::psh | TcpFlags::fin))
        shadow.full_segment = std::max(shadow.full_segment, static_cast<std::uint16_t>(size));
}

void note_numbers(Core& core, Connection& c, const Segment& segment) {
    Shadow& shadow = *c.shadow;
    const wire::TcpOptions& options = segment.header.options;
    if (!segment.link_destination.is_group()) c.peer_link = segment.link_destination;
    c.ttl = segment.ttl;
    if (options.timestamps_present) {
        shadow.clock.sample(options.tsval, core.now);
        if (shadow.clock.tick() != 0) core.primary_tick = shadow.clock.tick();
    }
    note_segment_size(c, segment);
    if (!segment.has(TcpFlags::ack)) return;
    if (segment.ack() > shadow.primary_ack) {
        if (c.coverage != Coverage::hole)
            core.counters.client_bytes_confirmed += distance(shadow.primary_ack, segment.ack());
        shadow.primary_ack = segment.ack();
    }
    forget_confirmed(shadow);
    const std::uint32_t window = std::uint32_t{segment.header.window} << c.rcv_scale;
    c.rcv_edge = max(c.rcv_edge, segment.ack() + window);
    c.receive_limit = std::max(c.receive_limit, window);
}

void take_primary_bytes(Core& core, Connection& c, const Segment& segment, FollowedAs as) {
    Shadow& shadow = *c.shadow;
    Seq begin = segment.seq();
    wire::Bytes bytes = segment.payload;
    const Seq end = begin + static_cast<std::uint32_t>(bytes.size());
    const Seq next = c.send_queue.primary_nxt();
    if (segment.has(TcpFlags::fin) && end >= next && !shadow.has_primary_fin) {
        shadow.has_primary_fin = true;
        shadow.primary_fin = end;
    }
    c.snd_nxt = max(c.snd_nxt, segment.end());
    if (as == FollowedAs::seen && !c.shadow->rtt_timed && segment.length() != 0 &&
        segment.end() == c.snd_nxt && end > next) {
        c.shadow->rtt_timed = true;
        c.shadow->rtt_seq = segment.end();
        c.shadow->rtt_at = core.now;
    }
    if (bytes.empty()) return;
    if (as == FollowedAs::seen) shadow.data_at = core.now;
    if (end <= next) {
        ++core.counters.tcp_duplicate_segments;
        return;
    }
    // The client acknowledges whole segments: what it had acknowledged before the mirror showed it came in
    // another segment than one that reaches beyond the acknowledgement. Larger ones were put together by an
    // offloading host, and a repair has no segments.
    if (as == FollowedAs::seen && c.ack_parked && c.parked_ack > max(begin, next) && c.parked_ack < end &&
        bytes.size() <= c.mss)
        uncover(core, c, Coverage::uncompared, distance(c.iss + 1, next));
    if (begin < next) {
        bytes = bytes.subspan(distance(begin, next));
        begin = next;
    }
    if (begin > next) {
        ++core.counters.mirror_reordered;
        (void)keep_out_of_order(core, shadow.from_primary, begin, bytes,
                                core.settings.shadow.lag_budget_bytes, max_shadow_ranges);
        return;
    }
    core.watch.primary_answered();
    compare(core, c, bytes);
    take_reordered(core, c);
    if (c.send_queue.bytes() > core.settings.shadow.lag_budget_bytes + core.settings.tcp.send_buffer_bytes) {
        if (c.coverage == Coverage::diverged)
            c.shadow->abandoned = true;
        else
            uncover(core, c, Coverage::over_budget, distance(c.iss + 1, c.send_queue.app_nxt()));
    }
}

}  // namespace

void follow_primary(Core& core, Connection& c, const Segment& segment, FollowedAs as) {
    if (tracks_output(c)) take_primary_bytes(core, c, segment, as);
    charge_memory(core, c);
    if (is_abandoned(c)) return (void)abandon(core, c);
    note_flight(c);
    take_primary_fin(core, c);
    if (!apply_client_acks(core, c) || !release_held_input(core, c)) return;
    charge_memory(core, c);
    if (is_abandoned(c)) return (void)abandon(core, c);
    if (!advance_alignment(core, c)) return;
    check_coverage(core, c);
    (void)finish_if_done(core, c);
}

void note_flight(Connection& c) {
    Shadow& shadow = *c.shadow;
    if (c.snd_una >= shadow.round_end) {
        shadow.previous_flight = shadow.flight;
        shadow.flight = 0;
        shadow.round_end = c.snd_nxt;
    }
    if (c.snd_nxt > c.snd_una) shadow.flight = std::max(shadow.flight, distance(c.snd_una, c.snd_nxt));
}

void complete_seed(Core& core, Connection& c, const Shadow::ClientSyn& syn) {
    Shadow& shadow = *c.shadow;
    shadow.syn = syn;
    apply_client_options(core, c);
    if (c.snd_wl1 == c.irs) {
        c.snd_wnd = c.max_snd_wnd = syn.window;
    } else {  // of segments read before their scale was known
        c.snd_wnd <<= c.snd_scale;
        c.max_snd_wnd <<= c.snd_scale;
    }
    if (c.coverage == Coverage::inferred)
        c.coverage = c.is_synchronized() ? Coverage::covered : Coverage::half_open;
    report_seed(core, c);
}

void shadow_primary_input(Core& core, Connection* c, const Segment& segment) {
    core.primary_seen_at = core.now;
    if (segment.has(TcpFlags::syn)) {
        if (segment.has(TcpFlags::ack)) on_syn_ack(core, c, segment);
        return;
    }
    if (c == nullptr) return;  // an older connection is recorded from its client's side
    if (segment.has(TcpFlags::rst)) return on_primary_reset(core, *c, segment);
    (void)disprove_reset(core, *c, segment);
    if (has_ended(*c)) return;
    if (is_abandoned(*c)) return;
    if (!c->shadow->seeded) return keep_for_seed(core, *c, segment);
    if (are_far_apart(segment.seq(), c->send_queue.primary_nxt())) {
        ++core.counters.drop_out_of_window;
        return;
    }
    if (segment.header.options.authenticated) {
        note_hindrance(core, *c, Hindrance::authentication);
        return (void)abandon(core, *c);
    }
    note_numbers(core, *c, segment);
    // The primary sends data only on an established connection: the client's last ACK may be missing here.
    if (segment.length() != 0 && !establish_shadow(core, *c)) return;
    follow_primary(core, *c, segment, FollowedAs::seen);
}

}  // namespace understudy::stack::tcp
