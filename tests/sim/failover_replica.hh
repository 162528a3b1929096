// The replica: the control process with the watch of failover/, and the data plane with taps and gate.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "failover/watch.hh"
#include "tests/sim/failover_endpoint.hh"
#include "tests/sim/failover_scenario.hh"

namespace understudy::sim {

class FailoverReplica {
  public:
    struct Wires {
        std::function<void(std::size_t link, std::string)> datagram;
        std::function<void(std::size_t link)> probe;
        std::function<void(const FailoverFrame&)> frame;
        // Runs the fence command; calls back at its end.
        std::function<void(std::function<void(bool confirmed)>)> fence;
        // The watch looks at links and tap.
        std::function<void()> looks;
        std::function<void(const failover::Action&)> acted;
        std::function<void(const std::string&)> note;
    };
    FailoverReplica(EventQueue& queue, const FailoverScenario& scenario, Random random, Wires wires);

    // What arrives. A frame on the tap is a client's request, or of the primary.
    void datagram(std::size_t link, std::string bytes);
    void tapped(const FailoverFrame& frame);
    void frame(const FailoverFrame& frame);

    // What happens to it.
    void start();
    void restart();
    void stall_control(Duration duration);
    void stall_plane(Duration duration);
    // Once it looks at the taps next, between the reading and the conclusion.
    void stall_in_the_middle(Duration duration) { stall_at_look_ = duration; }
    void set_carrier(bool present) { carrier_ = present; }
    void promote(bool force);
    void switchover();
    void demote();
    void set_maintenance(bool on);

    bool is_on() const { return control_.is_alive(); }
    Instant control_since() const { return control_.runs_since(); }
    Instant plane_since() const { return plane_.runs_since(); }
    // Nothing: no word of the primary since this process began.
    bool was_heard() const { return heard_; }
    const failover::DecisionMachine& machine() const { return watch_->machine(); }
    // Frames leave; since.
    bool speaks() const { return gate_ && plane_.runs(); }
    bool gate_is_open() const { return gate_; }
    Instant gate_since() const { return gate_since_; }
    bool client_knows_us() const { return client_knows_us_; }
    std::uint64_t looks() const { return looks_; }

  private:
    void arm();
    void run();
    failover::Watch::Tap look_at_tap();
    void read_tap();
    void on_action(const failover::Action& action);
    void ask_settled();
    void take_over();
    void mute();
    void announce(std::size_t repetition);
    // The data plane does one task after the other.
    void task(Duration takes, EventQueue::Action action);

    EventQueue& queue_;
    const FailoverScenario& scenario_;
    Random random_;
    Wires wires_;
    FailoverProcess control_;
    FailoverProcess plane_;
    std::uint64_t processes_started_ = 0;
    std::unique_ptr<FailoverEndpoint> links_;
    std::unique_ptr<failover::Watch> watch_;
    std::uint64_t armed_ = 0;
    std::uint64_t looks_ = 0;
    Duration stall_at_look_{};
    bool carrier_ = true;
    bool heard_ = false;
    bool muting_ = false;
    bool takeover_after_mute_ = false;
    // The data plane's.
    std::deque<FailoverFrame> ring_;
    failover::Instant read_until_{};
    std::optional<failover::Instant> newest_;
    std::optional<failover::Instant> address_asked_;
    std::optional<failover::Instant> address_answer_;
    std::optional<failover::Instant> unanswered_since_;
    Instant last_task_{};
    bool gate_ = false;
    Instant gate_since_{};
    bool client_knows_us_ = false;
    std::uint64_t news_ = 0;
    std::uint64_t takeovers_ = 0;
};

}  // namespace understudy::sim
