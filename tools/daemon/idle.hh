// What a poll loop does when there is nothing to do.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace understudy::tools {

enum class PollMode : std::uint8_t {
    adaptive,  // sleeps after empty polls, longer the longer it is idle, up to a bound
    busy,      // never sleeps: for a core of its own
};

// Says how long to sleep after each poll; pure.
class IdleStrategy {
  public:
    using Duration = std::chrono::nanoseconds;

    // `max_sleep` bounds the latency that sleeping adds to a frame.
    IdleStrategy(PollMode mode, Duration max_sleep) : mode_(mode), max_sleep_(max_sleep) {}

    // `worked`: the poll found something. `until_deadline`: when a timer is due next.
    Duration after_poll(bool worked, Duration until_deadline) {
        if (worked || mode_ == PollMode::busy) {
            empty_polls_ = 0;
            return Duration::zero();
        }
        if (++empty_polls_ < spins) return Duration::zero();
        const auto doublings = std::min<std::uint32_t>((empty_polls_ - spins) / polls_per_step, 16);
        const Duration sleep = std::min(first_sleep * (1u << doublings), max_sleep_);
        return std::max(std::min(sleep, until_deadline), Duration::zero());
    }

  private:
    static constexpr std::uint32_t spins = 64;
    static constexpr std::uint32_t polls_per_step = 8;
    static constexpr Duration first_sleep = std::chrono::microseconds(20);

    PollMode mode_;
    Duration max_sleep_;
    std::uint32_t empty_polls_ = 0;
};

}  // namespace understudy::tools
