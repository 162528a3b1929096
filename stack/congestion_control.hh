// How much may be in flight: the interface of every congestion control algorithm.
#pragma once

#include <cstdint>
#include <limits>

#include "stack/time.hh"

namespace understudy::stack {

// The part of a connection that congestion control owns, in bytes. Algorithms have no state of their own: one
// object of each serves every connection.
struct CongestionState {
    std::uint32_t cwnd = 0;
    std::uint32_t ssthresh = std::numeric_limits<std::uint32_t>::max();
    std::uint32_t bytes_acked = 0;  // since cwnd last grew, in congestion avoidance
};

class CongestionControl {
  public:
    virtual ~CongestionControl() = default;
    // New data was acknowledged outside of recovery.
    virtual void on_ack(CongestionState& state, std::uint32_t acked, std::uint32_t mss) const = 0;
    // A loss was found by duplicate acknowledgements: sets ssthresh, and cwnd to it.
    virtual void on_loss(CongestionState& state, std::uint32_t flight, std::uint32_t mss) const = 0;
    // The retransmission timer expired.
    virtual void on_timeout(CongestionState& state, std::uint32_t flight, std::uint32_t mss) const = 0;
};

}  // namespace understudy::stack
