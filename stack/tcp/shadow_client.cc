// Mirrored segments of a client: the shadow receives as the primary does (design.md 4).
#include <algorithm>
#include <span>

#include "stack/tcp/core.hh"

namespace understudy::stack::tcp {
namespace {

// Until the primary shows where frames to the client go (rules.md 26).
LinkAddress way_back(const Core& core, const Segment& segment) {
    return core.settings.routes.empty() ? segment.link_source : LinkAddress{};
}

using wire::TcpFlags;

Shadow::ClientSyn read_syn(const Segment& segment) {
    const wire::TcpOptions& options = segment.header.options;
    Shadow::ClientSyn syn;
    syn.seen = true;
    syn.isn = segment.seq();
    syn.window = segment.header.window;
    syn.mss = options.mss;
    syn.window_scale_present = options.window_scale_present;
    syn.window_scale = options.window_scale;
    syn.sack_permitted = options.sack_permitted;
    syn.timestamps_present = options.timestamps_present;
    syn.tsval = options.tsval;
    syn.data_bytes = static_cast<std::uint32_t>(segment.payload.size());
    return syn;
}

// A handshake begins. The connection waits for the primary's SYN/ACK; client segments that overtake it wait
// in it.
void on_client_syn(Core& core, Connection* c, const Segment& segment) {
    const Shadow::ClientSyn syn = read_syn(segment);
    if (c != nullptr) {
        Shadow& shadow = *c->shadow;
        if (syn.isn == c->irs && shadow.syn.seen) return;  // sent again
        if (syn.isn == c->irs && shadow.seeded) return complete_seed(core, *c, syn);
        if (shadow.seeded || is_abandoned(*c)) {
            shadow.next_syn = syn;  // the primary's SYN/ACK decides whether the ports are used anew
            return;
        }
        core.finish(*c, CloseReason::evicted);
    }
    c = core.table.create(core.key_of(segment.remote, segment.local));
    if (c == nullptr) {
        ++core.counters.drop_table_full;
        lose_state(core, segment.local);
        return;
    }
    c->shadow = std::make_unique<Shadow>();
    c->shadow->syn = syn;
    c->state = State::syn_received;
    c->coverage = Coverage::half_open;
    c->irs = syn.isn;
    c->rcv_nxt = c->rcv_edge = syn.isn + 1;
    c->ts_recent = syn.tsval;
    c->snd_wl1 = syn.isn;
    c->snd_wnd = c->max_snd_wnd = syn.window;
    c->peer_link = way_back(core, segment);
    c->life_at = core.now + core.settings.shadow.half_open_timeout;
    core.arm(*c);
}

// A connection that began before the replica watched, or that was given up: only what a RST at takeover needs
// is kept (rules.md 24).
void on_uncontinued(Core& core, Connection* c, const Segment& segment) {
    if (segment.has(TcpFlags::rst)) {
        if (c != nullptr) linger_after_reset(core, *c);
        return;
    }
    if (!segment.has(TcpFlags::ack)) return;
    if (c == nullptr) {
        if (segment.has(TcpFlags::fin)) return;
        c = core.table.create(core.key_of(segment.remote, segment.local));
        if (c == nullptr) {
            ++core.counters.drop_table_full;
            lose_state(core, segment.local);
            return;
        }
        c->shadow = std::make_unique<Shadow>();
        c->state = State::established;
        c->peer_link = way_back(core, segment);
        uncover(core, *c, Coverage::too_old, 0);
    }
    if (!segment.payload.empty()) lose_state(core, segment.local);
    c->snd_una = c->parked_ack = segment.ack();
    c->rcv_nxt = segment.end();
    const ShadowSettings& settings = core.settings.shadow;
    c->life_at = core.now + (segment.has(TcpFlags::fin) ? settings.closed_linger : settings.too_old_idle);
    core.arm(*c);
}

// What the client holds beyond its acknowledgement: after a promotion it is not sent again. Without room for
// more ranges the latest report stands alone, as it would with a sender that has just begun.
void note_sack_blocks(Connection& c, const Segment& segment) {
    constexpr std::size_t most_ranges = 32;
    std::vector<wire::SeqRange>& known = c.shadow->sacked;
    std::erase_if(known, [&c](const wire::SeqRange& range) { return range.end <= c.snd_una; });
    const auto blocks = std::span(segment.header.options.sack).first(segment.header.options.sack_count);
    for (wire::SeqRange block : blocks) {
        if (block.begin >= block.end || block.begin < segment.ack() || block.end > c.snd_nxt) continue;
        std::erase_if(known, [&block](const wire::SeqRange& range) {
            if (range.end < block.begin || range.begin > block.end) return false;
            block = {min(block.begin, range.begin), max(block.end, range.end)};
            return true;
        });
        if (known.size() == most_ranges) known.clear();
        known.push_back(block);
    }
}

void note_acknowledgement(Core& core, Connection& c, const Segment& segment) {
    if (!segment.has(TcpFlags::ack)) return;
    if (!c.ack_parked || segment.ack() > c.parked_ack) c.parked_ack = segment.ack();
    c.ack_parked = true;
    update_send_window(c, segment);
    if (c.sack && (segment.header.options.sack_count != 0 || !c.shadow->sacked.empty()))
        note_sack_blocks(c, segment);
    if (c.shadow->seeded && c.parked_ack > c.snd_nxt) ++core.counters.client_acks_parked;
}

void note_newest_timestamp(Connection& c, const Segment& segment) {
    const wire::TcpOptions& options = segment.header.options;
    if (options.timestamps_present && static_cast<std::int32_t>(options.tsval - c.ts_recent) > 0)
        c.ts_recent = options.tsval;
}

}  // namespace

bool apply_client_acks(Core& core, Connection& c) {
    Shadow& shadow = *c.shadow;
    if (!c.ack_parked || !c.is_synchronized()) return true;
    const bool fin_acked = shadow.has_primary_fin && c.parked_ack > shadow.primary_fin &&
                           c.send_queue.primary_nxt() == shadow.primary_fin;
    const Seq known = c.send_queue.end() + (fin_acked ? 1 : 0);
    const Seq ack = min(c.parked_ack, known);
    if (ack > c.snd_una) {
        if (shadow.rtt_timed && ack >= shadow.rtt_seq) {
            c.rtt.sample(core.now - shadow.rtt_at, ack, c.snd_nxt, core.settings.tcp);
            shadow.rtt_timed = false;
        }
        c.snd_una = ack;
    }
    if (fin_acked) on_fin_acked(core, c);
    const ConnectionId id = c.id();
    release_acked(core, c);
    return core.table.find(id) != nullptr;
}

bool establish_shadow(Core& core, Connection& c) {
    if (c.is_synchronized()) return true;
    core.set_state(c, State::established);
    if (c.coverage == Coverage::half_open) c.coverage = Coverage::covered;
    c.life_at = never;
    c.snd_una = c.iss + 1;
    const ConnectionId id = c.id();
    announce_connection(core, c);
    return core.table.find(id) != nullptr && offer_unread(core, c);
}

void follow_client(Core& core, Connection& c, const Segment& segment, Seq edge) {
    if (!take_payload(core, c, segment, edge)) return;
    charge_memory(core, c);
    if (is_abandoned(c)) return (void)abandon(core, c);
    apply_client_reset(core, c);
    if (!advance_alignment(core, c)) return;
    check_coverage(core, c);
    (void)finish_if_done(core, c);
}

void shadow_client_input(Core& core, Connection* c, const Segment& segment) {
    if (segment.has(TcpFlags::syn) && !segment.has(TcpFlags::ack)) return on_client_syn(core, c, segment);
    if (c == nullptr || is_abandoned(*c)) return on_uncontinued(core, c, segment);
    if (segment.has(TcpFlags::rst)) return on_client_reset(core, *c, segment);
    (void)disprove_reset(core, *c, segment);
    if (has_ended(*c)) return;
    if (are_far_apart(segment.seq(), c->rcv_nxt)) {
        ++core.counters.drop_out_of_window;
        return;
    }
    note_newest_timestamp(*c, segment);
    note_acknowledgement(core, *c, segment);
    if (segment.header.options.authenticated) note_hindrance(core, *c, Hindrance::authentication);
    if (c->shadow->seeded) {
        if (!c->is_synchronized() && c->parked_ack > c->iss && !establish_shadow(core, *c)) return;
        if (!apply_client_acks(core, *c)) return;
        note_flight(*c);
    }
    hold_unproven_input(*c, segment);
    follow_client(core, *c, segment, c->rcv_nxt + core.settings.shadow.lag_budget_bytes);
}

}  // namespace understudy::stack::tcp
