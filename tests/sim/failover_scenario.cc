#include "tests/sim/failover_scenario.hh"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "tests/sim/failover_world.hh"

namespace understudy::sim {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using Outcome = FailoverScenario::Outcome;

// Both hosts know each other by then, whatever the interval.
constexpr Duration first_fault = milliseconds(700);
constexpr Duration last_fault = milliseconds(1500);
constexpr Duration scenario_length = milliseconds(4500);

Duration some_instant(Random& random) { return random.between(first_fault, last_fault); }

bool one_in(Random& random, std::uint32_t n) { return random.below(n) == 0; }

void add(FailoverScenario& scenario, Duration after, std::string what, std::function<void(FailoverWorld&)> happen) {
    scenario.faults.push_back({after, std::move(what), std::move(happen)});
}

std::string for_ms(const char* what, Duration duration) {
    return fmt::format("{} for {} ms", what, std::chrono::duration<double, std::milli>(duration).count());
}

FailoverPath path(Random& random, Duration delay_max, std::uint32_t loss_max) {
    FailoverPath made;
    made.delay = random.between(microseconds(20), delay_max);
    made.jitter = random.between(Duration::zero(), delay_max / 2);
    if (loss_max != 0 && one_in(random, 2))
        made.loss_per_million = static_cast<std::uint32_t>(random.below(loss_max));
    return made;
}

FailoverPort port(Random& random, std::uint32_t loss_max) {
    return {path(random, microseconds(200), loss_max), path(random, microseconds(200), loss_max), true};
}

// Ordinary life: the first link and the hosts' ports lose nothing.
FailoverScenario ordinary(Random& random) {
    FailoverScenario made;
    failover::DecisionSettings& decision = made.decision;
    constexpr std::array intervals{5, 5, 10, 20, 40};
    decision.heartbeat_interval = milliseconds(intervals[random.below(intervals.size())]);
    decision.heartbeat_misses = static_cast<std::uint32_t>(random.between(2, 4));
    decision.links = random.between(1, 3);
    decision.probe = !one_in(random, 5);
    decision.address_probe = !one_in(random, 5);
    decision.witness = !one_in(random, 3);
    decision.hold_down = one_in(random, 3) ? milliseconds(100) : Duration::zero();
    decision.fence_retry = milliseconds(100);
    decision.switchover_timeout = milliseconds(300);
    made.agent.hold_at_start = std::chrono::seconds(1);
    made.agent.replica_deadline = decision.heartbeat_deadline();
    made.agent.handover_timeout = std::chrono::seconds(1);
    for (std::size_t link = 0; link < decision.links; ++link)
        made.net.links.push_back({path(random, microseconds(600), link == 0 ? 0 : 300'000),
                                  path(random, microseconds(600), link == 0 ? 0 : 300'000)});
    made.net.mirror = path(random, microseconds(500), 50'000);
    made.net.primary = port(random, 0);
    made.net.replica = port(random, 0);
    made.net.witness = port(random, 0);
    const std::size_t clients = random.between(1, 3);
    for (std::size_t i = 0; i < clients; ++i) {
        made.net.clients.push_back(port(random, 20'000));
        made.client_pauses.push_back(one_in(random, 4) ? Duration::zero()
                                                       : random.between(milliseconds(1), milliseconds(15)));
    }
    const std::int64_t drift_max = one_in(random, 5) ? 20'000 : 200;
    const auto drift = [&] {
        return static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(2 * drift_max + 1))) - drift_max;
    };
    made.primary_drift = drift();
    made.replica_drift = drift();
    made.poll = random.between(microseconds(5), microseconds(100));
    made.takeover_delay = random.between(microseconds(50), milliseconds(2));
    made.silencing = random.between(microseconds(200), milliseconds(5));
    made.length = scenario_length;
    return made;
}

void let_clients_talk(FailoverScenario& scenario) {
    for (Duration& pause : scenario.client_pauses)
        if (pause == Duration::zero()) pause = milliseconds(10);
}

void give_fence(FailoverScenario& scenario, Random& random) {
    constexpr std::array times{1, 30, 400};
    scenario.decision.fence = true;
    scenario.fence_time = milliseconds(times[random.below(times.size())]);
    scenario.fence_works = !one_in(random, 3);
    constexpr std::array policies{failover::FencePolicy::wait, failover::FencePolicy::proceed,
                                  failover::FencePolicy::operator_decides};
    scenario.decision.fence_failure = policies[random.below(policies.size())];
}

void cut_link(FailoverWorld& world, std::size_t link, bool up, unsigned directions) {
    FailoverCable& cable = world.net().links[link];
    if (directions & 1) cable.to_primary.set(up, world.now());
    if (directions & 2) cable.to_replica.set(up, world.now());
}

constexpr unsigned both_ways = 3;

// Down for good, or for a time.
void cut_links(FailoverScenario& scenario, Random& random, std::size_t first, std::size_t count,
               unsigned directions) {
    const Duration at = some_instant(random);
    const auto set = [first, count, directions](bool up) {
        return [=](FailoverWorld& world) {
            for (std::size_t link = first; link < first + count; ++link)
                cut_link(world, link, up, directions);
        };
    };
    add(scenario, at, fmt::format("links {} to {} are cut, directions {}", first, first + count - 1, directions),
        set(false));
    if (!one_in(random, 2)) return;
    add(scenario, at + random.between(milliseconds(1), milliseconds(800)), "they are whole again", set(true));
}

// With the links cut, what keeps the replica silent is the answer on the service LAN, or clients who talk.
void keep_a_witness_of_the_primary(FailoverScenario& scenario, Random& random) {
    scenario.decision.address_probe = !one_in(random, 3);
    if (scenario.decision.address_probe) {
        if (one_in(random, 2)) scenario.client_pauses.assign(scenario.client_pauses.size(), Duration::zero());
        return;
    }
    let_clients_talk(scenario);
    scenario.decision.tap_deadline = milliseconds(500);
}

void heartbeat_cut(FailoverScenario& scenario, Random& random) {
    cut_links(scenario, random, 0, scenario.decision.links, static_cast<unsigned>(random.between(1, 3)));
    keep_a_witness_of_the_primary(scenario, random);
    scenario.outcome = Outcome::no_takeover;
}

void cut_mirror(FailoverScenario& scenario, Duration at) {
    add(scenario, at, "the mirror is cut", [](FailoverWorld& world) { world.net().mirror.set(false, world.now()); });
}

void mirror_cut(FailoverScenario& scenario, Random& random) {
    cut_mirror(scenario, some_instant(random));
    scenario.outcome = Outcome::no_takeover;
}

void one_link_cut(FailoverScenario& scenario, Random& random) {
    if (scenario.decision.links == 1) {
        scenario.decision.links = 2;
        scenario.net.links.push_back(scenario.net.links[0]);
    }
    // The other loses nothing, whichever it is.
    scenario.net.links[1].to_primary.loss_per_million = scenario.net.links[1].to_replica.loss_per_million = 0;
    cut_links(scenario, random, random.below(2), 1, static_cast<unsigned>(random.between(1, 3)));
    scenario.outcome = Outcome::no_takeover;
}

// The replica does not run for a while, again and again: all of it, one of its parts, or in the middle of its work.
void add_replica_stalls(FailoverScenario& scenario, Random& random, std::size_t count) {
    constexpr std::array lengths{1, 5, 20, 45, 60, 150, 900};
    for (std::size_t i = 0; i < count; ++i) {
        const Duration length = milliseconds(lengths[random.below(lengths.size())]);
        const auto part = random.below(4);
        add(scenario, some_instant(random), for_ms("the replica stalls", length) + fmt::format(", part {}", part),
            [part, length](FailoverWorld& world) {
                if (part == 0 || part == 1) world.replica().stall_control(length);
                if (part == 0 || part == 2) world.replica().stall_plane(length);
                if (part == 3) world.replica().stall_in_the_middle(length);
            });
    }
}

void replica_stall(FailoverScenario& scenario, Random& random) {
    add_replica_stalls(scenario, random, random.between(1, 6));
    if (one_in(random, 2)) {
        cut_links(scenario, random, 0, scenario.decision.links, both_ways);
        keep_a_witness_of_the_primary(scenario, random);
    }
    scenario.outcome = Outcome::no_takeover;
}

void agent_stall(FailoverScenario& scenario, Random& random) {
    const Duration length = random.between(milliseconds(1), milliseconds(900));
    scenario.decision.probe = true;
    add(scenario, some_instant(random), for_ms("the agent stalls", length),
        [length](FailoverWorld& world) { world.primary().stall_agent(length); });
    if (one_in(random, 2))
        add(scenario, some_instant(random), "the agent restarts", [](FailoverWorld& world) { world.primary().restart_agent(); });
    scenario.outcome = Outcome::no_takeover;
}

void power(FailoverScenario& scenario, Random& random) {
    add(scenario, some_instant(random), "the primary's power fails", [](FailoverWorld& world) { world.primary().power_off(); });
    if (one_in(random, 3)) add_replica_stalls(scenario, random, 2);
    scenario.outcome = Outcome::takeover;
}

void power_and_return(FailoverScenario& scenario, Random& random) {
    const Duration at = some_instant(random);
    add(scenario, at, "the primary's power fails", [](FailoverWorld& world) { world.primary().power_off(); });
    add(scenario, at + random.between(milliseconds(1), milliseconds(2000)), "the primary returns",
        [](FailoverWorld& world) { world.primary().boot(); });
    if (one_in(random, 3)) cut_links(scenario, random, 0, scenario.decision.links, both_ways);
}

void hang_and_return(FailoverScenario& scenario, Random& random) {
    const Duration length = random.between(milliseconds(1), milliseconds(1500));
    add(scenario, some_instant(random), for_ms("the primary freezes", length),
        [length](FailoverWorld& world) { world.primary().freeze(length); });
    if (one_in(random, 2)) give_fence(scenario, random);
    if (one_in(random, 4)) cut_links(scenario, random, 0, scenario.decision.links, both_ways);
}

void process(FailoverScenario& scenario, Random& random) {
    const Duration at = some_instant(random);
    add(scenario, at, "the service ends", [](FailoverWorld& world) { world.primary().end_service(); });
    if (one_in(random, 2))
        add(scenario, at + random.between(milliseconds(1), milliseconds(900)), "the service starts again",
            [](FailoverWorld& world) { world.primary().restart_service(); });
    else
        scenario.outcome = Outcome::takeover;
}

void port_cut(FailoverScenario& scenario, Random& random) {
    const Duration at = some_instant(random);
    add(scenario, at, "the primary's port loses its link", [](FailoverWorld& world) { world.primary_port(false, true); });
    scenario.outcome = Outcome::takeover;
    if (one_in(random, 2)) return;
    add(scenario, at + random.between(milliseconds(1), milliseconds(900)), "the primary's port is back",
        [](FailoverWorld& world) { world.primary_port(true, true); });
    scenario.outcome = Outcome::any;
}

void switchover(FailoverScenario& scenario, Random& random) {
    const std::size_t count = random.between(1, 4);
    for (std::size_t i = 0; i < count; ++i)
        add(scenario, some_instant(random), "the operator asks for a switchover",
            [](FailoverWorld& world) { world.replica().switchover(); });
    if (one_in(random, 3)) cut_links(scenario, random, 0, scenario.decision.links, both_ways);
    if (one_in(random, 3))
        add(scenario, last_fault + milliseconds(300), "the operator demotes",
            [](FailoverWorld& world) { world.replica().demote(); });
}

void shutdown(FailoverScenario& scenario, Random& random) {
    add(scenario, some_instant(random), "the primary is shut down",
        [](FailoverWorld& world) { world.primary().hand_over(); });
    if (one_in(random, 3)) cut_links(scenario, random, 0, scenario.decision.links, both_ways);
}

void operators(FailoverScenario& scenario, Random& random) {
    const std::size_t count = random.between(1, 5);
    for (std::size_t i = 0; i < count; ++i) {
        const Duration at = some_instant(random);
        switch (random.below(6)) {
            case 0:
                add(scenario, at, "the operator promotes by force",
                    [](FailoverWorld& world) { world.replica().promote(true); });
                break;
            case 1:
                add(scenario, at, "the operator promotes", [](FailoverWorld& world) { world.replica().promote(false); });
                break;
            case 2:
                add(scenario, at, "the operator demotes", [](FailoverWorld& world) { world.replica().demote(); });
                break;
            case 3:
                add(scenario, at, "the operator asks for a switchover",
                    [](FailoverWorld& world) { world.replica().switchover(); });
                break;
            default: {
                const Duration length = random.between(milliseconds(10), milliseconds(600));
                add(scenario, at, for_ms("maintenance", length),
                    [](FailoverWorld& world) { world.replica().set_maintenance(true); });
                add(scenario, at + length, "maintenance ends",
                    [](FailoverWorld& world) { world.replica().set_maintenance(false); });
                break;
            }
        }
    }
    if (one_in(random, 2)) power_and_return(scenario, random);
}

// The replica is cut off from everybody, and without a fence: safety alone.
void partition(FailoverScenario& scenario, Random& random) {
    const Duration at = some_instant(random);
    const Duration length = random.between(milliseconds(50), milliseconds(1500));
    scenario.decision.witness = true;
    const auto set = [links = scenario.decision.links](bool up) {
        return [links, up](FailoverWorld& world) {
            for (std::size_t link = 0; link < links; ++link)
                cut_link(world, link, up, both_ways);
            world.replica_port(up);
            world.net().mirror.set(up, world.now());
        };
    };
    add(scenario, at, for_ms("the replica is cut off", length), set(false));
    if (one_in(random, 2)) add(scenario, at + length, "the replica is back", set(true));
    scenario.outcome = Outcome::no_takeover;
}

void fenced(FailoverScenario& scenario, Random& random) {
    give_fence(scenario, random);
    switch (random.below(3)) {
        case 0:
            return power(scenario, random), void(scenario.outcome = Outcome::any);
        case 1:
            return power_and_return(scenario, random);
        default:
            return hang_and_return(scenario, random);
    }
}

// The kernel lives, agent and service do not.
void service_hang(FailoverScenario& scenario, Random& random) {
    give_fence(scenario, random);
    let_clients_talk(scenario);
    scenario.decision.service_hang = milliseconds(100);
    const Duration length = random.between(milliseconds(20), milliseconds(1500));
    add(scenario, some_instant(random), for_ms("service and agent hang", length), [length](FailoverWorld& world) {
        world.primary().hang_service(length);
        world.primary().stall_agent(length);
    });
}

// A replica that took over, and a primary that it finds again on the mirror.
void veto(FailoverScenario& scenario, Random& random) {
    const Duration at = some_instant(random);
    scenario.decision.witness = false;
    let_clients_talk(scenario);
    cut_mirror(scenario, at);
    add(scenario, at, "the replica is cut off, and its port does not tell", [](FailoverWorld& world) {
        for (std::size_t link = 0; link < world.net().links.size(); ++link)
            cut_link(world, link, false, both_ways);
        world.replica_port(false);
    });
    const bool links_return = one_in(random, 2);
    add(scenario, at + random.between(milliseconds(200), milliseconds(900)), "mirror and port are back",
        [links_return](FailoverWorld& world) {
            world.net().mirror.set(true, world.now());
            world.replica_port(true);
            for (std::size_t link = 0; links_return && link < world.net().links.size(); ++link)
                cut_link(world, link, true, both_ways);
        });
}

void chaos(FailoverScenario& scenario, Random& random) {
    static constexpr std::array parts{heartbeat_cut, mirror_cut,       one_link_cut, replica_stall, agent_stall,
                                      power,         power_and_return, process,      port_cut,      switchover,
                                      operators,     hang_and_return,  shutdown,     partition,     veto};
    const std::size_t count = random.between(2, 5);
    for (std::size_t i = 0; i < count; ++i)
        parts[random.below(parts.size())](scenario, random);
    if (one_in(random, 3)) give_fence(scenario, random);
    if (one_in(random, 3))
        add(scenario, some_instant(random), "the replica restarts", [](FailoverWorld& world) { world.replica().restart(); });
    scenario.outcome = Outcome::any;
}

constexpr std::array kinds{
    FailoverKind{"heartbeat-cut", "all heartbeat links fail, in one direction or both; the primary serves", heartbeat_cut},
    FailoverKind{"mirror-cut", "the mirror fails; the primary serves", mirror_cut},
    FailoverKind{"one-link-cut", "one of the links fails; the primary serves", one_link_cut},
    FailoverKind{"stall", "the replica does not run for a while; the primary serves", replica_stall},
    FailoverKind{"agent-stall", "the agent does not run for a while, or restarts; the primary serves", agent_stall},
    FailoverKind{"power", "the primary dies", power},
    FailoverKind{"return", "the primary dies and boots", power_and_return},
    FailoverKind{"return-link", "the primary freezes and goes on with its sockets", hang_and_return},
    FailoverKind{"process", "the guarded service ends, and starts again", process},
    FailoverKind{"link", "the primary's port loses its carrier", port_cut},
    FailoverKind{"switchover", "an operator asks for switchovers", switchover},
    FailoverKind{"shutdown", "the agent hands over", shutdown},
    FailoverKind{"operator", "promote, promote --force, demote, switchover, maintenance", operators},
    FailoverKind{"partition", "the replica is cut off from everybody, and there is no fence", partition},
    FailoverKind{"fence", "a fence that works, fails or is slow", fenced},
    FailoverKind{"hang", "service and agent hang on a live kernel", service_hang},
    FailoverKind{"veto", "a takeover that was wrong, and the primary is found again", veto},
    FailoverKind{"chaos", "several of all these at once", chaos},
};

}  // namespace

std::span<const FailoverKind> failover_kinds() { return kinds; }

const FailoverKind* find_failover_kind(std::string_view name) {
    const auto found = std::ranges::find(kinds, name, &FailoverKind::name);
    return found == kinds.end() ? nullptr : std::to_address(found);
}

FailoverScenario make_failover_scenario(const FailoverKind& kind, std::uint64_t seed) {
    Random random = Random(seed).stream(kind.name);
    FailoverScenario scenario = ordinary(random);
    kind.arrange(scenario, random);
    std::ranges::stable_sort(scenario.faults, {}, &FailoverFault::after);
    return scenario;
}

}  // namespace understudy::sim
