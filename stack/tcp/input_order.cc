// Which connections' inputs were with the primary's program at one time: the order in which it took them shows
// nowhere, and the application gets them in that of the mirror (rules.md 1, 2).
#include "stack/tcp/core.hh"

namespace understudy::stack::tcp {
namespace {

void note_overlap(Core& core, Connection& c) {
    if (c.shadow->overlapped) return;
    c.shadow->overlapped = true;
    ++core.counters.connections_overlapped;
}

}  // namespace

void note_input(Core& core, Connection& c) {
    Listener* const listener = core.listener(core.local_of(c));
    if (listener == nullptr) return;
    if (!c.shadow->unanswered) {
        c.shadow->unanswered = true;
        ++listener->unanswered;
    }
    if (listener->unanswered > 1) {
        note_overlap(core, c);
        // Of those that wait, the one whose input came last is the only one that can be without a mark.
        Connection* const other = core.table.find(listener->latest_input);
        if (other != nullptr && other->is_silent() && other->shadow->unanswered) note_overlap(core, *other);
    }
    listener->latest_input = c.id();
}

void note_answer(Core& core, Connection& c) {
    if (!c.shadow->unanswered) return;
    c.shadow->unanswered = false;
    Listener* const listener = core.listener(core.local_of(c));
    if (listener != nullptr && listener->unanswered != 0) --listener->unanswered;
}

}  // namespace understudy::stack::tcp
