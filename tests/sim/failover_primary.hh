// The primary: its kernel, the service, and the agent with the filter that silences the service.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "failover/agent_machine.hh"
#include "tests/sim/failover_endpoint.hh"
#include "tests/sim/failover_scenario.hh"

namespace understudy::sim {

class FailoverPrimary {
  public:
    struct Wires {
        std::function<void(std::size_t link, std::string)> datagram;
        std::function<void(std::size_t link)> probe_answer;
        std::function<void(const FailoverFrame&)> frame;
        std::function<void(const std::string&)> note;
    };
    FailoverPrimary(EventQueue& queue, const FailoverScenario& scenario, Random random, Wires wires);

    // What arrives.
    void datagram(std::size_t link, std::string bytes);
    void probed(std::size_t link);
    void frame(const FailoverFrame& frame);

    // What happens to it.
    void boot();
    void power_off();
    void freeze(Duration duration);  // the host, kernel and all
    void stall_agent(Duration duration);
    void restart_agent();
    void hang_service(Duration duration);
    // The guard keeps what its kernel would say.
    void end_service();
    void restart_service();
    void set_carrier(bool present);
    void hand_over();

    bool is_on() const { return kernel_.is_alive(); }
    // The kernel answers: on and not frozen, since.
    Instant kernel_since() const { return kernel_.runs_since(); }
    Instant agent_since() const { return agent_.runs_since(); }
    bool service_lives() const { return service_lives_; }
    bool silenced() const { return silenced_; }
    // Nothing of the service leaves.
    bool is_mute() const { return !kernel_.runs() || silenced_ || guarded_; }
    // Able to serve since: runs, lives, does not hang, and may speak.
    Instant able_since() const;
    // It could answer a client if it were not silenced, since.
    Instant healthy_since() const;
    // The agent says, and may say, that the service is dead or cut off.
    bool gives_up() const { return is_on() && (!service_lives_ || !carrier_); }
    bool hands_over() const { return machine_ && machine_->handover() != failover::AgentMachine::Handover::none; }

  private:
    void start_agent(bool found_silenced);
    void apply();
    void serve(const FailoverFrame& request);
    void emit(const FailoverFrame& frame);

    EventQueue& queue_;
    const FailoverScenario& scenario_;
    Random random_;
    Wires wires_;
    FailoverProcess kernel_;
    FailoverProcess agent_;
    std::uint64_t agents_started_ = 0;
    std::unique_ptr<FailoverEndpoint> links_;
    std::optional<failover::AgentMachine> machine_;
    std::optional<failover::AgentWord> said_;
    bool filtering_ = false;
    bool spoke_ = false;
    bool service_lives_ = false;
    bool carrier_ = true;
    bool silenced_ = false;
    bool guarded_ = false;
    Instant hangs_until_{};
    Instant changed_{};  // any of the above
};

}  // namespace understudy::sim
