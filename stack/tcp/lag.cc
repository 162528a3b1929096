// For how long the application has been behind the primary: a mark is set where both streams stand, and when the
// application reaches it the next one is. Its age, and what the last one took, are never more than the truth.
#include <algorithm>

#include "stack/tcp/core.hh"

namespace understudy::stack::tcp {
namespace {

Seq input_end(const Connection& c) {
    return input_read_to(c) + c.unread.size();
}

bool is_behind(const Connection& c) {
    return c.unread.size() != 0 || c.send_queue.app_nxt() < c.send_queue.primary_nxt();
}

}  // namespace

void note_lag(const Core& core, Connection& c) {
    LagMark& mark = c.shadow->lag;
    if (!c.shadow->seeded) return;
    if (mark.since == never) {
        if (is_behind(c)) mark = {core.now, input_end(c), c.send_queue.primary_nxt(), {}};
        return;
    }
    if (input_read_to(c) < mark.input || c.send_queue.app_nxt() < mark.output) return;
    const Duration took = core.now - mark.since;
    mark = is_behind(c) ? LagMark{core.now, input_end(c), c.send_queue.primary_nxt(), took} : LagMark{};
}

Duration lag_time(const Core& core, const Connection& c) {
    if (!c.is_silent() || !c.shadow->seeded || c.shadow->lag.since == never || !is_behind(c))
        return Duration::zero();
    return std::max(c.shadow->lag.latest, core.now - c.shadow->lag.since);
}

}  // namespace understudy::stack::tcp
