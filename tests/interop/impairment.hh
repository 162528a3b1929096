// What a bad link does to one direction of frames. It moves no bytes and reads no clock: it says when a frame
// arrives, twice, or never, so that one impairment serves real interfaces and virtual time alike.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "stack/time.hh"
#include "tests/sim/random.hh"

namespace understudy::interop {

using stack::Duration;
using stack::Instant;

struct ImpairmentSettings {
    std::uint64_t seed = 1;
    std::uint32_t loss_per_million = 0;
    std::uint32_t duplicate_per_million = 0;
    std::uint32_t reorder_per_million = 0;  // so many are held back and overtaken
    std::uint32_t truncate_per_million = 0;  // so many arrive without their end, as from a capture that cuts
    Duration delay{};
    Duration jitter{};                       // up to so much more, evenly; the order is kept
    Duration reorder_delay{};                // how long the overtaken ones are held back, at most
    std::uint64_t rate_bits_per_second = 0;  // 0: no limit
    // What waits for its turn at that rate; beyond it frames are dropped, the last one first.
    std::size_t queue_bytes = 64 * 1024;
    std::size_t mtu = 0;  // longer IP packets are dropped; 0: no limit
};

// When the copies of one frame arrive: none, one or two.
class Fate {
  public:
    std::span<const Instant> arrivals() const { return std::span(at_).first(count_); }
    void add(Instant at) { at_[count_++] = at; }
    // How much of the frame arrives.
    std::size_t bytes = 0;

  private:
    std::array<Instant, 2> at_{};
    std::size_t count_ = 0;
};

struct ImpairmentCounters {
    std::uint64_t frames = 0;
    std::uint64_t lost = 0;
    std::uint64_t duplicated = 0;
    std::uint64_t reordered = 0;
    std::uint64_t queue_full = 0;
    std::uint64_t too_long = 0;
    std::uint64_t truncated = 0;
};

// One direction. Chance falls on the n-th frame as the seed says, whenever that frame comes.
class Impairment {
  public:
    // `direction` gives each direction of a link chances of its own.
    Impairment(const ImpairmentSettings& settings, std::uint64_t direction);

    // `bytes`: the length of the Ethernet frame without FCS. `now` never goes back.
    Fate pass(std::size_t bytes, Instant now);
    const ImpairmentCounters& counters() const { return counters_; }

  private:
    const ImpairmentSettings settings_;
    sim::Random random_;
    Instant line_free_at_{};  // when the last bit of what is queued has left
    Instant last_arrival_{};
    ImpairmentCounters counters_;
};

}  // namespace understudy::interop
