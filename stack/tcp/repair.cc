// Holes and uncompared bytes: what is missing, and what fills it (design.md 4, rules.md 9).
#include <algorithm>
#include <array>

#include "stack/tcp/core.hh"

namespace understudy::stack::tcp {
namespace {

// More ranges of one connection are asked for once the first of these are filled.
constexpr std::size_t max_ranges = 8;

bool is_repairable(const Connection& c) {
    return c.is_silent() && c.shadow->seeded && c.is_synchronized() && !has_ended(c) &&
           (c.coverage == Coverage::covered || c.coverage == Coverage::inferred ||
            c.coverage == Coverage::half_open);
}

wire::SeqRange missing_of(const Connection& c, Direction direction) {
    if (direction == Direction::from_client) return {c.rcv_nxt, max(c.rcv_nxt, c.shadow->primary_ack)};
    const Seq next = c.send_queue.primary_nxt();
    return {next, max(next, proven_sent(c))};
}

class Collector {
  public:
    Collector(const Core& core, Duration min_age, std::span<MissingBytes> out)
        : core_(core), min_age_(min_age), out_(out) {}

    bool full() const { return count_ == out_.size(); }
    std::size_t count() const { return count_; }

    void collect(const Connection& c) {
        static const Reassembly none;
        collect(c, Direction::from_client, c.shadow->hole_since, c.out_of_order ? *c.out_of_order : none);
        collect(c, Direction::from_primary, c.shadow->gap_since, c.shadow->from_primary);
    }

  private:
    void collect(const Connection& c, Direction direction, Instant since, const Reassembly& waiting) {
        if (since == never || core_.now - since < min_age_) return;
        std::array<wire::SeqRange, max_ranges> gaps;
        const std::size_t found = waiting.gaps(missing_of(c, direction), gaps);
        for (std::size_t i = 0; i < found && !full(); ++i)
            out_[count_++] = {c.id(),    core_.remote_of(c),  core_.local_of(c),
                              direction, gaps[i].begin.raw(), gaps[i].end.raw(),
                              since};
    }

    const Core& core_;
    Duration min_age_;
    std::span<MissingBytes> out_;
    std::size_t count_ = 0;
};

}  // namespace

std::uint32_t missing_bytes(const Connection& c, Direction direction) {
    static const Reassembly none;
    const bool from_client = direction == Direction::from_client;
    const Reassembly& waiting =
        !from_client ? c.shadow->from_primary : (c.out_of_order ? *c.out_of_order : none);
    wire::SeqRange rest = missing_of(c, direction);
    std::uint32_t bytes = 0;
    std::array<wire::SeqRange, max_ranges> gaps;
    while (const std::size_t found = waiting.gaps(rest, gaps)) {
        for (std::size_t i = 0; i < found; ++i)
            bytes += distance(gaps[i].begin, gaps[i].end);
        if (found < gaps.size()) break;
        rest.begin = gaps.back().end;
    }
    return bytes;
}

Seq proven_sent(const Connection& c) {
    const Shadow& shadow = *c.shadow;
    const Seq seen = c.ack_parked ? max(c.snd_nxt, c.parked_ack) : c.snd_nxt;
    const bool is_reset = shadow.was_reset && shadow.reset_reason == CloseReason::reset_by_primary;
    return is_reset ? max(seen, shadow.primary_reset) : seen;
}

void list_incomplete(Core& core, Connection& c) {
    Shadow& shadow = *c.shadow;
    if (shadow.listed || core.settings.shadow.repair_deadline == Duration::zero()) return;
    if (shadow.hole_since == never && shadow.gap_since == never) return;
    shadow.listed = true;
    core.incomplete.push_back(c.id());
}

std::size_t collect_missing(Core& core, std::span<MissingBytes> out, Duration min_age) {
    Collector collector(core, min_age, out);
    // Each connection has its turn, also when `out` is too small for all.
    for (std::size_t left = core.incomplete.size(); left != 0 && !collector.full(); --left) {
        const ConnectionId id = core.incomplete.front();
        core.incomplete.pop_front();
        Connection* c = core.table.find(id);
        if (c == nullptr || !c->is_silent()) continue;
        c->shadow->listed = false;
        if (!is_repairable(*c)) continue;
        collector.collect(*c);
        list_incomplete(core, *c);
    }
    return collector.count();
}

bool repair(Core& core, const RepairBytes& answer) {
    Connection* found = core.table.find(answer.connection);
    if (found == nullptr || !is_repairable(*found)) {
        ++core.counters.repairs_too_late;
        return false;
    }
    Connection& c = *found;
    const wire::SeqRange missing = missing_of(c, answer.direction);
    Segment segment;
    segment.source =
        answer.direction == Direction::from_client ? Source::tap_from_client : Source::tap_from_primary;
    segment.header.seq = Seq(answer.begin);
    segment.header.flags.bits = answer.fin ? wire::TcpFlags::fin : 0;
    segment.payload = answer.bytes;
    if (are_far_apart(segment.seq(), missing.begin) || segment.end() > missing.end) {
        ++core.counters.repairs_out_of_range;
        return false;
    }
    if (segment.end() <= missing.begin || segment.length() == 0) {
        ++core.counters.repairs_too_late;
        return false;
    }
    (answer.direction == Direction::from_client ? core.counters.client_bytes_missed
                                                : core.counters.primary_bytes_missed) +=
        distance(max(segment.seq(), missing.begin), segment.end());
    ++core.counters.repairs;
    core.counters.repaired_bytes += answer.bytes.size();
    if (answer.direction == Direction::from_primary) {
        follow_primary(core, c, segment, FollowedAs::repair);
        return true;
    }
    follow_client(core, c, segment, c.shadow->primary_ack);
    return true;
}

}  // namespace understudy::stack::tcp
