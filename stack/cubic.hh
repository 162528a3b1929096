// CUBIC (RFC 9438): the window grows with the cube of the time since the last loss.
#pragma once

#include "stack/congestion_control.hh"

namespace understudy::stack {

class Cubic final : public CongestionControl {
  public:
    const char* name() const override { return "cubic"; }
    void on_ack(CongestionState& state, const Acknowledgement& acknowledgement) const override;
    std::uint32_t on_loss(CongestionState& state) const override;
    void on_timeout(CongestionState& state) const override;
    void on_idle(CongestionState& state, Duration idle) const override;

  private:
    static std::uint32_t acks_for_a_segment(CongestionState& state, const Acknowledgement& acknowledgement);
};

}  // namespace understudy::stack
