// Time as the stack knows it: always an argument, never read.
#pragma once

#include <chrono>
#include <cstdint>

namespace understudy::stack {

using Duration = std::chrono::nanoseconds;

// Names the time line of Instant. It has no now(): whoever owns the loop reads a clock once a burst.
struct StackClock {
    using duration = Duration;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<StackClock, Duration>;
    static constexpr bool is_steady = true;
};

using Instant = StackClock::time_point;

}  // namespace understudy::stack
