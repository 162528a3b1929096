// A hierarchical timer wheel with one timer a connection.
//
// Timers are lazy: a connection whose deadline moves later, or away, leaves its entry where it is; when the
// entry fires the connection looks at its deadlines and is armed again if none is due. Only an earlier
// deadline moves it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "stack/reserved_array.hh"
#include "stack/time.hh"

namespace understudy::stack {

class TimerWheel {
  public:
    static constexpr int tick_shift = 18;  // a tick is 2^18 ns, about 0.26 ms

    // Arms timer `index` for `deadline`, rounded up to a tick, unless it is armed for that tick or an earlier
    // one.
    void arm(std::uint32_t index, Instant deadline);
    void cancel(std::uint32_t index);
    void prefetch(std::uint32_t index) const {
        if (index < nodes_.size()) __builtin_prefetch(&nodes_[index]);
    }
    // Disarms and collects every timer due at `now`, in order of deadline. `now` never goes back.
    // The result is valid until the next call.
    const std::vector<std::uint32_t>& collect(Instant now);
    // Not later than the first armed deadline; nothing when none is armed.
    std::optional<Instant> next() const;

  private:
    static constexpr int levels = 6;  // every 64-bit nanosecond fits
    static constexpr int slot_bits = 8;
    static constexpr std::uint64_t slots = 1 << slot_bits;
    static constexpr std::uint32_t none = 0xffffffff;

    struct Node {
        std::uint64_t tick = 0;  // 0: not armed
        std::uint32_t previous = none;
        std::uint32_t next = none;
    };
    struct Level {
        std::array<std::uint32_t, slots> heads;
        std::array<std::uint64_t, slots / 64> occupied{};
        Level() { heads.fill(none); }
    };

    struct Position {
        int level;
        std::uint64_t slot;
    };
    // Where `tick` is kept while the wheel stands at now_: the level of the highest digit in which they
    // differ.
    Position position(std::uint64_t tick) const;
    void link(std::uint32_t index);
    void unlink(std::uint32_t index);
    std::optional<std::uint64_t> next_tick() const;

    std::uint64_t now_ = 0;
    std::array<Level, levels> levels_;
    std::vector<Node, HugePageAllocator<Node>> nodes_;
    std::vector<std::uint32_t> due_;
    std::vector<std::uint32_t> reached_;
};

}  // namespace understudy::stack
