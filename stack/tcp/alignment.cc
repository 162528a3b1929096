#include "stack/tcp/alignment.hh"

#include <algorithm>

#include "stack/tcp/core.hh"
#include "stack/tcp/divergence.hh"

namespace understudy::stack::tcp {
namespace {

using Boundary = Alignment::Boundary;

// Whether the answer at hand is known to differ, beyond what K equal bytes forgive.
bool differs(const Connection& c, const Alignment& a) {
    return c.coverage == Coverage::diverged && c.shadow->divergence != nullptr &&
           c.shadow->divergence->equal_from > a.begin;
}

bool is_quiet(const Core& core, const Alignment& a) {
    return a.wrote && core.now - a.quiet_since >= core.settings.shadow.align_quiet;
}

// The primary has not sent what the application is ahead by: only silence will tell whether it ever does.
bool runs_ahead(const Connection& c, const Boundary& next) {
    return c.send_queue.app_nxt() > next.output && c.send_queue.primary_nxt() < c.send_queue.app_nxt();
}

enum class Step : std::uint8_t {
    wait,
    pass,    // the answer was equal
    no_end,  // the answer had not been over: the primary went on, and the application with it
    align,
};

Step next_step(const Core& core, const Connection& c, const Alignment& a) {
    const Boundary& next = a.pending.front();
    if (input_read_to(c) < next.input) return Step::wait;
    const Seq written = c.send_queue.app_nxt();
    if (!differs(c, a)) {
        if (written == next.output) return Step::pass;
        if (written > next.output && !runs_ahead(c, next)) return Step::no_end;
        if (written > next.output && c.send_queue.primary_nxt() > next.output) return Step::wait;
    }
    return is_quiet(core, a) ? Step::align : Step::wait;
}

void align(Core& core, Connection& c, Alignment& a) {
    const Seq end = a.pending.front().output;
    const Seq written = c.send_queue.app_nxt();
    if (written != end && !differs(c, a)) note_length_difference(core, c, min(written, end));
    if (written != end) c.send_queue.move_app_to(end);
    if (c.shadow->divergence != nullptr) c.shadow->divergence->equal_from = end;
    a.proving = true;
    ++core.counters.alignments;
}

// One whole answer was equal since the alignment.
void prove(Core& core, Connection& c, Alignment& a) {
    if (!a.proving || a.pending.front().output == a.begin) return;
    a.proving = false;
    if (c.coverage == Coverage::diverged && policy_of(core, c) != DivergencePolicy::keep)
        cover_again(core, c);
}

}  // namespace

void begin_alignment(Core& core, Connection& c) {
    const Listener* const listener = core.listener(core.local_of(c));
    if (listener == nullptr || !listener->replication.align_requests) return;
    c.shadow->alignment = std::make_unique<Alignment>();
    c.shadow->alignment->answered = c.shadow->alignment->begin = c.iss + 1;
}

void note_request(Core& core, Connection& c) {
    if (!c.is_silent() || c.shadow->alignment == nullptr) return;
    Alignment& a = *c.shadow->alignment;
    const Seq end = c.send_queue.primary_nxt();
    const bool answer_over = end > a.answered && c.ack_parked && c.parked_ack == end && c.snd_nxt == end;
    a.answered = end;
    if (!answer_over || a.pending.size() >= Alignment::most_pending) return;
    a.pending.push_back({c.rcv_nxt, end});
    a.quiet_since = core.now;
}

void note_output(const Core& core, Connection& c) {
    Alignment* const a = c.shadow->alignment.get();
    if (a == nullptr) return;
    a->wrote = true;
    a->quiet_since = core.now;
}

bool is_withheld(const Connection& c) {
    return c.is_silent() && c.shadow->alignment != nullptr && !c.shadow->alignment->pending.empty();
}

std::uint32_t readable(const Connection& c) {
    if (!is_withheld(c)) return c.unread.size();
    const Seq from = input_read_to(c), to = c.shadow->alignment->pending.front().input;
    return to > from ? std::min(distance(from, to), c.unread.size()) : 0;
}

Seq release_limit(const Connection& c) {
    return is_withheld(c) ? min(c.snd_una, c.shadow->alignment->pending.front().output) : c.snd_una;
}

bool is_in_doubt(const Connection& c) {
    return is_withheld(c) && runs_ahead(c, c.shadow->alignment->pending.front());
}

Instant alignment_deadline(const Core& core, const Connection& c) {
    if (!is_withheld(c)) return never;
    const Alignment& a = *c.shadow->alignment;
    const Step step = next_step(core, c, a);
    if (step != Step::wait) return core.now;
    const Instant quiet_at = a.quiet_since + core.settings.shadow.align_quiet;
    return a.wrote && quiet_at > core.now && input_read_to(c) == a.pending.front().input ? quiet_at : never;
}

bool advance_alignment(Core& core, Connection& c) {
    while (is_withheld(c)) {
        Alignment& a = *c.shadow->alignment;
        const Step step = next_step(core, c, a);
        if (step == Step::wait) return true;
        if (step == Step::align) align(core, c, a);
        if (step == Step::pass) prove(core, c, a);
        if (step != Step::no_end) {
            a.begin = a.pending.front().output;
            a.wrote = false;
        }
        a.pending.pop_front();
        a.quiet_since = core.now;
        if (!offer_unread(core, c)) return false;
        const ConnectionId id = c.id();
        release_acked(core, c);
        if (core.table.find(id) == nullptr) return false;
    }
    return true;
}

}  // namespace understudy::stack::tcp
