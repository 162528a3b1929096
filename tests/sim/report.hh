// Results for people and for programs.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "tests/sim/world.hh"

namespace understudy::sim {

// The command that runs this again.
std::string replay_command(std::string_view profile, std::uint64_t seed);
// One failover as a story: who serves, when, and what the clients noticed.
void print_story(std::ostream& out, std::uint64_t seed, const RunResult& result);
// The keys of the lab's JSON that have a meaning here.
nlohmann::ordered_json to_lab_json(std::uint64_t seed, const RunResult& result);

}  // namespace understudy::sim
