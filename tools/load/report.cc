#include "tools/load/report.hh"

#include <array>
#include <map>
#include <ostream>

#include "tools/common/program.hh"

namespace understudy::load {
namespace {

using nlohmann::ordered_json;

double to_ms(Duration duration) {
    return static_cast<double>(duration.count()) / 1e6;
}

ordered_json in_ms(const std::optional<Duration>& duration) {
    return duration ? ordered_json(to_ms(*duration)) : ordered_json(nullptr);
}

ordered_json in_ns(const std::optional<Instant>& instant) {
    return instant ? ordered_json(instant->time_since_epoch().count()) : ordered_json(nullptr);
}

ordered_json distribution(std::vector<Duration> values) {
    return {{"p50", in_ms(percentile(values, 50))},
            {"p99", in_ms(percentile(values, 99))},
            {"max", in_ms(percentile(values, 100))},
            {"connections", values.size()}};
}

const char* to_string(App app) {
    switch (app) {
        case App::echo:
            return "echo";
        case App::discard:
            return "discard";
        case App::source:
            return "source";
        case App::ticker:
            return "ticker";
        case App::udp_echo:
            return "udp-echo";
    }
    return "unknown";
}

bool was_open(const Client& client, const std::optional<Instant>& fault) {
    if (!client.opened_at()) return false;
    if (!fault) return true;
    return *client.opened_at() <= *fault && client.ended_at().value_or(Instant::max()) > *fault;
}

std::optional<Duration> outage_of(const Client& client, const std::optional<Instant>& fault) {
    return fault ? client.receipts.outage(*fault) : std::nullopt;
}

ordered_json connection_row(const Client& client, const std::optional<Instant>& fault) {
    ordered_json row = {{"number", client.number()},
                        {"local_port", client.local_port()},
                        {"outcome", to_string(client.outcome())},
                        {"messages", client.messages()},
                        {"bytes_checked", client.checked_bytes()},
                        {"bytes_wrong", client.wrong_bytes()},
                        {"longest_gap_ms", to_ms(client.receipts.longest_gap())},
                        {"outage_ms", in_ms(outage_of(client, fault))},
                        {"retransmissions", client.retransmissions()}};
    if (client.first_wrong()) row["first_wrong_byte"] = *client.first_wrong();
    if (!client.error().empty()) row["error"] = client.error();
    return row;
}

struct Sums {
    std::map<Outcome, std::size_t> outcomes;
    std::size_t opened = 0;
    std::size_t open_at_fault = 0;
    std::size_t survived = 0;
    std::size_t closed_early = 0, reset = 0, stalled = 0;  // of those open at the fault
    std::uint64_t messages = 0, checked = 0, wrong = 0, retransmissions = 0, repeated = 0;
    std::vector<Duration> outages;
    std::vector<Duration> gaps;
    ordered_json rows = ordered_json::array();

    void add(const Client& client, const std::optional<Instant>& fault) {
        ++outcomes[client.outcome()];
        messages += client.messages();
        checked += client.checked_bytes();
        wrong += client.wrong_bytes();
        retransmissions += client.retransmissions();
        repeated += client.repeated_answers();
        rows.push_back(connection_row(client, fault));
        if (!client.opened_at()) return;
        ++opened;
        gaps.push_back(client.receipts.longest_gap());
        if (!was_open(client, fault)) return;
        ++open_at_fault;
        if (const auto outage = outage_of(client, fault)) outages.push_back(*outage);
        survived += client.outcome() == Outcome::finished && client.wrong_bytes() == 0 ? 1 : 0;
        reset += client.outcome() == Outcome::reset ? 1 : 0;
        stalled += client.outcome() == Outcome::stalled ? 1 : 0;
        closed_early += client.outcome() == Outcome::closed_early ? 1 : 0;
    }
};

}  // namespace

Report make_report(const Load& load, const LoadSettings& settings) {
    Sums sums;
    for (const auto& client : load.clients())
        sums.add(*client, load.fault_at());
    Report report;
    report.all_right = sums.wrong == 0 && sums.outcomes[Outcome::finished] == load.clients().size();
    const double rate = settings.client.interval ? 1e3 / to_ms(*settings.client.interval) : 0;
    report.json = {{"program", "understudy-load"},
                   {"version", tools::version()},
                   {"app", to_string(settings.client.app)},
                   {"connect", stack::to_string(settings.client.server)},
                   {"clients", settings.clients},
                   {"duration_s", to_ms(settings.duration) / 1e3},
                   {"message_bytes", settings.client.message_bytes},
                   {"rate", rate},
                   {"all_right", report.all_right},
                   {"began_ns", in_ns(load.began_at())},
                   {"fault_ns", in_ns(load.fault_at())},
                   {"stall_after_ms", to_ms(load.stall_after())},
                   {"connections",
                    {{"opened", sums.opened},
                     {"failed", sums.outcomes[Outcome::connect_failed]},
                     {"open_at_failure", sums.open_at_fault},
                     {"survived", sums.survived},
                     {"reset", sums.reset},
                     {"stalled", sums.stalled},
                     {"closed_early", sums.closed_early}}},
                   {"messages", sums.messages},
                   {"bytes", {{"checked", sums.checked}, {"wrong", sums.wrong}}},
                   {"outage_ms", distribution(std::move(sums.outages))},
                   {"longest_gap_ms", distribution(std::move(sums.gaps))},
                   {"retransmissions", sums.retransmissions},
                   {"repeated_answers", sums.repeated},
                   {"per_connection", std::move(sums.rows)}};
    return report;
}

void print_report(std::ostream& out, const Report& report) {
    const ordered_json& json = report.json;
    const ordered_json& connections = json["connections"];
    out << (report.all_right ? "all right: " : "NOT RIGHT: ") << connections["opened"] << " of "
        << json["clients"] << " connections opened, " << json["messages"] << " messages answered\n";
    out << "bytes: " << json["bytes"]["checked"] << " checked, " << json["bytes"]["wrong"] << " wrong\n";
    out << "connections" << (json["fault_ns"].is_null() ? "" : " open at the failure") << ": "
        << connections["open_at_failure"] << ", survived " << connections["survived"] << ", reset "
        << connections["reset"] << ", stalled " << connections["stalled"] << ", closed early "
        << connections["closed_early"] << "\n";
    for (const char* name : {"outage_ms", "longest_gap_ms"}) {
        const ordered_json& values = json[name];
        if (values["connections"] == 0) continue;
        out << name << ": p50 " << values["p50"] << ", p99 " << values["p99"] << ", max " << values["max"]
            << "\n";
    }
    out << "retransmissions: " << json["retransmissions"] << "\n";
    if (json["repeated_answers"] != 0)
        out << "answers that came once more: " << json["repeated_answers"] << "\n";
}

}  // namespace understudy::load
