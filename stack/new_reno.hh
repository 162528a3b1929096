// NewReno's window (RFC 5681); its recovery is stack/tcp/recovery.cc, for every algorithm.
#pragma once

#include "stack/congestion_control.hh"

namespace understudy::stack {

class NewReno final : public CongestionControl {
  public:
    const char* name() const override { return "reno"; }
    void on_ack(CongestionState& state, const Acknowledgement& acknowledgement) const override;
    std::uint32_t on_loss(CongestionState& state) const override;
    void on_timeout(CongestionState&) const override {}
    void on_idle(CongestionState&, Duration) const override {}
};

}  // namespace understudy::stack
