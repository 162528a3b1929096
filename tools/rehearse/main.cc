// understudy-rehearse (`understudy rehearse`): is a server fit to be replicated?
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "shadow_app/registry.hh"
#include "tap/port.hh"
#include "tools/common/program.hh"
#include "tools/rehearse/report.hh"

namespace understudy::rehearse {
namespace {

constexpr const char* program = "understudy rehearse";
constexpr auto progress_interval = std::chrono::seconds(1);

struct Options {
    std::string pcap;
    std::string service;
    std::string app;
    std::vector<std::string> command;
    std::string primary_link_address;
    std::vector<std::string> decapsulate;
    std::vector<double> takeover_at;
    std::string time = "virtual";
    bool align = false;
    bool accept_unfilled_checksums = false;
    bool cover_inferred = false;
    bool json = false;
};

void add_options(CLI::App& cli, Options& o) {
    cli.add_option("--pcap", o.pcap, "the capture, pcap or pcapng, of any link that a tap file may have")
        ->required()
        ->type_name("FILE");
    cli.add_option("--service", o.service,
                   "whose clients and primary the capture shows, such as 10.77.0.1:7000")
        ->required()
        ->type_name("ADDR:PORT");
    cli.add_option("--app", o.app,
                   "application to play it to: " + shadow_app::application_names() + ", " +
                       shadow_app::datagram_application_names())
        ->type_name("NAME");
    cli.add_option("command", o.command, "server program to play it to, behind --")->type_name("CMD");
    cli.add_option("--takeover-at", o.takeover_at,
                   "seconds after the first frame: what would have been sent at a takeover then")
        ->delimiter(',')
        ->check(CLI::Range(0.0, 1e9))
        ->type_name("S,...");
    cli.add_option("--time", o.time, "virtual: as fast as it goes; recorded: at the capture's pace")
        ->check(CLI::IsMember({"virtual", "recorded"}))
        ->capture_default_str();
    cli.add_option("--primary-link-address", o.primary_link_address,
                   "frames from the service's address count from here alone; default: from anywhere")
        ->type_name("MAC");
    cli.add_option("--decapsulate", o.decapsulate,
                   "tunnels to open, beside VLAN tags: " + std::string(tap::wrapping_names()))
        ->delimiter(',')
        ->type_name("LIST");
    cli.add_flag("--align", o.align, "answers may differ, as with align=request of a service");
    cli.add_flag("--accept-unfilled-checksums", o.accept_unfilled_checksums,
                 "of captures taken on the primary itself, where the NIC fills them in later");
    cli.add_flag("--cover-inferred", o.cover_inferred,
                 "connections of whose handshake a part is missing count as covered");
    cli.add_flag("--json", o.json, "print JSON");
}

Settings make_settings(const Options& o) {
    Settings settings;
    settings.capture = o.pcap;
    const auto service = stack::parse_endpoint(o.service);
    if (!service || service->port == 0)
        throw tools::UsageError("--service " + o.service + ": not ADDR:PORT, such as 10.77.0.1:7000");
    settings.service = *service;
    if (o.app.empty() == o.command.empty())
        throw tools::UsageError("name what the capture is played to: --app NAME, or -- CMD");
    if (!o.command.empty())
        throw tools::UsageError("-- " + o.command.front() +
                                ": programs cannot be rehearsed yet, only applications; use --app NAME");
    settings.over_datagrams = shadow_app::make_datagram_application(o.app) != nullptr;
    if (!o.primary_link_address.empty()) {
        settings.primary_link = stack::parse_link_address(o.primary_link_address);
        if (!settings.primary_link)
            throw tools::UsageError("--primary-link-address " + o.primary_link_address +
                                    ": not a link-level address like 02:00:00:00:00:01");
    }
    for (const std::string& name : o.decapsulate) {
        const auto wrapping = tap::parse_wrapping(name);
        if (!wrapping)
            throw tools::UsageError("--decapsulate: \"" + name + "\" is none of " +
                                    std::string(tap::wrapping_names()));
        settings.wrappings = settings.wrappings.with(*wrapping);
    }
    settings.replication.align_requests = o.align;
    settings.shadow.accept_unfilled_checksums = o.accept_unfilled_checksums;
    settings.shadow.cover_inferred = o.cover_inferred;
    return settings;
}

Duration from_seconds(double seconds) {
    return Duration(static_cast<Duration::rep>(seconds * 1e9));
}

// A line a second, on standard error, of whatever takes longer.
Progress make_progress() {
    auto next = std::chrono::steady_clock::now() + progress_interval;
    return [next](std::uint64_t frames, Duration at) mutable {
        const auto now = std::chrono::steady_clock::now();
        if (now < next) return;
        next = now + progress_interval;
        std::cerr << fmt::format("{}: {} frames, {:.1f} s of the capture\n", program, frames,
                                 static_cast<double>(at.count()) / 1e9);
    };
}

Pace make_pace(const std::string& time) {
    if (time == "virtual") return {};
    const auto began = std::chrono::steady_clock::now();
    return [began](Duration at) { std::this_thread::sleep_until(began + at); };
}

Rehearsal rehearse(const Options& options) {
    const Settings settings = make_settings(options);
    const PerformerFactory performer = [&options] { return make_native_performer(options.app); };
    Rehearsal rehearsal;
    rehearsal.capture = options.pcap;
    rehearsal.service = options.service + (settings.over_datagrams ? "/udp" : "");
    rehearsal.performer = options.app;
    rehearsal.whole = play(settings, performer,
                           {.takeover_at = {}, .progress = make_progress(), .pace = make_pace(options.time)});
    for (const double at : options.takeover_at) {
        PlayReport report = play(
            settings, performer,
            {.takeover_at = from_seconds(at), .progress = make_progress(), .pace = make_pace(options.time)});
        rehearsal.takeovers.push_back(std::move(*report.takeover));
    }
    return rehearsal;
}

int run(int argc, const char* const* argv) {
    CLI::App cli(
        "Plays a capture to an application as a shadow would receive it, and says of each connection "
        "whether a takeover would have been invisible. Exit status: 0 fit, 1 not fit, 2 wrong usage, or a "
        "capture that cannot be read.");
    tools::set_up_app(cli, program);
    Options options;
    add_options(cli, options);
    if (const auto status = tools::parse_command_line(cli, argc, argv)) return *status;
    Rehearsal rehearsal;
    try {
        rehearsal = rehearse(options);
    } catch (const tap::PortError& error) {
        throw tools::UsageError(std::string("--pcap: ") + error.what());
    }
    if (options.json)
        std::cout << to_json(rehearsal).dump(1) << '\n';
    else
        print_report(std::cout, rehearsal);
    std::cout.flush();
    if (!std::cout) throw std::runtime_error("cannot write to standard output");
    return rehearsal.fit() ? tools::exit_success : tools::exit_failure;
}

}  // namespace
}  // namespace understudy::rehearse

int main(int argc, char** argv) {
    using namespace understudy;
    return tools::run_program(rehearse::program, [&] { return rehearse::run(argc, argv); });
}
