// Virtual time: events in the order of their instants; of one instant, in the order in which they were asked
// for.
#pragma once

#include <cstdint>
#include <functional>
#include <queue>
#include <utility>
#include <vector>

#include "stack/time.hh"

namespace understudy::sim {

using stack::Duration;
using stack::Instant;

class EventQueue {
  public:
    using Action = std::function<void()>;

    Instant now() const { return now_; }
    void at(Instant when, Action action) {
        events_.push({when < now_ ? now_ : when, next_order_++, std::move(action)});
    }
    void after(Duration delay, Action action) { at(now_ + delay, std::move(action)); }
    // Runs the next event unless it lies after `limit`. False when there is none.
    bool run_next(Instant limit) {
        if (events_.empty() || events_.top().when > limit) return false;
        // top() is const, but the event is popped at once.
        Event event = std::move(const_cast<Event&>(events_.top()));
        events_.pop();
        now_ = event.when;
        event.action();
        return true;
    }
    std::uint64_t run_count() const { return next_order_ - events_.size(); }

  private:
    struct Event {
        Instant when;
        std::uint64_t order;
        Action action;
        bool operator<(const Event& other) const {
            return when != other.when ? when > other.when : order > other.order;
        }
    };
    // Not zero: the stacks subtract durations from `now`.
    Instant now_{std::chrono::hours(1)};
    std::uint64_t next_order_ = 0;
    std::priority_queue<Event> events_;
};

}  // namespace understudy::sim
