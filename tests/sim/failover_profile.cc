#include "tests/sim/failover_profile.hh"

#include <fmt/format.h>

#include "tests/sim/report.hh"

namespace understudy::sim {
namespace {

constexpr std::string_view profile_prefix = "failover";
constexpr std::uint64_t told_violations_max = 10;

}  // namespace

std::vector<FailoverKind> failover_profile(std::string_view name) {
    if (name == profile_prefix) return {failover_kinds().begin(), failover_kinds().end()};
    if (!name.starts_with(profile_prefix) || name.size() <= profile_prefix.size() + 1) return {};
    const FailoverKind* kind = find_failover_kind(name.substr(profile_prefix.size() + 1));
    if (kind == nullptr) return {};
    return {*kind};
}

std::string failover_profiles_help() {
    std::string text = "\n  failover: who serves; not in all; seeds go round these:";
    for (const FailoverKind& kind : failover_kinds())
        text += fmt::format("\n  failover-{}: {}", kind.name, kind.help);
    return text;
}

FailoverResult run_failover(const FailoverKind& kind, std::uint64_t seed, std::ostream* trace,
                            FailoverSabotage sabotage) {
    FailoverScenario scenario = make_failover_scenario(kind, seed);
    scenario.sabotage = sabotage;
    return FailoverWorld(std::move(scenario), seed, trace).run();
}

void FailoverSummary::note(std::ostream& out, const FailoverKind& kind, std::uint64_t seed,
                           const FailoverResult& result) {
    ++runs;
    takeovers += result.takeovers;
    fences += result.fences;
    vetoes += result.vetoes;
    replies += result.replies;
    heartbeats += result.heartbeats;
    excused += result.excused;
    if (!result.violation || ++violating > told_violations_max) return;
    const Violation& violation = *result.violation;
    const std::string replay = replay_command(fmt::format("{}-{}", profile_prefix, kind.name), seed);
    out << fmt::format("violation: {}, seed {}, at {:.4f} ms: {}: {}\n  replay: {}\n", kind.name, seed,
                       violation.at_ms, violation.oracle, violation.what, replay);
    violations.push_back({{"kind", kind.name},
                          {"seed", seed},
                          {"at_ms", violation.at_ms},
                          {"oracle", violation.oracle},
                          {"what", violation.what},
                          {"replay", replay}});
}

void FailoverSummary::print(std::ostream& out) const {
    out << fmt::format(
        "{} seeds, {} violations ({} takeovers, {} fences, {} vetoes; {} replies heard, {} heartbeats)\n", runs,
        violating, takeovers, fences, vetoes, replies, heartbeats);
    out << fmt::format("{} replies of the primary were heard beside the replica's when nothing could have told either\n",
                       excused);
}

nlohmann::ordered_json FailoverSummary::to_json() const {
    return {{"seeds", runs},       {"violations", violating}, {"takeovers", takeovers},
            {"fences", fences},    {"vetoes", vetoes},        {"replies", replies},
            {"heartbeats", heartbeats}, {"excused", excused}, {"first_violations", violations}};
}

}  // namespace understudy::sim
