#include "tests/sim/report.hh"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include <algorithm>

namespace understudy::sim {
namespace {

using Json = nlohmann::ordered_json;

// The value below which `percent` of the sorted values lie; not for an empty list.
double percentile(const std::vector<double>& sorted, double percent) {
    const auto rank = static_cast<std::size_t>(percent / 100.0 * static_cast<double>(sorted.size()));
    return sorted[std::min(rank, sorted.size() - 1)];
}

Json outage_json(const std::vector<double>& sorted) {
    if (sorted.empty()) return nullptr;
    return {{"p50", percentile(sorted, 50)}, {"p99", percentile(sorted, 99)}, {"max", sorted.back()}};
}

Json or_null(const std::optional<double>& value) {
    return value ? Json(*value) : Json(nullptr);
}

std::string reason_of(const RunResult& result) {
    if (result.violations.empty()) return "every client was served to its last byte";
    return result.violations.front().oracle + ": " + result.violations.front().what;
}

std::uint64_t count_oracle(const RunResult& result, std::string_view oracle) {
    return static_cast<std::uint64_t>(std::count_if(result.violations.begin(), result.violations.end(),
                                                    [&](const Violation& v) { return v.oracle == oracle; }));
}

}  // namespace

std::string replay_command(std::string_view profile, std::uint64_t seed) {
    return fmt::format("understudy-sim --profile {} --seed {} --trace", profile, seed);
}

void print_story(std::ostream& out, std::uint64_t seed, const RunResult& result) {
    fmt::print(out, "One failover in the simulation: seed {}, virtual time, {} connections.\n\n", seed,
               result.connections);
    const double crash = result.crash_at_ms.value_or(0);
    fmt::print(out, "{:>12}  {}\n", "ms", "counted from the failure");
    for (const TimelineEntry& entry : result.timeline)
        fmt::print(out, "{:>+12.3f}  {}\n", entry.at_ms - crash, entry.what);
    fmt::print(out, "{:>+12.3f}  the last connection has ended\n\n", result.virtual_ms - crash);
    fmt::print(out, "  connections open at the failure   {}, of which {} went on to their last byte\n",
               result.open_at_failure, result.survived);
    fmt::print(out, "  bytes checked by the clients      {}, {} wrong\n", result.bytes_checked,
               count_oracle(result, "client"));
    fmt::print(out, "  frames of the replica before      {}\n", result.replica_frames_before_takeover);
    if (result.detection_ms)
        fmt::print(out, "  failure to decision               {:.3f} ms\n", *result.detection_ms);
    if (result.takeover_ms)
        fmt::print(out, "  decision to first frame           {:.3f} ms\n", *result.takeover_ms);
    if (!result.outage_ms.empty())
        fmt::print(out, "  silence seen by a client          {:.3f} ms in the median, {:.3f} ms at most\n",
                   percentile(result.outage_ms, 50), result.outage_ms.back());
    fmt::print(out, "\n{}: {}\n", result.violations.empty() ? "survived" : "failed", reason_of(result));
}

Json to_lab_json(std::uint64_t seed, const RunResult& result) {
    Json events = Json::array();
    for (const TimelineEntry& entry : result.timeline)
        events.push_back({{"at_ms", entry.at_ms}, {"what", entry.what}});
    return {
        {"verdict", result.violations.empty() ? "survived" : "failed"},
        {"reason", reason_of(result)},
        {"seed", seed},
        {"trace_hash", fmt::format("{:016x}", result.trace_hash)},
        {"connections",
         {{"open_at_failure", result.open_at_failure},
          {"survived", result.survived},
          {"reset", count_oracle(result, "reset")},
          {"stalled", count_oracle(result, "progress")}}},
        {"bytes", {{"checked", result.bytes_checked}, {"wrong", count_oracle(result, "client")}}},
        {"detection_ms", or_null(result.detection_ms)},
        {"takeover_ms", or_null(result.takeover_ms)},
        {"outage_ms", outage_json(result.outage_ms)},
        {"replica_frames_before_takeover", result.replica_frames_before_takeover},
        {"events", events},
    };
}

}  // namespace understudy::sim
