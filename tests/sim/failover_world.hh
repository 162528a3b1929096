// One run of the failover state machines: two hosts, the net between them, clients, faults, and the judge; one
// thread, virtual time.
#pragma once

#include <memory>
#include <optional>
#include <ostream>
#include <string>

#include "tests/sim/failover_clients.hh"
#include "tests/sim/failover_judge.hh"
#include "tests/sim/failover_primary.hh"
#include "tests/sim/failover_replica.hh"
#include "tests/sim/failover_scenario.hh"
#include "tests/sim/trace.hh"
#include "tests/sim/violation.hh"

namespace understudy::sim {

struct FailoverResult {
    std::optional<Violation> violation;  // the run ends with the first
    std::uint64_t trace_hash = 0;
    std::uint64_t takeovers = 0;
    std::uint64_t fences = 0;
    std::uint64_t vetoes = 0;
    std::uint64_t replies = 0;       // heard by clients
    std::uint64_t heartbeats = 0;    // datagrams sent over the links
    std::uint64_t excused = 0;       // replies of the primary beside the replica's that nothing could have prevented
};

class FailoverWorld {
  public:
    // `text`: where the trace goes; may be null.
    FailoverWorld(FailoverScenario scenario, std::uint64_t seed, std::ostream* text);
    FailoverResult run();

    // For faults.
    Instant now() const { return queue_.now(); }
    EventQueue& queue() { return queue_; }
    FailoverNet& net() { return scenario_.net; }
    FailoverPrimary& primary() { return *primary_; }
    FailoverReplica& replica() { return *replica_; }
    void primary_port(bool up, bool with_carrier);
    void replica_port(bool up);

  private:
    void wire_primary();
    void wire_replica();
    void wire_clients();
    void cross(FailoverHost from, const FailoverFrame& frame);
    void deliver(FailoverHost from, std::size_t client, const FailoverFrame& frame, Duration delay);
    void fence(std::function<void(bool)> done);

    FailoverScenario scenario_;
    EventQueue queue_;
    Trace trace_;
    Random random_;
    Random net_random_;
    std::unique_ptr<FailoverPrimary> primary_;
    std::unique_ptr<FailoverReplica> replica_;
    std::unique_ptr<FailoverClients> clients_;
    std::unique_ptr<FailoverJudge> judge_;
    FailoverResult result_;
};

}  // namespace understudy::sim
