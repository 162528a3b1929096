// When a connection's program got bytes, and what it was owed: enough to say afterwards how long a failure
// kept it waiting. Pure; bounded memory.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace understudy::load {

using Duration = std::chrono::nanoseconds;
// CLOCK_MONOTONIC.
using Instant = std::chrono::time_point<std::chrono::steady_clock, Duration>;

class ReceiptHistory {
  public:
    // Bytes reached this host at `arrived` and were read at `at`; the message that they answer was due at
    // `owed_since`. Reads do not go back in time.
    void received(Instant owed_since, Instant arrived, Instant at);
    // The connection ended at `at`, while something due at `owed_since` was still owed.
    void ended_unanswered(Instant owed_since, Instant at);
    // The failure is known and begins at `at`, about now: what came before is forgotten, and what comes from
    // then on is kept until the memory is full.
    void keep_from(Instant at);
    // From `fault` on nothing of the failed server arrives. Time from the later of that and the first message
    // unanswered by then to the first byte read of what arrived afterwards. Nothing when no byte came, and
    // nothing when the fault became known so late that the first receipt after it may be forgotten.
    std::optional<Duration> outage(Instant fault) const;
    // When bytes were read last.
    std::optional<Instant> last() const { return last_; }
    // The longest time that bytes were waited for, in vain or not.
    Duration longest_gap() const { return longest_gap_; }

  private:
    struct Receipt {
        Instant owed_since;
        Instant arrived;
        Instant at;
    };
    // Reads closer together than this count as one receipt: what was queued when the failure happened must
    // not fill the memory.
    static constexpr Duration merged = std::chrono::milliseconds(1);
    static constexpr std::size_t capacity = 16;

    void add(const Receipt& receipt);
    void note_gap(Instant owed_since, Instant until);

    std::array<Receipt, capacity> kept_{};
    std::size_t count_ = 0;
    std::optional<Instant> keep_from_;
    std::optional<Instant> forgotten_;  // arrival of the newest receipt that made room for another
    std::optional<Instant> last_;
    Duration longest_gap_{};
};

// The value that `percent` of the values do not exceed (nearest rank); nothing of nothing. Reorders `values`.
std::optional<Duration> percentile(std::vector<Duration>& values, double percent);

}  // namespace understudy::load
