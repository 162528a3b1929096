// The replica's decision, driven by simulated heartbeats and by what the tap shows.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "failover/decision.hh"
#include "tests/sim/event_queue.hh"

namespace understudy::sim {

class TakeoverControl {
  public:
    using OnAction = std::function<void(const failover::Action&)>;

    TakeoverControl(EventQueue& queue, const failover::DecisionSettings& settings, OnAction on_action);

    void heartbeat(std::size_t link);
    void primary_on_tap();
    // No more ticks: the run is over.
    void stop() { stopped_ = true; }

  private:
    void schedule();
    void tick();
    void act(const std::optional<failover::Action>& action);

    EventQueue& queue_;
    failover::DecisionMachine machine_;
    OnAction on_action_;
    bool stopped_ = false;
};

}  // namespace understudy::sim
