// Bytes on their way to the application (RFC 9293 3.10.7.4, seventh and eighth).
#include "stack/tcp/core.hh"

namespace understudy::stack::tcp {
namespace {

// The client may still send bytes again that the primary has not acknowledged (rules.md 8).
void keep_until_confirmed(const Core& core, Connection& c, wire::Bytes bytes) {
    Shadow& shadow = *c.shadow;
    const Seq end = c.rcv_nxt + static_cast<std::uint32_t>(bytes.size());
    if (shadow.seeded && shadow.primary_ack >= end) return;
    if (shadow.unconfirmed.empty()) shadow.unconfirmed_begin = c.rcv_nxt;
    shadow.unconfirmed.push(bytes);
    const std::uint32_t most = core.settings.shadow.lag_budget_bytes;
    if (shadow.unconfirmed.size() <= most) return;
    const std::uint32_t excess = shadow.unconfirmed.size() - most;
    shadow.unconfirmed.pop(excess);
    shadow.unconfirmed_begin += excess;
}

// A copy of what was delivered: the primary may have received the one or the other.
void check_copy(Core& core, Connection& c, Seq begin, wire::Bytes bytes) {
    const Shadow& shadow = *c.shadow;
    const Seq known = shadow.unconfirmed_begin, known_end = known + shadow.unconfirmed.size();
    const Seq from = max(begin, known);
    const Seq to = min(begin + static_cast<std::uint32_t>(bytes.size()), known_end);
    if (shadow.unconfirmed.empty() || from >= to) return;
    const wire::Bytes copy = bytes.subspan(distance(begin, from), distance(from, to));
    const std::size_t equal = shadow.unconfirmed.mismatch(distance(known, from), copy);
    if (equal < copy.size())
        uncover(core, c, Coverage::conflicting,
                distance(c.irs + 1, from + static_cast<std::uint32_t>(equal)));
}

// Gives in-order bytes to the application, or queues what it does not take.
bool deliver(Core& core, Connection& c, wire::Bytes bytes) {
    note_request(core, c);
    if (c.is_silent()) {
        note_input(core, c);
        keep_until_confirmed(core, c, bytes);
    }
    c.rcv_nxt += static_cast<std::uint32_t>(bytes.size());
    c.bytes_received += bytes.size();
    if (c.detached) return true;  // nobody reads
    std::size_t taken = 0;
    if (c.announced && c.unread.empty() && !is_withheld(c)) {
        const ConnectionId id = c.id();
        taken = core.events.received(id, bytes);
        if (core.table.find(id) == nullptr) return false;
    }
    c.unread.push(bytes.subspan(taken));
    if (c.is_silent() && c.unread.size() > core.settings.shadow.lag_budget_bytes) {
        uncover(core, c, Coverage::over_budget, c.bytes_received - c.unread.size());
        c.unread.clear();
    }
    return true;
}

// Input that begins at `at` and may be taken, of `count` bytes: what the primary has acknowledged, or sent its part
// of the conversation up to.
std::uint32_t releasable(Connection& c, Seq at, std::uint32_t count) {
    if (!c.is_silent() || !c.shadow->holds_input) return count;
    Shadow& shadow = *c.shadow;
    if (c.snd_nxt >= shadow.held_ack) {
        shadow.holds_input = false;
        return count;
    }
    const Seq limit = max(shadow.held_from, shadow.primary_ack);
    return at < limit ? std::min(count, distance(at, limit)) : 0;
}

bool deliver_reassembled(Core& core, Connection& c) {
    while (c.out_of_order != nullptr) {
        const wire::Bytes next = c.out_of_order->front_at(c.rcv_nxt);
        if (next.empty()) {
            if (c.out_of_order->empty()) c.out_of_order.reset();
            break;
        }
        const std::uint32_t count = releasable(c, c.rcv_nxt, static_cast<std::uint32_t>(next.size()));
        if (count == 0) break;
        const ConnectionId id = c.id();
        if (!deliver(core, c, next.first(count))) return false;
        if (core.table.find(id) == nullptr) return false;
        if (count == next.size()) c.out_of_order->pop_front();
    }
    return true;
}

// Copies from the mirror feed no D-SACK (rules.md 18), and what a client sent twice to the primary is told by
// the primary.
bool may_report(const Connection& c, const Segment& segment) {
    return !c.is_silent() && segment.source == Source::service;
}

void keep_for_later(Core& core, Connection& c, Seq begin, wire::Bytes bytes, bool report) {
    if (c.out_of_order == nullptr) c.out_of_order = std::make_unique<Reassembly>();
    if (!report) {
        // Nothing is told of it.
    } else if (const auto known =
                   c.out_of_order->overlap(begin, begin + static_cast<std::uint32_t>(bytes.size())))
        note_duplicate(c, known->begin, known->end);
    const std::uint32_t limit = c.is_silent() ? core.settings.shadow.lag_budget_bytes : c.receive_limit;
    const std::size_t ranges = c.is_silent() ? max_shadow_ranges : core.settings.tcp.max_out_of_order_ranges;
    if (!keep_out_of_order(core, *c.out_of_order, begin, bytes, limit, ranges)) {
        if (c.out_of_order->empty()) c.out_of_order.reset();
        return;
    }
    ++core.counters.tcp_out_of_order;
}

// The bytes up to `end` come in order: the first of them that had waited already is a duplicate (RFC
// 2883 4.1).
void note_filled_twice(Connection& c, Seq end) {
    if (c.out_of_order == nullptr || c.dsack_due) return;
    if (const auto known = c.out_of_order->overlap(c.rcv_nxt, end))
        note_duplicate(c, known->begin, known->end);
}

// RFC 9293 3.8.5 (MUST-32): the application hears of it before the bytes, and each time that it moves on.
void note_urgent(Core& core, Connection& c, const Segment& segment) {
    const Seq end = segment.seq() + segment.header.urgent;
    if (end <= c.rcv_nxt || (c.rare().has_rcv_up && end <= c.rare().rcv_up)) return;
    c.rare().has_rcv_up = true;
    c.rare().rcv_up = end;
    ++core.counters.tcp_urgent_received;
    if (c.announced) core.events.urgent(c.id(), c.bytes_received + distance(c.rcv_nxt, end));
}

// The peer's FIN counts once all before it is here, and the handshake is complete. True when it was taken
// now.
bool take_fin(Core& core, Connection& c) {
    if (!c.peer_fin_seen || c.peer_fin_taken || c.rcv_nxt != c.peer_fin || !c.is_synchronized()) return false;
    if (releasable(c, c.peer_fin, 1) == 0) return false;
    c.peer_fin_taken = true;
    c.rcv_nxt += 1;
    c.out_of_order.reset();
    c.dsack_due = false;  // nothing will be sent again: duplicates mean nothing any more (as in Linux)
    on_peer_fin(core, c);
    return true;
}

}  // namespace

bool keep_out_of_order(Core& core, Reassembly& reassembly, Seq begin, wire::Bytes bytes,
                       std::uint32_t byte_limit, std::size_t range_limit) {
    reassembly.count_in(core.reassembly_bytes);
    if (core.reassembly_bytes + bytes.size() + Reassembly::range_overhead_bytes >
        core.settings.reassembly_budget_bytes) {
        ++core.counters.drop_reassembly_budget;
        return false;
    }
    if (reassembly.insert(begin, bytes, byte_limit, range_limit)) return true;
    ++core.counters.drop_reassembly_full;
    return false;
}

bool take_payload(Core& core, Connection& c, const Segment& segment, Seq edge) {
    if (c.is_silent() && is_abandoned(c)) return true;
    Seq begin = segment.seq() + (segment.has(wire::TcpFlags::syn) ? 1 : 0);
    wire::Bytes bytes = segment.payload;
    Seq end = begin + static_cast<std::uint32_t>(bytes.size());
    if (end > edge) {
        end = max(begin, edge);
        bytes = bytes.first(distance(begin, end));
    } else if (segment.has(wire::TcpFlags::fin) && !c.peer_fin_seen && end >= c.rcv_nxt) {
        c.peer_fin_seen = true;
        c.peer_fin = end;
    }
    if (c.peer_fin_seen && end > c.peer_fin) {
        end = max(begin, c.peer_fin);
        bytes = bytes.first(distance(begin, end));
    }
    if (begin < c.rcv_nxt) {
        if (c.is_silent()) check_copy(core, c, begin, bytes);
        if (may_report(c, segment)) note_duplicate(c, begin, min(end, c.rcv_nxt));
        bytes = end > c.rcv_nxt ? bytes.subspan(distance(begin, c.rcv_nxt)) : wire::Bytes{};
        begin = c.rcv_nxt;
        if (bytes.empty() && !segment.payload.empty()) ++core.counters.tcp_duplicate_segments;
    }
    if (segment.has(wire::TcpFlags::urg)) {
        const ConnectionId id = c.id();
        note_urgent(core, c, segment);
        if (core.table.find(id) == nullptr) return false;
    }
    if (!bytes.empty()) {
        const std::uint32_t count =
            begin == c.rcv_nxt ? releasable(c, begin, static_cast<std::uint32_t>(bytes.size())) : 0;
        if (count < bytes.size())
            keep_for_later(core, c, begin + count, bytes.subspan(count), may_report(c, segment));
        if (count != 0) {
            if (may_report(c, segment)) note_filled_twice(c, end);
            if (!deliver(core, c, bytes.first(count)) || !deliver_reassembled(core, c)) return false;
        }
    }
    return take_fin(core, c) ? offer_unread(core, c) : true;
}

void hold_unproven_input(Connection& c, const Segment& segment) {
    Shadow& shadow = *c.shadow;
    if (!shadow.seeded || segment.length() == 0 || !segment.has(wire::TcpFlags::ack)) return;
    if (segment.ack() <= c.snd_nxt || segment.end() <= c.rcv_nxt) return;
    shadow.held_from = shadow.holds_input ? min(shadow.held_from, segment.seq()) : segment.seq();
    shadow.held_ack = shadow.holds_input ? max(shadow.held_ack, segment.ack()) : segment.ack();
    shadow.holds_input = true;
}

bool release_held_input(Core& core, Connection& c) {
    if (!c.shadow->holds_input) return true;
    if (!deliver_reassembled(core, c)) return false;
    return take_fin(core, c) ? offer_unread(core, c) : true;
}

bool offer_unread(Core& core, Connection& c) {
    if (!c.announced) return true;
    take_fin(core, c);
    const ConnectionId id = c.id();
    while (const std::uint32_t count = readable(c)) {
        const wire::Bytes piece = c.unread.view(0, count)[0];
        const std::size_t taken = core.events.received(id, piece);
        if (core.table.find(id) == nullptr) return false;
        c.unread.pop(static_cast<std::uint32_t>(taken));
        if (taken < piece.size()) return true;
    }
    if (c.peer_fin_taken && !c.peer_close_told && c.unread.empty()) {
        c.peer_close_told = true;
        core.events.peer_closed(id);
        if (core.table.find(id) == nullptr) return false;
    }
    return finish_if_done(core, c);
}

void announce_connection(Core& core, Connection& c) {
    c.announced = true;
    ++core.counters.connections_opened;
    if (c.active_open)
        core.events.connected(c.id());
    else
        core.events.accepted(c.id(), core.remote_of(c), core.local_of(c));
}

}  // namespace understudy::stack::tcp
