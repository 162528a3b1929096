// What happens to the two hosts in one run: their settings, the net between them, and faults, all from a seed.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "failover/agent_machine.hh"
#include "failover/decision.hh"
#include "tests/sim/failover_net.hh"

namespace understudy::sim {

class FailoverWorld;

// A rule that is turned off, to see that its absence is noticed.
enum class FailoverSabotage {
    none,
    deaf_to_tap,              // rules.md 13: frames of the primary are no sign of life
    deaf_to_address_answers,  // rules.md 15
    concludes_unread,         // silence counts although nobody listened, and stalls are not noticed
    invents_witness,          // rules.md 14
    believes_failed_fence,
    deaf_to_veto,          // rules.md 19
    agent_ignores_master,  // rules.md 21
    agent_says_too_early,  // rules.md 13 b: that it has silenced the service, before it has
    sleeps_through_death,  // nothing is ever concluded
};

struct FailoverFault {
    Duration after{};  // the start
    std::string what;
    std::function<void(FailoverWorld&)> happen;
};

struct FailoverScenario {
    enum class Outcome { any, no_takeover, takeover };

    failover::DecisionSettings decision;
    failover::AgentSettings agent;
    FailoverNet net;
    std::int64_t primary_drift = 0, replica_drift = 0;  // per million
    std::vector<Duration> client_pauses;                // between requests; zero: it never asks
    Duration poll{};            // of the replica's data plane
    Duration takeover_delay{};  // from the decision to the gate, at most
    Duration silencing{};       // how long the agent's filter takes
    bool fence_works = true;
    Duration fence_time{};
    std::vector<FailoverFault> faults;
    Duration length{};
    Outcome outcome = Outcome::any;
    FailoverSabotage sabotage = FailoverSabotage::none;
};

// A family of scenarios.
struct FailoverKind {
    std::string_view name;
    std::string_view help;
    void (*arrange)(FailoverScenario&, Random&);
};
std::span<const FailoverKind> failover_kinds();
const FailoverKind* find_failover_kind(std::string_view name);
// The same kind and seed give the same scenario.
FailoverScenario make_failover_scenario(const FailoverKind& kind, std::uint64_t seed);

}  // namespace understudy::sim
