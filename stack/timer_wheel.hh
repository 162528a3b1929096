// A hierarchical timer wheel with one timer a connection.
//
// Timers are lazy: a connection whose deadline moves later, or away, leaves its entry where it is; when the
// entry fires the connection looks at its deadlines and is armed again if none is due. An earlier deadline
// makes a new entry, and the old one is passed over when its time comes: nothing is ever taken out of a slot
// but by emptying it. A slot is an array, so that the memory of what it holds is fetched side by side.
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

    TimerWheel() { heads_.fill(none); }

    // Arms timer `index` for `deadline`, rounded up to a tick, unless it is armed for that tick or an earlier
    // one. A deadline more than six days away fires then.
    void arm(std::uint32_t index, Instant deadline);
    void cancel(std::uint32_t index);
    void prefetch(std::uint32_t index) const {
        if (index < armed_.size()) __builtin_prefetch(&armed_[index]);
    }
    // Disarms and collects every timer due at `now`, in order of deadline. `now` never goes back.
    // The result is valid until the next call.
    const std::vector<std::uint32_t>& collect(Instant now);
    // Not later than the first armed deadline; nothing when none is armed.
    std::optional<Instant> next() const;
    // Entries in all slots, those to be passed over included: at most twice the armed timers, and
    // passed_over_allowance.
    std::size_t entries() const { return entries_; }
    static constexpr std::size_t passed_over_allowance = 1024;

  private:
    static constexpr int levels = 6;  // every 64-bit nanosecond fits
    static constexpr int slot_bits = 8;
    static constexpr std::uint64_t slots = 1 << slot_bits;
    static constexpr std::uint32_t none = 0xffffffff;
    static constexpr std::uint64_t most_ahead = 1ull << 31;  // the low half of a tick tells it from others

    struct Entry {
        std::uint32_t tick = 0;  // the low half
        std::uint32_t index = 0;
    };
    // A piece of a slot's array.
    struct Chunk {
        std::uint32_t next = none;
        std::uint32_t count = 0;
        std::array<Entry, 15> entries;
    };
    static_assert(sizeof(Chunk) == 128);

    // Where `tick` is kept while the wheel stands at now_: in the level of the highest digit in which they
    // differ.
    std::size_t slot_of(std::uint64_t tick) const;
    std::uint64_t whole(std::uint32_t tick) const {
        return now_ + static_cast<std::uint64_t>(static_cast<std::int64_t>(
                          static_cast<std::int32_t>(tick - static_cast<std::uint32_t>(now_))));
    }
    void add(std::uint64_t tick, std::uint32_t index);
    // Empties a slot into reached_, without what is to be passed over.
    void take(std::size_t slot);
    void sweep();
    std::optional<std::uint64_t> next_tick() const;

    std::uint64_t now_ = 0;
    std::array<std::uint32_t, levels * slots> heads_;  // of chunks
    std::array<std::uint64_t, levels * slots / 64> occupied_{};
    std::vector<std::uint32_t, HugePageAllocator<std::uint32_t>>
        armed_;  // low half of the tick; 0: not armed
    std::vector<Chunk, HugePageAllocator<Chunk>> chunks_;
    std::uint32_t free_chunk_ = none;
    std::size_t entries_ = 0;
    std::size_t armed_count_ = 0;
    std::vector<std::uint32_t> due_;
    std::vector<Entry> reached_;
};

}  // namespace understudy::stack
