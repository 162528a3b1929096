// The application's output is compared with the primary's by stream offset (design.md 4, rules.md 12).
#include "stack/tcp/divergence.hh"

#include <algorithm>

#include "stack/tcp/core.hh"

namespace understudy::stack::tcp {
namespace {

Divergence& divergence_of(Connection& c) {
    if (c.shadow->divergence == nullptr) c.shadow->divergence = std::make_unique<Divergence>();
    return *c.shadow->divergence;
}

void diverge(Core& core, Connection& c, Seq at, Seq equal_from, const Difference& difference) {
    Divergence& divergence = divergence_of(c);
    divergence.equal_from = equal_from;
    if (c.coverage == Coverage::diverged) return;
    divergence.difference = difference;
    divergence.difference.offset = distance(c.iss + 1, at);
    uncover(core, c, Coverage::diverged, divergence.difference.offset);
}

}  // namespace

DivergencePolicy policy_of(Core& core, const Connection& c) {
    const Listener* const listener = core.listener(core.local_of(c));
    return listener == nullptr ? DivergencePolicy::reset : listener->replication.divergence;
}

void note_comparison(Core& core, Connection& c, const SendQueue::Written& written) {
    if (written.differs_at) diverge(core, c, *written.differs_at, written.differs_to, *written.difference);
    if (c.coverage == Coverage::diverged) forgive(core, c);
}

void note_length_difference(Core& core, Connection& c, Seq at) {
    diverge(core, c, at, at, c.send_queue.excerpt(at));
}

void note_end_difference(Core& core, Connection& c, Seq at) {
    const Seq known =
        std::clamp(at, c.send_queue.begin(), c.send_queue.end(), [](Seq a, Seq b) { return a < b; });
    diverge(core, c, at, at, c.send_queue.excerpt(known));
    divergence_of(c).for_good = true;
}

void cover_again(Core& core, Connection& c) {
    ++core.counters.divergences_passed;
    c.coverage = c.shadow->syn.seen ? Coverage::covered : Coverage::inferred;
}

void forgive(Core& core, Connection& c) {
    const Shadow& shadow = *c.shadow;
    const Divergence& divergence = *shadow.divergence;
    if (divergence.for_good || (shadow.alignment != nullptr && shadow.alignment->proving)) return;
    const Seq compared = min(c.send_queue.app_nxt(), c.send_queue.primary_nxt());
    const std::uint32_t needed = core.settings.shadow.equal_bytes_to_cover;
    if (needed == 0 || compared < divergence.equal_from + needed) return;
    if (policy_of(core, c) != DivergencePolicy::keep) cover_again(core, c);
}

}  // namespace understudy::stack::tcp
