// The round trip and the retransmission time-out made of it (RFC 6298), with Linux's refinements: the
// variation decays once a round trip only, and never counts for less than the smallest time-out.
#pragma once

#include <algorithm>
#include <cstdint>

#include "stack/seq.hh"
#include "stack/settings.hh"
#include "stack/time.hh"

namespace understudy::stack {

class RttEstimator {
  public:
    RttEstimator() = default;
    explicit RttEstimator(Duration initial_rto) { set_rto(initial_rto); }

    // One measurement of a segment that was sent once (RFC 6298 3), taken when everything before `una` was
    // acknowledged and everything before `nxt` sent. Ends a back-off.
    void sample(Duration rtt, Seq una, Seq nxt, const TcpSettings& settings);
    // Doubles the time-out (RFC 6298 5.5). It stays doubled until there is a sample (5.7, Karn).
    void back_off(const TcpSettings& settings) { set_rto(std::min(rto() * 2, settings.rto_max)); }
    // Takes back_off() back: the time-out was spurious.
    void settle(const TcpSettings& settings);

    bool has_sample() const { return srtt_us_ != 0; }
    Duration srtt() const { return std::chrono::microseconds(srtt_us_ >> 3); }
    Duration variation() const { return std::chrono::microseconds(mdev_us_ >> 2); }
    // The smallest sample so far; zero: none.
    Duration min_rtt() const { return std::chrono::microseconds(min_us_); }
    Duration rto() const { return std::chrono::microseconds(rto_us_); }

  private:
    void set_rto(Duration rto) {
        const auto us = std::chrono::duration_cast<std::chrono::microseconds>(rto).count();
        rto_us_ = static_cast<std::uint32_t>(std::min<std::int64_t>(us, 0xffffffff));
    }

    std::uint32_t rto_us_ = 1'000'000;
    std::uint32_t srtt_us_ = 0;  // eight times
    std::uint32_t mdev_us_ = 0;  // four times
    std::uint32_t mdev_max_us_ = 0;
    std::uint32_t rttvar_us_ = 0;
    std::uint32_t min_us_ = 0;
    Seq round_end_;
};

}  // namespace understudy::stack
