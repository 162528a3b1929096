// One run of a connectionless service (the paper's UDP services): clients, switch, primary, mirror, replica,
// and the judges; one thread, virtual time. World's counterpart for datagrams.
#pragma once

#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "shadow_app/udp_echo.hh"
#include "tests/sim/datagram_client.hh"
#include "tests/sim/mirror.hh"
#include "tests/sim/network.hh"
#include "tests/sim/node.hh"
#include "tests/sim/oracles.hh"
#include "tests/sim/takeover.hh"
#include "tests/sim/trace.hh"
#include "tests/sim/world.hh"

namespace understudy::sim {

struct DatagramScenario {
    std::vector<DatagramPlan> clients;
    LinkSettings client_link;
    MirrorSettings mirror;
    Duration heartbeat_interval{};
    Duration takeover_delay{};
    Duration poll_interval{};
    std::optional<Instant> crash_at;
    Instant ends_at{};  // by then every client must be done
};

enum class DatagramFaults : std::uint8_t { none, mirror, network };
// The same arguments give the same scenario. `network` makes the mirror lose as well.
DatagramScenario make_datagram_scenario(std::uint64_t seed, DatagramFaults faults, bool crashes,
                                        Instant start);

struct DatagramResult {
    std::vector<Violation> violations;
    std::uint64_t trace_hash = 0;
    std::uint64_t answered = 0;
    std::uint64_t repeats = 0;  // requests that their client sent again
    std::uint64_t bytes_checked = 0;
    std::uint64_t replica_frames_before_takeover = 0;
    std::uint64_t asked_in_outage = 0;  // frames of clients between crash and promotion
    bool took_over = false;
    stack::Counters replica;
    stack::DatagramServiceSnapshot service;  // as the replica sees it
};

class DatagramWorld {
  public:
    DatagramWorld(const DatagramScenario& scenario, std::uint64_t seed, std::ostream* trace);
    ~DatagramWorld();
    DatagramWorld(const DatagramWorld&) = delete;
    DatagramWorld& operator=(const DatagramWorld&) = delete;

    DatagramResult run();

  private:
    struct ClientHost;

    void build_server(std::unique_ptr<Node>& node, const char* name,
                      shadow_app::DatagramApplication& application, stack::LinkAddress link, stack::Mode mode,
                      Switch::Port& port);
    void add_client(const DatagramPlan& plan);
    void send_heartbeat();
    void crash();
    void on_decision(const failover::Action& action);
    void take_over();
    void on_server_sent(const Node& node, Switch::Port port, const Frame& frame);
    void on_client_sent(const ClientHost& host, const Frame& frame);
    bool are_all_done() const;
    void accuse(const std::string& oracle, const std::string& what);

    const DatagramScenario scenario_;
    const Random random_;
    EventQueue queue_;
    Trace trace_;
    DatagramResult result_;
    FormOracle form_;
    SilenceOracle silence_;
    Switch switch_;
    std::unique_ptr<Mirror> mirror_;
    shadow_app::UdpEcho primary_app_, replica_app_;
    std::unique_ptr<Node> primary_, replica_;
    Switch::Port primary_port_ = 0, replica_port_ = 0;
    std::unique_ptr<TakeoverControl> control_;
    std::vector<std::unique_ptr<ClientHost>> hosts_;
    bool crashed_ = false;
    bool over_ = false;
};

}  // namespace understudy::sim
