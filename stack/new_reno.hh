// Slow start and congestion avoidance (RFC 5681 3.1), as NewReno has them (RFC 6582).
#pragma once

#include "stack/congestion_control.hh"

namespace understudy::stack {

class NewReno final : public CongestionControl {
  public:
    void on_ack(CongestionState& state, std::uint32_t acked, std::uint32_t mss) const override;
    void on_loss(CongestionState& state, std::uint32_t flight, std::uint32_t mss) const override;
    void on_timeout(CongestionState& state, std::uint32_t flight, std::uint32_t mss) const override;
};

}  // namespace understudy::stack
