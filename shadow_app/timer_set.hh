// One timer per connection slot, ordered by when it is due.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "stack/time.hh"

namespace understudy::shadow_app {

class TimerSet {
  public:
    struct Due {
        std::uint32_t slot;
        stack::Instant at;
    };

    // Arms the timer of `slot`; an earlier setting is replaced. O(log n).
    void arm(std::uint32_t slot, stack::Instant at) {
        cancel(slot);
        if (slot >= at_.size()) at_.resize(slot + 1, unarmed);
        at_[slot] = at;
        order_.emplace(at, slot);
    }
    void cancel(std::uint32_t slot) {
        if (slot >= at_.size() || at_[slot] == unarmed) return;
        order_.erase({at_[slot], slot});
        at_[slot] = unarmed;
    }
    // Disarms and returns the earliest timer that is due at `now`; of several due at once, the lowest slot.
    std::optional<Due> take_due(stack::Instant now) {
        if (order_.empty() || order_.begin()->first > now) return std::nullopt;
        const Due due{order_.begin()->second, order_.begin()->first};
        cancel(due.slot);
        return due;
    }
    std::optional<stack::Instant> next() const {
        if (order_.empty()) return std::nullopt;
        return order_.begin()->first;
    }

  private:
    static constexpr stack::Instant unarmed = stack::Instant::max();
    std::set<std::pair<stack::Instant, std::uint32_t>> order_;
    std::vector<stack::Instant> at_;
};

}  // namespace understudy::shadow_app
