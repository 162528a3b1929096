// The primary's timestamp clock, read off its segments, so that it can be continued (RFC 7323 5.4, rules.md
// 11).
#pragma once

#include <cstdint>

#include "stack/time.hh"

namespace understudy::stack::tcp {

// Nanoseconds from one tick of a timestamp clock to the next.
using TickLength = std::uint32_t;
inline constexpr TickLength default_tick = 1'000'000;

// A clock that runs from `offset` at time 0 (RFC 7323 5.4), modulo 2^32.
inline std::uint32_t ticks_at(Instant at, TickLength tick) {
    const auto ns = static_cast<std::uint64_t>(at.time_since_epoch().count());
    // A constant divisor is cheap.
    return static_cast<std::uint32_t>(tick == default_tick ? ns / default_tick : ns / tick);
}

// Offset and tick length, fitted over all of the primary's segments on one connection. A segment can only be
// late on the mirror, so the fit follows the least late ones.
class PrimaryClock {
  public:
    // The SYN/ACK: what the client has seen, but no sample. Sent under SYN cookies, its low bits are not the
    // clock's.
    void begin(std::uint32_t tsval, Instant at);
    // A later segment, seen at `at`. One that is older than the newest is passed over.
    void sample(std::uint32_t tsval, Instant at);

    // The highest value that the mirror showed.
    std::uint32_t newest() const { return newest_; }
    // 0: too few samples, or too close together.
    TickLength tick() const { return tick_; }
    // The first value to send at `now`: what the primary would have sent, and above all that the client may
    // have seen. `usual`: the tick length where this connection does not tell.
    std::uint32_t continued(Instant now, TickLength usual) const;

  private:
    struct Reading {
        std::uint32_t value = 0;
        Instant at{};
    };
    void measure_tick(std::uint32_t tsval, Instant at);

    std::uint32_t newest_ = 0;
    TickLength tick_ = 0;
    Instant newest_at_{};
    Reading first_;      // of the samples, for the tick length
    Reading reference_;  // the least late one
    bool sampled_ = false;
};

}  // namespace understudy::stack::tcp
