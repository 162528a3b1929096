// What happens in one run: a profile says what may happen, a seed chooses.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "stack/settings.hh"
#include "tests/sim/clients.hh"
#include "tests/sim/mirror.hh"
#include "tests/sim/network.hh"
#include "tests/sim/repair_source.hh"
#include "tests/sim/slow_application.hh"

namespace understudy::sim {

struct Scenario {
    AppKind app = AppKind::echo;
    std::size_t client_hosts = 1;
    std::vector<std::vector<ConnectionPlan>> connections;  // by client host
    std::vector<LinkSettings> client_links;                // by client host
    MirrorSettings mirror;
    RepairSettings repair;
    Slowness primary_slowness, replica_slowness;
    stack::TcpSettings client_tcp, primary_tcp, replica_tcp;
    Duration heartbeat_interval{};
    std::uint32_t heartbeat_misses = 3;
    Duration heartbeat_delay{};
    Duration heartbeat_jitter{};
    Duration takeover_delay{};  // from the decision to the promotion: the rings are drained meanwhile
    Duration poll_interval{};   // of every host
    std::optional<Instant> crash_at;
    bool crash_loses_in_flight = false;
    Instant ends_at{};  // by then every connection must be done
};

struct Profile {
    std::string_view name;
    std::string_view help;  // one line
};

// All of them, in the order in which --profile all runs them.
std::span<const Profile> profiles();
const Profile* find_profile(std::string_view name);
// The same profile, seed and start give the same scenario.
Scenario make_scenario(const Profile& profile, std::uint64_t seed, Instant start);
// The scenario of a demonstration: several clients in conversation, one crash.
Scenario make_demo_scenario(std::uint64_t seed, Instant start);

}  // namespace understudy::sim
