// understudy-replay-corpus: captures of the world, shadowed, against known answers.
#include <fmt/format.h>
#include <sodium.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "tap/port.hh"
#include "tests/corpus/verdict.hh"
#include "tools/common/program.hh"

namespace understudy::corpus {
namespace {

struct Options {
    std::string root, manifest, json;
    std::string mutate;  // SEED or FROM..TO
    std::string loss = "0", reorder = "0", duplicate = "0", truncate = "0";
};

struct Tally {
    std::size_t conversations = 0, identical = 0, uncovered = 0, different = 0, strict_different = 0;
    // Every byte was shown, and the stack does not say that all is well.
    std::size_t shown = 0, shown_identical = 0;
    std::map<std::string, std::size_t> reasons;
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    nlohmann::ordered_json uncovered_list = nlohmann::ordered_json::array();
};

// "0.01" or "1%".
double parse_probability(const char* option, const std::string& text) {
    std::size_t used = 0;
    double value = -1;
    try {
        value = std::stod(text, &used);
    } catch (const std::exception&) {
    }
    if (text.substr(used) == "%")
        value /= 100;
    else if (used != text.size())
        value = -1;
    if (!(value >= 0 && value <= 1))
        throw tools::UsageError(fmt::format("{} must be 0 to 1, or 0% to 100%, not \"{}\"", option, text));
    return value;
}

std::pair<std::uint64_t, std::uint64_t> parse_seeds(const std::string& text) {
    const auto number = [&](const std::string& digits) -> std::uint64_t {
        if (digits.empty() || digits.size() > 18 ||
            digits.find_first_not_of("0123456789") != std::string::npos)
            throw tools::UsageError(fmt::format("--mutate must be SEED or FROM..TO, not \"{}\"", text));
        return std::stoull(digits);
    };
    const std::size_t dots = text.find("..");
    if (dots == std::string::npos) return {number(text), number(text)};
    const std::pair range{number(text.substr(0, dots)), number(text.substr(dots + 2))};
    if (range.first > range.second) throw tools::UsageError("--mutate: FROM is greater than TO");
    return range;
}

void count(Tally& tally, const Judged& judged, const Mutation& mutation) {
    const Conversation& c = *judged.conversation;
    ++tally.conversations;
    if (judged.all_bytes_shown) ++tally.shown;
    const auto entry = [&] {
        nlohmann::ordered_json json = {{"file", c.file}, {"stream", c.stream}, {"strict", c.strict}};
        if (!mutation.is_none()) json["seed"] = mutation.seed;
        json["all_bytes_shown"] = judged.all_bytes_shown;
        return json;
    };
    switch (judged.verdict) {
        case Verdict::identical:
            ++tally.identical;
            if (judged.all_bytes_shown) ++tally.shown_identical;
            break;
        case Verdict::uncovered: {
            ++tally.uncovered;
            ++tally.reasons[judged.reason];
            auto json = entry();
            json["reason"] = judged.reason;
            tally.uncovered_list.push_back(std::move(json));
            break;
        }
        case Verdict::different: {
            ++tally.different;
            if (c.strict) ++tally.strict_different;
            auto json = entry();
            json["direction"] = judged.reason;
            tally.list.push_back(std::move(json));
            break;
        }
    }
}

// A line on standard error every two seconds of real time.
class Progress {
  public:
    void tell(std::size_t files, std::size_t of, const Tally& tally) {
        const auto now = std::chrono::steady_clock::now();
        if (now - told_ < std::chrono::seconds(2)) return;
        told_ = now;
        fmt::print(stderr, "{} of {} files, {} conversations, {} different\n", files, of, tally.conversations,
                   tally.different);
    }

  private:
    std::chrono::steady_clock::time_point told_ = std::chrono::steady_clock::now();
};

void write_json(const std::string& path, const Tally& tally) {
    const nlohmann::ordered_json json = {{"conversations", tally.conversations},
                                         {"identical", tally.identical},
                                         {"uncovered", tally.uncovered},
                                         {"different", tally.different},
                                         {"different_strict", tally.strict_different},
                                         {"all_bytes_shown", tally.shown},
                                         {"all_bytes_shown_identical", tally.shown_identical},
                                         {"uncovered_reasons", tally.reasons},
                                         {"different_conversations", tally.list},
                                         {"uncovered_conversations", tally.uncovered_list}};
    std::ofstream file(path);
    file << json.dump(2) << '\n';
    if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

int run(const Options& options) {
    if (sodium_init() < 0) throw std::runtime_error("libsodium does not start");
    Mutation mutation{.loss = parse_probability("--loss", options.loss),
                      .reorder = parse_probability("--reorder", options.reorder),
                      .duplicate = parse_probability("--duplicate", options.duplicate),
                      .truncate = parse_probability("--truncate", options.truncate)};
    const bool mutates = !options.mutate.empty();
    if (!mutates && !mutation.is_none())
        throw tools::UsageError("--loss, --reorder, --duplicate and --truncate need --mutate SEED");
    const auto seeds = mutates ? parse_seeds(options.mutate) : std::pair<std::uint64_t, std::uint64_t>{0, 0};
    const std::vector<Conversation> manifest = read_manifest(options.manifest);
    std::map<std::string, std::vector<const Conversation*>> files;
    for (const Conversation& c : manifest)
        files[c.file].push_back(&c);
    Tally tally;
    Progress progress;
    std::size_t done = 0;
    for (const auto& [file, conversations] : files) {
        try {
            const CaptureJudge judge(options.root, conversations);
            for (mutation.seed = seeds.first; mutation.seed <= seeds.second; ++mutation.seed) {
                for (const Judged& judged : judge.judge(mutation))
                    count(tally, judged, mutation);
                progress.tell(done, files.size(), tally);
            }
        } catch (const tap::PortError& error) {
            fmt::print(stderr, "understudy-replay-corpus: {}\n", error.what());
            for (std::uint64_t seed = seeds.first; seed <= seeds.second; ++seed)
                for (const Conversation* c : conversations)
                    count(tally, {.conversation = c, .reason = "unreadable_capture"}, mutation);
        }
        ++done;
    }
    std::string reasons;
    for (const auto& [reason, number] : tally.reasons)
        reasons += fmt::format("{}{} {}", reasons.empty() ? ": " : ", ", number, reason);
    for (const auto& entry : tally.list)
        fmt::print("different: {}\n", entry.dump());
    fmt::print(
        "{} conversations: {} identical ({:.2f} %), {} uncovered{}, {} different ({} of strict ones)\n",
        tally.conversations, tally.identical,
        100.0 * static_cast<double>(tally.identical) /
            static_cast<double>(std::max<std::size_t>(tally.conversations, 1)),
        tally.uncovered, reasons, tally.different, tally.strict_different);
    fmt::print("of which every byte was shown: {}, {} identical\n", tally.shown, tally.shown_identical);
    if (!options.json.empty()) write_json(options.json, tally);
    return tally.strict_different == 0 ? tools::exit_success : tools::exit_failure;
}

int main(int argc, char** argv) {
    Options options;
    CLI::App cli("Shadows every conversation of a manifest and compares with its answers.");
    tools::set_up_app(cli, "understudy-replay-corpus");
    cli.add_option("--root", options.root, "folder of the captures")->required()->type_name("DIR");
    cli.add_option("--manifest", options.manifest, "one line of JSON a conversation")
        ->required()
        ->type_name("FILE");
    cli.add_option("--mutate", options.mutate, "alter what the mirror shows, by these seeds")
        ->type_name("SEED|FROM..TO");
    cli.add_option("--loss", options.loss, "share of frames lost")->capture_default_str()->type_name("P");
    cli.add_option("--reorder", options.reorder, "share that lags behind others, within the grace time")
        ->capture_default_str()
        ->type_name("P");
    cli.add_option("--duplicate", options.duplicate, "share that comes twice")
        ->capture_default_str()
        ->type_name("P");
    cli.add_option("--truncate", options.truncate, "share that is cut")
        ->capture_default_str()
        ->type_name("P");
    cli.add_option("--json", options.json, "write the result here")->type_name("OUT");
    if (const auto status = tools::parse_command_line(cli, argc, argv)) return *status;
    return tools::run_program(cli.get_name(), [&options] { return run(options); });
}

}  // namespace
}  // namespace understudy::corpus

int main(int argc, char** argv) {
    return understudy::corpus::main(argc, argv);
}
