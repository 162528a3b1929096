// How much may be in flight: the interface of every congestion control algorithm.
#pragma once

#include <cstdint>
#include <limits>

#include "stack/settings.hh"
#include "stack/time.hh"

namespace understudy::stack {

inline constexpr std::uint32_t infinite_ssthresh = std::numeric_limits<std::int32_t>::max();

// The part of a connection that congestion control owns, in segments, as Linux and RFC 9438 count.
// Algorithms have no state of their own: one object of each serves every connection.
struct CongestionState {
    std::uint32_t cwnd = 0;
    std::uint32_t ssthresh = infinite_ssthresh;
    std::uint16_t acked = 0;  // segments acknowledged since cwnd last grew, in congestion avoidance

    // CUBIC alone (RFC 9438 4.1.2).
    std::uint16_t epoch_acked = 0;     // segments since W_est last grew, as far as it can count
    std::uint32_t epoch_start_ms = 0;  // 0: no epoch
    std::uint16_t updated_ms = 0;      // when `every` was computed, modulo 2^16
    std::uint16_t every = 0;           // segments to be acknowledged for one more; 0: not computed
    float w_max = 0;
    float k_seconds = 0;
    float origin = 0;
    float w_est = 0;
};

class CongestionControl {
  public:
    struct Acknowledgement {
        std::uint32_t segments = 0;  // newly acknowledged
        Duration min_rtt{};
        Instant now{};
    };

    virtual ~CongestionControl() = default;
    virtual const char* name() const = 0;
    // New data was acknowledged outside of recovery, and the window was what held the sender back.
    virtual void on_ack(CongestionState& state, const Acknowledgement& acknowledgement) const = 0;
    // A loss or an ECN echo: the slow start threshold from now on, at least two segments. The caller reduces
    // cwnd.
    virtual std::uint32_t on_loss(CongestionState& state) const = 0;
    // The retransmission timer expired; comes after on_loss().
    virtual void on_timeout(CongestionState& state) const = 0;
    // Sending goes on after `idle` without anything in flight.
    virtual void on_idle(CongestionState& state, Duration idle) const = 0;

  protected:
    // Slow start (RFC 5681 3.1, with the byte counting of RFC 3465): returns the segments left over once
    // ssthresh is reached.
    static std::uint32_t slow_start(CongestionState& state, std::uint32_t segments);
    // One segment for each `every` acknowledged (RFC 5681 (3)).
    static void grow(CongestionState& state, std::uint32_t every, std::uint32_t segments);
};

const CongestionControl& congestion_control(CongestionAlgorithm algorithm);

}  // namespace understudy::stack
