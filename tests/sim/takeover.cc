#include "tests/sim/takeover.hh"

#include <utility>

namespace understudy::sim {
namespace {

failover::Instant to_failover(Instant at) {
    return failover::Instant(at.time_since_epoch());
}

}  // namespace

TakeoverControl::TakeoverControl(EventQueue& queue, const failover::DecisionSettings& settings,
                                 OnAction on_action)
    : queue_(queue), machine_(settings, to_failover(queue.now())), on_action_(std::move(on_action)) {
    schedule();
}

void TakeoverControl::heartbeat(std::size_t link) {
    act(machine_.heartbeat(link, to_failover(queue_.now())));
}

void TakeoverControl::primary_on_tap() {
    act(machine_.primary_on_tap(to_failover(queue_.now())));
}

void TakeoverControl::schedule() {
    const auto deadline = machine_.next_deadline();
    if (stopped_ || !deadline) return;
    queue_.at(Instant(deadline->time_since_epoch()), [this] { tick(); });
}

void TakeoverControl::tick() {
    if (stopped_) return;
    const failover::Instant now = to_failover(queue_.now());
    while (const auto action = machine_.tick(now, {.links = now, .tap = now}))
        act(action);
    schedule();
}

void TakeoverControl::act(const std::optional<failover::Action>& action) {
    if (action) on_action_(*action);
}

}  // namespace understudy::sim
