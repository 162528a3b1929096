#include "tools/cli/render.hh"

#include <array>
#include <cstring>
#include <ctime>
#include <map>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>

#include "stack/address.hh"

namespace understudy::tools {

namespace v1 = proto::v1;

namespace {

constexpr int hex_width = 32 * 3 - 1;  // of an excerpt
constexpr auto right = Table::Align::right;

std::string endpoint_text(const v1::Endpoint& endpoint) {
    stack::IpAddress address;
    const std::string& bytes = endpoint.address();
    if (bytes.size() == 4) {
        std::uint32_t host_order = 0;
        for (const char octet : bytes)
            host_order = host_order << 8 | static_cast<std::uint8_t>(octet);
        address = stack::IpAddress::from_v4(host_order);
    } else if (bytes.size() == address.octets.size()) {
        std::memcpy(address.octets.data(), bytes.data(), bytes.size());
    } else {
        return "?";
    }
    return to_string(stack::Endpoint{address, static_cast<std::uint16_t>(endpoint.port())});
}

std::string link_text(const std::string& bytes) {
    stack::LinkAddress link;
    if (bytes.size() != link.octets.size()) return "?";
    std::memcpy(link.octets.data(), bytes.data(), bytes.size());
    return to_string(link);
}

std::string wall_text(std::int64_t wall_ns) {
    constexpr std::int64_t ns_per_s = 1'000'000'000;
    std::int64_t seconds = wall_ns / ns_per_s;
    std::int64_t rest = wall_ns % ns_per_s;
    if (rest < 0) {
        rest += ns_per_s;
        --seconds;
    }
    const std::time_t time = seconds;
    std::tm utc{};
    std::array<char, 64> text{};
    if (gmtime_r(&time, &utc) == nullptr ||
        std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &utc) == 0)
        return "?";
    return fmt::format("{}.{:06}Z", text.data(), rest / 1000);
}

std::string milliseconds(double value) {
    return fmt::format("{:.1f} ms", value);
}

std::string counters_text(const google::protobuf::RepeatedPtrField<v1::Counter>& counters) {
    std::string text;
    for (const v1::Counter& counter : counters)
        if (counter.value() != 0)
            text += fmt::format("{}{} {}", text.empty() ? "" : ", ", counter.name(), counter.value());
    return text.empty() ? "-" : text;
}

void print_connections(std::ostream& out, const v1::ConnectionCounts& counts) {
    out << fmt::format("connections  {} open, {} covered, {} uncovered", counts.open(), counts.covered(),
                       counts.uncovered());
    // The map has no order of its own.
    std::map<std::string, std::uint32_t> why(counts.by_coverage().begin(), counts.by_coverage().end());
    why.erase("covered");
    std::string reasons;
    for (const auto& [name, count] : why)
        if (count != 0) reasons += fmt::format("{}{} {}", reasons.empty() ? "" : ", ", name, count);
    if (!reasons.empty()) out << " (" << reasons << ")";
    if (counts.verified() != 0) out << ", " << counts.verified() << " verified";
    out << '\n';
    if (counts.open() == 0) return;
    out << fmt::format("coverage     {:.1f} % of connections", 100.0 * counts.covered() / counts.open());
    if (counts.bytes() != 0)
        out << fmt::format(", {:.1f} % of bytes", 100.0 * static_cast<double>(counts.covered_bytes()) /
                                                      static_cast<double>(counts.bytes()));
    out << '\n';
    if (counts.lag_bytes() != 0)
        out << fmt::format("lag          applications are {} bytes behind, one of them {}, for {}\n",
                           counts.lag_bytes(), counts.largest_lag_bytes(), milliseconds(counts.largest_lag_ms()));
    if (counts.overlapped() != 0)
        out << fmt::format("overlaps     inputs of {} connections were with the primary together with another's\n",
                           counts.overlapped());
}

void print_mirror_loss(std::ostream& out, const v1::MirrorLoss& loss) {
    if (loss.from_client_bytes() == 0 && loss.from_primary_bytes() == 0) return;
    out << fmt::format("mirror       missed {:.3f} % of {} client bytes, {:.3f} % of {} of the primary\n",
                       100 * loss.from_client_ratio(), loss.from_client_bytes(), 100 * loss.from_primary_ratio(),
                       loss.from_primary_bytes());
}

std::string datagrams_text(const v1::DatagramCounts& counts) {
    return fmt::format(
        ": {} received, {} answered, {} as the primary did, {} not, {} of the primary unmatched",
        counts.received(), counts.answered(), counts.matched(), counts.expired(), counts.unmatched());
}

std::string lag_text(const v1::ConnectionRow& row) {
    if (row.lag_bytes() == 0) return "-";
    return fmt::format("{} B, {}", row.lag_bytes(), milliseconds(row.lag_ms()));
}

std::string state_text(const v1::ServiceStatus& service) {
    if (service.state().empty() || service.state() == "stateless") return "";
    return ", state " + service.state() +
           (service.state() == "attested" ? "" : ": not covered until understudy attest");
}

void print_links(std::ostream& out, const v1::StatusResponse& status) {
    Table table({{"LINK"},
                 {"LOCAL"},
                 {"PEER"},
                 {"STATE"},
                 {"HEARD", right},
                 {"RTT", right},
                 {"JITTER", right},
                 {"LOSS", right}});
    for (const v1::LinkStatus& link : status.links())
        table.add({std::to_string(link.index()), link.local(), link.peer(), link.alive() ? "alive" : "silent",
                   link.has_last_heard_ms_ago() ? milliseconds(link.last_heard_ms_ago()) + " ago" : "never",
                   link.has_rtt_ms() ? fmt::format("{:.3f} ms", link.rtt_ms()) : "-",
                   link.has_jitter_ms() ? fmt::format("{:.3f} ms", link.jitter_ms()) : "-",
                   link.has_loss() ? fmt::format("{:.1f} %", 100 * link.loss()) : "-"});
    if (table.empty()) return;
    out << "\nheartbeats "
        << (status.heartbeat_key().empty() ? "not authenticated"
                                           : "authenticated, key " + status.heartbeat_key())
        << '\n';
    table.print(out);
}

void print_ports(std::ostream& out, const v1::StatusResponse& status) {
    Table table({{"PORT"},
                 {"USE"},
                 {"CARRIER"},
                 {"RECEIVED", right},
                 {"MISSED", right},
                 {"ERRORS", right},
                 {"SENT", right},
                 {"UNSENT", right},
                 {"COUNTERS"}});
    for (const v1::PortStatus& port : status.ports())
        table.add({port.spec(), port.use(), port.carrier() ? "up" : "down",
                   std::to_string(port.received_frames()), std::to_string(port.missed_frames()),
                   std::to_string(port.receive_errors()), std::to_string(port.sent_frames()),
                   std::to_string(port.send_failures()), counters_text(port.counters())});
    if (table.empty()) return;
    out << '\n';
    table.print(out);
}

std::string json_text(const google::protobuf::Message& message) {
    google::protobuf::util::JsonPrintOptions options;
    options.always_print_primitive_fields = true;
    options.preserve_proto_field_names = true;
    std::string text;
    if (!google::protobuf::util::MessageToJsonString(message, &text, options).ok())
        throw std::runtime_error("the answer cannot be written as JSON");
    return text;
}

}  // namespace

std::string to_json(const google::protobuf::Message& message) {
    return json_text(message);
}

std::string to_json(const v1::ConnectionSync& sync) {
    auto json = nlohmann::ordered_json::parse(json_text(sync));
    json["client"] = endpoint_text(sync.client());
    json["service"] = endpoint_text(sync.service());
    json["client_link"] = link_text(sync.client_link());
    return json.dump();
}

nlohmann::ordered_json to_json_object(const v1::Event& event) {
    nlohmann::ordered_json json = {{"sequence", event.sequence()},
                                   {"monotonic_ns", event.monotonic_ns()},
                                   {"wall_ns", event.wall_ns()},
                                   {"event", event.event()}};
    const auto fields = nlohmann::ordered_json::parse(event.fields_json(), nullptr, false);
    if (fields.is_object()) json.update(fields);
    return json;
}

void print_status(std::ostream& out, const v1::StatusResponse& status) {
    out << fmt::format("understudyd {} (pid {}), {}, up {:.1f} s{}\n", status.version(), status.pid(),
                       status.role(), status.uptime_s(), status.ready() ? "" : ", not ready yet");
    out << fmt::format("mode         {} for {:.1f} s; serving: {}\n", status.mode(), status.mode_age_s(),
                       status.serving());
    if (!status.agent().empty()) out << "agent        says " << status.agent() << '\n';
    if (status.maintenance()) out << "maintenance  takeovers but an operator's are forbidden\n";
    if (!status.last_evidence().empty()) out << "decision     " << status.last_evidence() << '\n';
    print_connections(out, status.connections());
    print_mirror_loss(out, status.mirror_loss());
    out << "tap          "
        << (status.has_primary_on_tap_ms_ago() ? fmt::format("last frame of the primary {} ago",
                                                             milliseconds(status.primary_on_tap_ms_ago()))
                                               : "no frame of the primary so far")
        << '\n';
    out << fmt::format("heartbeats   every {}, {} may be missed\n",
                       milliseconds(status.heartbeat_interval_ms()), status.heartbeat_misses());
    for (const v1::ServiceStatus& service : status.services())
        out << fmt::format("service      {} {}{}\n", service.endpoint(), service.application(),
                           service.has_datagrams() ? datagrams_text(service.datagrams()) : state_text(service));
    print_links(out, status);
    print_ports(out, status);
}

void print_datagram_services(std::ostream& out, const v1::StatusResponse& status) {
    Table table({{"UDP SERVICE"},
                 {"APPLICATION"},
                 {"RECEIVED", right},
                 {"ANSWERED", right},
                 {"MATCHED", right},
                 {"EXPIRED", right},
                 {"UNMATCHED", right}});
    for (const v1::ServiceStatus& service : status.services()) {
        if (!service.has_datagrams()) continue;
        const v1::DatagramCounts& counts = service.datagrams();
        table.add({service.endpoint(), service.application(), std::to_string(counts.received()),
                   std::to_string(counts.answered()), std::to_string(counts.matched()),
                   std::to_string(counts.expired()), std::to_string(counts.unmatched())});
    }
    if (table.empty()) return;
    out << '\n';
    table.print(out);
}

Table connection_table() {
    return Table({{"CLIENT"},
                  {"SERVICE"},
                  {"STATE"},
                  {"COVERAGE"},
                  {"SND_UNA", right},
                  {"SND_NXT", right},
                  {"RCV_NXT", right},
                  {"LAG", right},
                  {"RECEIVED", right},
                  {"SENT", right},
                  {"SRTT", right},
                  {"VERIFIED"}});
}

void add_row(Table& table, const v1::ConnectionRow& row) {
    const bool has_offset = row.coverage() == "hole" || row.coverage() == "uncompared" ||
                            row.coverage() == "diverged" || row.coverage() == "conflicting";
    std::string coverage = row.coverage();
    if (has_offset) coverage += fmt::format(" at {}", row.detail());
    if (row.missing_bytes() != 0)
        coverage += fmt::format(", {} bytes for {}", row.missing_bytes(), milliseconds(row.missing_ms()));
    if (!row.hindrance().empty()) coverage += ": " + row.hindrance();
    table.add({row.client(), row.service(), row.state(), coverage, std::to_string(row.snd_una()),
               std::to_string(row.snd_nxt()), std::to_string(row.rcv_nxt()), lag_text(row),
               std::to_string(row.bytes_received()), std::to_string(row.bytes_sent()),
               milliseconds(row.srtt_ms()), row.verified() ? "yes" : "no"});
}

void print_difference(std::ostream& out, const v1::ConnectionRow& row) {
    if (!row.has_difference()) return;
    const v1::Difference& difference = row.difference();
    const auto print = [&out](const char* writer, const v1::Excerpt& excerpt) {
        out << fmt::format("  {:<11}  {:<{}}  |{}|\n", writer, excerpt.hex(), hex_width, excerpt.text());
    };
    out << fmt::format("{} differs at byte {}, after {} equal bytes of these:\n", row.client(),
                       difference.offset(), difference.before());
    print("application", difference.application());
    print("primary", difference.primary());
}

Table sync_table() {
    return Table({{"TIME"},
                  {"CLIENT"},
                  {"SERVICE"},
                  {"CLIENT_ISN", right},
                  {"PRIMARY_ISN", right},
                  {"MSS", right},
                  {"SCALE", right},
                  {"OPTIONS"}});
}

void add_row(Table& table, const v1::ConnectionSync& sync) {
    std::string options;
    const auto add = [&options](bool present, const char* name) {
        if (present) options += (options.empty() ? "" : ",") + std::string(name);
    };
    add(sync.timestamps(), "timestamps");
    add(sync.sack_permitted(), "sack");
    add(sync.inferred(), "inferred");
    table.add({wall_text(sync.wall_ns()), endpoint_text(sync.client()), endpoint_text(sync.service()),
               std::to_string(sync.client_isn()), std::to_string(sync.primary_isn()),
               fmt::format("{}/{}", sync.client_mss(), sync.primary_mss()),
               sync.window_scaling()
                   ? fmt::format("{}/{}", sync.client_window_scale(), sync.primary_window_scale())
                   : "-",
               options.empty() ? "-" : options});
}

void print_event(std::ostream& out, const v1::Event& event) {
    out << wall_text(event.wall_ns()) << ' ' << event.event();
    const auto fields = nlohmann::ordered_json::parse(event.fields_json(), nullptr, false);
    if (fields.is_object())
        for (const auto& [name, value] : fields.items())
            out << ' ' << name << '=' << value.dump();
    out << '\n';
}

void print_counters(std::ostream& out, const v1::CountersResponse& counters, bool all) {
    Table table({{"COUNTER"}, {"VALUE", right}, {"MEANING"}});
    for (const v1::Counter& counter : counters.counters())
        if (all || counter.value() != 0)
            table.add({counter.name(), std::to_string(counter.value()), counter.help()});
    table.print(out);
}

}  // namespace understudy::tools
