// One run: clients, switch, primary, mirror, replica, and the judges; one thread, virtual time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "failover/repair_asker.hh"
#include "shadow_app/application.hh"
#include "tests/sim/clients.hh"
#include "tests/sim/event_queue.hh"
#include "tests/sim/mirror.hh"
#include "tests/sim/network.hh"
#include "tests/sim/node.hh"
#include "tests/sim/oracles.hh"
#include "tests/sim/repair_source.hh"
#include "tests/sim/scenario.hh"
#include "tests/sim/takeover.hh"
#include "tests/sim/trace.hh"
#include "tests/sim/violation.hh"

namespace understudy::sim {

struct TimelineEntry {
    double at_ms = 0;  // since the world began
    std::string what;
};

struct RunResult {
    std::vector<Violation> violations;  // the run ends with the first
    std::uint64_t trace_hash = 0;
    std::uint64_t connections = 0;
    std::uint64_t open_at_failure = 0;
    std::uint64_t survived = 0;  // of those: ended as they should
    std::uint64_t reset = 0;     // of those: by the replica, which did not cover them
    std::uint64_t covered = 0;   // at the takeover
    std::uint64_t uncovered = 0;
    std::uint64_t repairs = 0;          // answers of the repair source that filled something
    std::uint64_t repairs_refused = 0;  // and those that did not
    std::uint64_t bytes_checked = 0;  // received by clients, each compared
    std::uint64_t frames_sent = 0;
    std::uint64_t events = 0;
    std::uint64_t replica_frames_before_takeover = 0;
    double virtual_ms = 0;
    std::optional<double> crash_at_ms;
    std::optional<double> detection_ms;  // crash to decision
    std::optional<double> takeover_ms;   // decision to the replica's first frame
    std::vector<double>
        outage_ms;  // crash to the first byte a client then receives, of those open at the crash
    std::vector<TimelineEntry> timeline;
};

class World {
  public:
    // Virtual time begins here; make_scenario() is given this instant.
    static Instant start() { return EventQueue().now(); }

    // `trace` may be null. Two worlds of one scenario and seed run alike.
    World(const Scenario& scenario, std::uint64_t seed, std::ostream* trace);
    ~World();
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    RunResult run();

  private:
    struct ClientHost;

    stack::Settings server_settings(const stack::TcpSettings& tcp, stack::LinkAddress link,
                                    stack::Mode mode) const;
    void build_servers();
    void build_clients();
    void add_server(Node& node, const stack::Settings& settings, const LinkSettings& link,
                    Switch::Port& port);
    void add_client(std::size_t host);
    void open(ClientHost& host, ScriptedClient& client);
    void send_heartbeat();
    void ask_for_repairs();
    void on_repair_answer(const proto::v1::RepairAnswer& answer);
    void crash();
    void on_decision(const failover::Action& action);
    void take_over();
    void judge_coverage();
    void expect_outcomes();
    void expect_reset(const ScriptedClient& client);
    bool is_excused(const ScriptedClient& client) const;
    bool may_be_reset(const ScriptedClient& client) const;
    void on_tap(const Frame& frame, stack::Source source);
    void on_sent(Node& node, Switch::Port port, const Frame& frame);
    void on_client_changed(const ScriptedClient& client);
    bool is_live(const stack::Endpoint& client) const;
    bool run_until(Instant limit, const std::function<bool()>& reached);
    bool nothing_left() const;
    void judge_end();
    void judge_faults();
    void accuse(const std::string& oracle, const std::string& what);
    void tell(const std::string& what);
    void collect(RunResult& result) const;

    const Scenario scenario_;
    const Random random_;
    EventQueue queue_;
    Trace trace_;
    RunResult result_;

    FormOracle form_;
    SilenceOracle silence_;
    ResetOracle reset_;
    ConversationOracle conversation_;

    Switch switch_;
    std::unique_ptr<Mirror> mirror_;
    RepairSource repair_source_;
    failover::RepairAsker repair_asker_{{}, 1};
    std::unique_ptr<shadow_app::Application> primary_app_, replica_app_;
    std::unique_ptr<SlowApplication> primary_slow_, replica_slow_;
    std::unique_ptr<InputJudge> primary_judge_, replica_judge_;
    std::unique_ptr<Node> primary_, replica_;
    Switch::Port primary_port_ = 0, replica_port_ = 0;
    std::unique_ptr<TakeoverControl> control_;
    Random heartbeat_random_;
    std::vector<std::unique_ptr<ClientHost>> hosts_;
    std::map<stack::Endpoint, ScriptedClient*> clients_;
    std::set<const ScriptedClient*> open_at_failure_;
    // What the replica said of each connection at the takeover, and what must therefore become of it.
    enum class Outcome : std::uint8_t {
        survives,
        survives_or_reset,  // covered as far as the replica could know: verified, or reset
        reset,              // uncovered
        anything,           // the replica has never heard of it: no wrong byte is all that can be asked
    };
    std::map<const ScriptedClient*, Outcome> outcomes_;
    std::size_t clients_done_ = 0;
    std::optional<Instant> crashed_at_, decided_at_, promoted_at_, first_replica_frame_at_;
    bool over_ = false;
};

}  // namespace understudy::sim
