// Time as failover knows it: always an argument, never read.
#pragma once

#include <chrono>

namespace understudy::failover {

using Duration = std::chrono::nanoseconds;

// Names the time line of Instant. It has no now(): whoever owns the loop reads a monotonic clock.
struct FailoverClock {
    using duration = Duration;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<FailoverClock, Duration>;
    static constexpr bool is_steady = true;
};

using Instant = FailoverClock::time_point;

}  // namespace understudy::failover
