// The retransmission timer's value (RFC 6298).
#pragma once

#include <algorithm>
#include <cstdint>

#include "stack/settings.hh"
#include "stack/time.hh"

namespace understudy::stack {

class RttEstimator {
  public:
    RttEstimator() = default;
    explicit RttEstimator(Duration initial_rto) : rto_(initial_rto) {}

    // One measurement of a segment that was sent once (RFC 6298 3). Ends a back-off.
    void sample(Duration rtt, const TcpSettings& settings);
    // Doubles the time-out (RFC 6298 5.5).
    void back_off(const TcpSettings& settings) { rto_ = std::min(rto_ * 2, settings.rto_max); }
    // Undoes back_off once new data is acknowledged.
    void settle(const TcpSettings& settings);

    bool has_sample() const { return srtt_ != Duration::zero(); }
    Duration srtt() const { return srtt_; }
    Duration rto() const { return rto_; }

  private:
    Duration srtt_{};
    Duration rttvar_{};
    Duration rto_ = std::chrono::seconds(1);
};

}  // namespace understudy::stack
