// Keeps the primary's service silent while it must be, and tells the replica so: the agent's machine, with the hands
// it needs.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "failover/agent_machine.hh"
#include "failover/heartbeat_service.hh"
#include "tools/agent/guard.hh"
#include "tools/agent/guard_target.hh"
#include "tools/agent/port_watch.hh"
#include "tools/agent/service_on_port.hh"
#include "tools/agent/silencer.hh"
#include "tools/common/event_log.hh"

namespace understudy::tools {

class ServiceKeeper {
  public:
    struct Settings {
        std::vector<ServiceOnPort> services;
        std::string guard;  // empty: nobody watches the service's processes
        failover::AgentSettings machine;
    };
    using Handover = failover::AgentMachine::Handover;

    // Takes hold of nftables, of the ports' carrier, and of the guard. Throws with one clear line. What it refers to
    // must outlive it. `on_speaks` is called when the service may speak, at the start and after each silence.
    ServiceKeeper(boost::asio::io_context& io, const Settings& settings, failover::HeartbeatService& heartbeats,
                  EventLog& events, std::function<void()> on_speaks);

    // After the heartbeats' start.
    void start();
    // HeartbeatService's callback.
    void replica_says(const failover::ReplicaWord& word, failover::Instant at);
    // Asks the replica to take over; `done` hears how that ended. The service stays silent unless it was undone.
    void hand_over(std::function<void(Handover)> done);
    void stop();

  private:
    void on_death(pid_t process, int wait_status);
    void look_for_service();
    void apply();
    void obey();
    void tell();
    void arm();

    EventLog& events_;
    failover::HeartbeatService& heartbeats_;
    std::function<void()> on_speaks_;
    Silencer silencer_;
    PortWatch port_;
    std::optional<GuardTarget> target_;
    std::unique_ptr<Guard> guard_;
    failover::AgentMachine machine_;
    boost::asio::steady_timer timer_;
    boost::asio::steady_timer look_timer_;
    boost::asio::steady_timer retry_timer_;
    bool silenced_ = false;
    bool retrying_ = false;
    bool spoke_ = false;
    bool running_ = false;
    failover::AgentWord said_;
    std::function<void(Handover)> on_handover_;
};

}  // namespace understudy::tools
