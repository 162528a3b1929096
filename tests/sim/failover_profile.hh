// Failover runs by the name of a profile: "failover" goes round the kinds, "failover-KIND" is one of them.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/sim/failover_world.hh"

namespace understudy::sim {

// Empty: no such profile.
std::vector<FailoverKind> failover_profile(std::string_view name);
// For --help.
std::string failover_profiles_help();

FailoverResult run_failover(const FailoverKind& kind, std::uint64_t seed, std::ostream* trace,
                            FailoverSabotage sabotage = FailoverSabotage::none);

// Sums up many runs.
struct FailoverSummary {
    std::uint64_t runs = 0, violating = 0, takeovers = 0, fences = 0, vetoes = 0, replies = 0, heartbeats = 0,
                  excused = 0;
    nlohmann::ordered_json violations = nlohmann::ordered_json::array();

    // Prints the first violations, with what replays them.
    void note(std::ostream& out, const FailoverKind& kind, std::uint64_t seed, const FailoverResult& result);
    void print(std::ostream& out) const;
    nlohmann::ordered_json to_json() const;
};

}  // namespace understudy::sim
