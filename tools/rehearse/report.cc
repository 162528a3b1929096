#include "tools/rehearse/report.hh"

#include <algorithm>
#include <map>
#include <ostream>

#include <fmt/format.h>

#include "tools/cli/render.hh"
#include "tools/cli/table.hh"
#include "tools/daemon/connection_sync.hh"

namespace understudy::rehearse {
namespace {

using nlohmann::ordered_json;
using stack::Coverage;

constexpr auto right = tools::Table::Align::right;
// Of each takeover, in text; JSON has them all.
constexpr std::size_t most_printed_frames = 40;

double to_seconds(Duration duration) {
    return static_cast<double>(duration.count()) / 1e9;
}

double to_milliseconds(Duration duration) {
    return static_cast<double>(duration.count()) / 1e6;
}

struct Refused {
    std::uint64_t wrong = 0;
    std::uint64_t unfilled = 0;  // by the sender, who left it to its NIC
};

// Frames of the service that count as lost for their checksums.
Refused refused_checksums(const stack::Counters& c) {
    return {c.drop_ip_checksum + c.drop_tcp_checksum + c.drop_udp_checksum,
            c.drop_unfilled_ip_checksum + c.drop_unfilled_checksum + c.drop_udp_unfilled_checksum};
}

std::string coverage_text(const stack::ConnectionSnapshot& c) {
    std::string text = stack::to_string(c.coverage);
    switch (c.coverage) {
        case Coverage::hole:
        case Coverage::uncompared:
        case Coverage::diverged:
        case Coverage::conflicting:
            text += fmt::format(" at {}", c.detail);
            break;
        case Coverage::not_continuable:
            text += fmt::format(": {}", stack::to_string(c.hindrance));
            break;
        default:
            break;
    }
    if (lag_bytes(c) != 0) text += fmt::format(", {} bytes behind", lag_bytes(c));
    return text;
}

void print_connections(std::ostream& out, const PlayReport& whole) {
    if (whole.connections.empty()) return;
    tools::Table table({{"CLIENT"},
                        {"COVERAGE"},
                        {"FROM", right},
                        {"TO", right},
                        {"RECEIVED", right},
                        {"WRITTEN", right},
                        {"LAG", right},
                        {"LAG_TIME", right},
                        {"END"}});
    for (const ConnectionReport& c : whole.connections)
        table.add({stack::to_string(c.last.client), coverage_text(c.last),
                   fmt::format("{:.3f} s", to_seconds(c.began)), fmt::format("{:.3f} s", to_seconds(c.ended)),
                   std::to_string(c.last.bytes_received), std::to_string(c.last.bytes_sent),
                   std::to_string(c.largest_lag_bytes),
                   fmt::format("{:.1f} ms", to_milliseconds(c.longest_lag)),
                   c.closed ? stack::to_string(*c.closed) : "open"});
    out << '\n';
    table.print(out);
    for (const ConnectionReport& c : whole.connections) {
        tools::print_difference(out, tools::to_connection_row(c.last));
        if (c.turns.size() < 2) continue;
        out << stack::to_string(c.last.client) << " was";
        for (const Turn& turn : c.turns)
            out << fmt::format("{} {} from {:.3f} s on", &turn == &c.turns.front() ? "" : ",",
                               stack::to_string(turn.coverage), to_seconds(turn.at));
        out << '\n';
    }
}

void print_takeover(std::ostream& out, const TakeoverReport& t) {
    out << fmt::format(
        "\na takeover at {:.3f} s, with {} connections, {} of them covered: {} carried on, {} reset, {} "
        "handshakes "
        "completed, {} datagrams sent\n",
        to_seconds(t.at), t.connections, t.covered, t.promoted.promoted, t.promoted.reset,
        t.promoted.half_open, t.promoted.datagrams);
    tools::Table table({{"AFTER", right}, {"FRAME"}, {"TO"}, {"BYTES"}});
    for (const SentFrame& f : std::span(t.frames).first(std::min(t.frames.size(), most_printed_frames))) {
        std::string bytes = "-";
        if (f.payload_bytes != 0)
            bytes = f.offset ? fmt::format("{} to {}", *f.offset, *f.offset + f.payload_bytes)
                             : std::to_string(f.payload_bytes);
        table.add({fmt::format("{:.3f} ms", to_milliseconds(f.after)), f.kind,
                   f.client.port == 0 ? "all" : stack::to_string(f.client), bytes});
    }
    if (!table.empty()) table.print(out);
    if (t.frames.size() > most_printed_frames)
        out << "and " << t.frames.size() - most_printed_frames << " more frames; --json has them all\n";
}

ordered_json takeover_json(const TakeoverReport& t) {
    ordered_json frames = ordered_json::array();
    for (const SentFrame& f : t.frames) {
        ordered_json frame = {{"after_ms", to_milliseconds(f.after)}, {"kind", f.kind}};
        if (f.client.port != 0) frame["client"] = stack::to_string(f.client);
        if (f.offset) frame["offset"] = *f.offset;
        frame["payload_bytes"] = f.payload_bytes;
        frames.push_back(std::move(frame));
    }
    return {{"at_s", to_seconds(t.at)},
            {"connections", t.connections},
            {"covered", t.covered},
            {"promoted", t.promoted.promoted},
            {"reset", t.promoted.reset},
            {"half_open", t.promoted.half_open},
            {"datagrams", t.promoted.datagrams},
            {"frames", std::move(frames)}};
}

ordered_json connection_json(const ConnectionReport& c) {
    ordered_json turns = ordered_json::array();
    for (const Turn& turn : c.turns)
        turns.push_back({{"at_s", to_seconds(turn.at)}, {"coverage", stack::to_string(turn.coverage)}});
    return {{"client", stack::to_string(c.last.client)},
            {"coverage", stack::to_string(c.last.coverage)},
            {"began_s", to_seconds(c.began)},
            {"ended_s", to_seconds(c.ended)},
            {"closed", c.closed ? ordered_json(stack::to_string(*c.closed)) : ordered_json(nullptr)},
            {"largest_lag_bytes", c.largest_lag_bytes},
            {"longest_lag_ms", to_milliseconds(c.longest_lag)},
            {"turns", std::move(turns)},
            {"row", ordered_json::parse(tools::to_json(tools::to_connection_row(c.last)))}};
}

}  // namespace

bool Rehearsal::fit() const {
    bool any = whole.judged() != 0;
    if (whole.covered() != whole.judged()) return false;
    for (const stack::DatagramServiceSnapshot& counts : whole.datagram_services) {
        if (counts.expired != 0 || counts.unmatched != 0) return false;
        any = any || counts.matched != 0;
    }
    return any;
}

void print_report(std::ostream& out, const Rehearsal& rehearsal) {
    const PlayReport& whole = rehearsal.whole;
    out << fmt::format("capture      {}: {} frames in {:.3f} s, {} of them of {}\n", rehearsal.capture,
                       whole.frames, to_seconds(whole.length), whole.service_frames, rehearsal.service);
    if (whole.unreadable_frames != 0)
        out << fmt::format("             {} frames of the file cannot be read, or it breaks off\n",
                           whole.unreadable_frames);
    const Refused refused = refused_checksums(whole.counters);
    if (refused.wrong != 0)
        out << fmt::format("             {} have a wrong checksum: lost\n", refused.wrong);
    if (refused.unfilled != 0)
        out << fmt::format(
            "             {} have a checksum that their sender left to its NIC: lost without "
            "--accept-unfilled-checksums\n",
            refused.unfilled);
    std::map<std::string, std::size_t> kinds;
    for (const ConnectionReport& c : whole.connections)
        ++kinds[c.last.coverage != Coverage::covered ? stack::to_string(c.last.coverage)
                : lag_bytes(c.last) != 0             ? "behind"
                                                     : "covered"];
    kinds.erase("covered");
    std::string others;
    for (const auto& [name, count] : kinds)
        others += fmt::format(", {} {}", count, name);
    out << fmt::format("connections  {}, {} of them can be judged: {} covered{}\n", whole.connections.size(),
                       whole.judged(), whole.covered(), others);
    for (const stack::DatagramServiceSnapshot& s : whole.datagram_services)
        out << fmt::format(
            "datagrams    {} received, {} answered, {} as the primary did, {} not, {} of the primary "
            "unmatched\n",
            s.received, s.answered, s.matched, s.expired, s.unmatched);
    const bool empty = whole.judged() == 0 && whole.datagram_services.empty();
    out << "verdict      "
        << (rehearsal.fit() ? "fit: " + rehearsal.performer + " answers as the primary did"
            : empty         ? "none: the capture shows no connection of this service from its beginning on"
                            : "not fit as it is")
        << '\n';
    print_connections(out, whole);
    for (const TakeoverReport& takeover : rehearsal.takeovers)
        print_takeover(out, takeover);
}

ordered_json to_json(const Rehearsal& rehearsal) {
    const PlayReport& whole = rehearsal.whole;
    const Refused refused = refused_checksums(whole.counters);
    ordered_json connections = ordered_json::array();
    for (const ConnectionReport& c : whole.connections)
        connections.push_back(connection_json(c));
    ordered_json services = ordered_json::array();
    for (const stack::DatagramServiceSnapshot& s : whole.datagram_services)
        services.push_back({{"received", s.received},
                            {"answered", s.answered},
                            {"matched", s.matched},
                            {"expired", s.expired},
                            {"unmatched", s.unmatched}});
    ordered_json takeovers = ordered_json::array();
    for (const TakeoverReport& takeover : rehearsal.takeovers)
        takeovers.push_back(takeover_json(takeover));
    return {{"capture", rehearsal.capture},
            {"service", rehearsal.service},
            {"application", rehearsal.performer},
            {"fit", rehearsal.fit()},
            {"frames", whole.frames},
            {"service_frames", whole.service_frames},
            {"unreadable_frames", whole.unreadable_frames},
            {"refused_checksums", {{"wrong", refused.wrong}, {"unfilled", refused.unfilled}}},
            {"length_s", to_seconds(whole.length)},
            {"judged", whole.judged()},
            {"covered", whole.covered()},
            {"connections", std::move(connections)},
            {"datagram_services", std::move(services)},
            {"takeovers", std::move(takeovers)}};
}

}  // namespace understudy::rehearse
