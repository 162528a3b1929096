// understudy-sim: failovers in virtual time, as many as there are seeds.
#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/sim/failover_profile.hh"
#include "tests/sim/report.hh"
#include "tests/sim/world.hh"
#include "tools/common/program.hh"

namespace understudy::sim {
namespace {

struct Options {
    std::string seeds = "1..100";
    std::string profile = "all";
    std::optional<std::uint64_t> seed;
    bool trace = false;
    bool demo = false;
    unsigned jobs = 1;
    std::string json;
};

struct SeedRange {
    std::uint64_t first, last;
};

struct Summary {
    std::uint64_t runs = 0, violating = 0, connections = 0, bytes_checked = 0, frames = 0;
    std::uint64_t open_at_failure = 0, covered = 0, uncovered = 0, survived = 0, reset = 0;
    nlohmann::ordered_json violations = nlohmann::ordered_json::array();
};

constexpr std::size_t max_told_violations = 10;

std::uint64_t parse_seed(const std::string& text) {
    if (text.empty() || text.size() > 19 || text.find_first_not_of("0123456789") != std::string::npos)
        throw tools::UsageError("--seeds: '" + text + "' is not a number; give FROM..TO, such as 1..1000");
    return std::stoull(text);
}

SeedRange parse_seeds(const std::string& text) {
    const std::size_t dots = text.find("..");
    if (dots == std::string::npos) return {parse_seed(text), parse_seed(text)};
    const SeedRange range{parse_seed(text.substr(0, dots)), parse_seed(text.substr(dots + 2))};
    if (range.first > range.last) throw tools::UsageError("--seeds: FROM is greater than TO");
    return range;
}

std::vector<Profile> select_profiles(const std::string& name) {
    if (name == "all") return {profiles().begin(), profiles().end()};
    if (const Profile* profile = find_profile(name)) return {*profile};
    std::string known;
    for (const Profile& profile : profiles())
        known.append(", ").append(profile.name);
    known += ", failover";
    for (const FailoverKind& kind : failover_kinds())
        known.append(", failover-").append(kind.name);
    throw tools::UsageError("--profile " + name + ": no such profile; there are: all" + known);
}

// A line on standard error every two seconds of real time.
class Progress {
  public:
    void tell(std::uint64_t runs, std::uint64_t total, std::uint64_t violating) {
        const auto now = std::chrono::steady_clock::now();
        if (now - told_ < std::chrono::seconds(2)) return;
        told_ = now;
        fmt::print(stderr, "{} of {} runs, {} with violations\n", runs, total, violating);
    }

  private:
    std::chrono::steady_clock::time_point told_ = std::chrono::steady_clock::now();
};

void note_run(Summary& summary, const RunResult& result) {
    ++summary.runs;
    summary.connections += result.connections;
    summary.bytes_checked += result.bytes_checked;
    summary.frames += result.frames_sent;
    summary.open_at_failure += result.open_at_failure;
    summary.covered += result.covered;
    summary.uncovered += result.uncovered;
    summary.survived += result.survived;
    summary.reset += result.reset;
}

void note_violation(Summary& summary, const Profile& profile, std::uint64_t seed,
                    const Violation& violation) {
    if (++summary.violating > max_told_violations) return;
    fmt::print("violation: profile {}, seed {}, at {:.4f} ms: {}: {}\n  replay: {}\n", profile.name, seed,
               violation.at_ms, violation.oracle, violation.what, replay_command(profile.name, seed));
    summary.violations.push_back({{"profile", profile.name},
                                  {"seed", seed},
                                  {"at_ms", violation.at_ms},
                                  {"oracle", violation.oracle},
                                  {"what", violation.what},
                                  {"replay", replay_command(profile.name, seed)}});
}

void write_json(const std::string& path, const nlohmann::ordered_json& json) {
    if (path.empty()) return;
    std::ofstream file(path);
    file << json.dump(2) << '\n';
    if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

// Worlds share nothing: as many seeds at a time as there are jobs. `run` is called by several threads, and
// `note` with its result by one at a time; it gives the number of violations so far.
template <typename Run, typename Note>
void run_seeds(const Options& options, Run run, Note note) {
    const SeedRange seeds = parse_seeds(options.seeds);
    fmt::print("seeds {}..{}, profile {}\n", seeds.first, seeds.last, options.profile);
    std::fflush(stdout);
    Progress progress;
    std::uint64_t runs = 0;
    std::atomic<std::uint64_t> next{seeds.first};
    std::mutex lock;
    const auto work = [&] {
        for (std::uint64_t seed = next++; seed <= seeds.last; seed = next++) {
            const auto result = run(seed);
            const std::lock_guard guard(lock);
            progress.tell(++runs, seeds.last - seeds.first + 1, note(seed, result));
        }
    };
    std::vector<std::jthread> workers;
    for (unsigned i = 1; i < options.jobs; ++i)
        workers.emplace_back(work);
    work();
}

int run_many_failovers(const Options& options, const std::vector<FailoverKind>& chosen) {
    FailoverSummary summary;
    const auto kind_of = [&](std::uint64_t seed) -> const FailoverKind& { return chosen[seed % chosen.size()]; };
    run_seeds(
        options, [&](std::uint64_t seed) { return run_failover(kind_of(seed), seed, nullptr); },
        [&](std::uint64_t seed, const FailoverResult& result) {
            summary.note(std::cout, kind_of(seed), seed, result);
            return summary.violating;
        });
    summary.print(std::cout);
    write_json(options.json, summary.to_json());
    return summary.violating == 0 ? tools::exit_success : tools::exit_failure;
}

int run_one_failover(const Options& options, const std::vector<FailoverKind>& chosen) {
    const FailoverKind& kind = chosen[*options.seed % chosen.size()];
    std::cout << fmt::format("seed {}, profile failover-{}\n", *options.seed, kind.name);
    const FailoverResult result = run_failover(kind, *options.seed, options.trace ? &std::cout : nullptr);
    FailoverSummary summary;
    summary.note(std::cout, kind, *options.seed, result);
    summary.print(std::cout);
    std::cout << fmt::format("trace {:016x}\n", result.trace_hash);
    write_json(options.json, summary.to_json());
    return summary.violating == 0 ? tools::exit_success : tools::exit_failure;
}

int run_many(const Options& options) {
    const auto chosen = select_profiles(options.profile);
    Summary summary;
    // Seeds go round the profiles.
    const auto profile_of = [&](std::uint64_t seed) -> const Profile& { return chosen[seed % chosen.size()]; };
    run_seeds(
        options,
        [&](std::uint64_t seed) {
            return World(make_scenario(profile_of(seed), seed, World::start()), seed, nullptr).run();
        },
        [&](std::uint64_t seed, const RunResult& result) {
            note_run(summary, result);
            if (!result.violations.empty())
                note_violation(summary, profile_of(seed), seed, result.violations.front());
            return summary.violating;
        });
    fmt::print("{} seeds, {} violations ({} connections, {} bytes checked, {} frames)\n", summary.runs,
               summary.violating, summary.connections, summary.bytes_checked, summary.frames);
    fmt::print(
        "{} connections open at a crash: {} covered and {} not at the takeover; {} went on, {} were reset\n",
        summary.open_at_failure, summary.covered, summary.uncovered, summary.survived, summary.reset);
    write_json(options.json, {{"seeds", summary.runs},
                              {"violations", summary.violating},
                              {"connections", summary.connections},
                              {"bytes_checked", summary.bytes_checked},
                              {"frames", summary.frames},
                              {"open_at_failure", summary.open_at_failure},
                              {"covered", summary.covered},
                              {"uncovered", summary.uncovered},
                              {"survived", summary.survived},
                              {"reset", summary.reset},
                              {"first_violations", summary.violations}});
    return summary.violating == 0 ? tools::exit_success : tools::exit_failure;
}

int run_one(const Options& options) {
    const auto chosen = select_profiles(options.profile);
    const Profile& profile = chosen[*options.seed % chosen.size()];
    std::cout << fmt::format("seed {}, profile {}\n", *options.seed, profile.name);
    World world(make_scenario(profile, *options.seed, World::start()), *options.seed,
                options.trace ? &std::cout : nullptr);
    const RunResult result = world.run();
    for (const Violation& violation : result.violations)
        std::cout << fmt::format("violation at {:.4f} ms: {}: {}\n", violation.at_ms, violation.oracle,
                                 violation.what);
    std::cout << fmt::format("1 seeds, {} violations, trace {:016x}\n", result.violations.empty() ? 0 : 1,
                             result.trace_hash);
    write_json(options.json, to_lab_json(*options.seed, result));
    return result.violations.empty() ? tools::exit_success : tools::exit_failure;
}

int run_demo(const Options& options) {
    const std::uint64_t seed = options.seed.value_or(1);
    World world(make_demo_scenario(seed, World::start()), seed, options.trace ? &std::cout : nullptr);
    const RunResult result = world.run();
    print_story(std::cout, seed, result);
    write_json(options.json, to_lab_json(seed, result));
    return result.violations.empty() ? tools::exit_success : tools::exit_failure;
}

int main(int argc, char** argv) {
    Options options;
    CLI::App cli("Runs failovers in virtual time and judges every one. A seed replays exactly.");
    tools::set_up_app(cli, "understudy-sim");
    std::string names = "all (seeds go round the profiles)";
    for (const Profile& profile : profiles())
        names += fmt::format("\n  {}: {}", profile.name, profile.help);
    names += failover_profiles_help();
    cli.add_option("--seeds", options.seeds, "FROM..TO")->capture_default_str();
    cli.add_option("--profile", options.profile, "one of: " + names)->capture_default_str();
    cli.add_option("--jobs", options.jobs, "worlds at a time")
        ->capture_default_str()
        ->check(CLI::Range(1, 64));
    cli.add_option("--seed", options.seed, "run this one seed");
    cli.add_flag("--trace", options.trace, "print every frame and event; with --seed or --demo");
    cli.add_flag("--demo", options.demo, "tell the story of one failover");
    cli.add_option("--json", options.json, "write the result here");
    if (const auto status = tools::parse_command_line(cli, argc, argv)) return *status;
    return tools::run_program(cli.get_name(), [&options] {
        if (options.demo) return run_demo(options);
        const auto failovers = failover_profile(options.profile);
        if (options.seed) return failovers.empty() ? run_one(options) : run_one_failover(options, failovers);
        if (options.trace) throw tools::UsageError("--trace needs --seed or --demo");
        return failovers.empty() ? run_many(options) : run_many_failovers(options, failovers);
    });
}

}  // namespace
}  // namespace understudy::sim

int main(int argc, char** argv) {
    return understudy::sim::main(argc, argv);
}
