// understudy-agent: the primary's side of the heartbeats. It leaves the primary's service alone, but silences it
// while the replica may serve.
#include <list>
#include <memory>
#include <string>
#include <vector>

#include <linux/capability.h>
#include <spdlog/spdlog.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "failover/heartbeat_service.hh"
#include "tools/agent/announcer.hh"
#include "tools/agent/segment_capture.hh"
#include "tools/agent/service_keeper.hh"
#include "tools/common/event_log.hh"
#include "tools/common/heartbeat_options.hh"
#include "tools/common/privileges.hh"
#include "tools/common/program.hh"

namespace understudy::tools {
namespace {

constexpr const char* program = "understudy-agent";

struct Options {
    HeartbeatOptions heartbeat;
    std::vector<std::string> announce;
    std::vector<std::string> services;
    std::string guard;
    double hold_at_start_ms = 0;
    std::string on_stop = "leave";
    double handover_timeout_ms = 5000;
    std::vector<std::string> repair;
    std::size_t repair_buffer_mib = 64;
    std::uint64_t repair_rate_mbit = 100;
    std::string event_log;
};

void add_options(CLI::App& app, Options& options) {
    set_up_app(app, program);
    add_config_option(app);
    add_log_option(app);
    options.heartbeat.add_to(app);
    app.add_option("--announce", options.announce, "send gratuitous ARP for the address at start; repeatable")
        ->type_name("IFACE=ADDR");
    app.add_option("--service", options.services,
                   "the service on this interface is silenced (nftables) while the replica may serve; repeatable")
        ->type_name("IFACE=ADDR:PORT");
    app.add_option("--guard", options.guard,
                   "when the service's process ends, its kernel says no more to the clients, and the replica takes "
                   "over")
        ->type_name("PID|UNIT|CGROUP");
    app.add_option("--hold-at-start-ms", options.hold_at_start_ms,
                   "silence the service from the start until the replica says that it is silent, or this long if no "
                   "replica is heard")
        ->capture_default_str()
        ->check(CLI::Range(0.0, 3.6e6));
    app.add_option("--on-stop", options.on_stop,
                   "what SIGTERM does: leave the service as it is, or switch over to the replica first")
        ->capture_default_str()
        ->check(CLI::IsMember({"leave", "switchover"}));
    app.add_option("--handover-timeout-ms", options.handover_timeout_ms,
                   "a switchover that has not come about by then is undone")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    app.add_option("--repair", options.repair,
                   "keep copies of the service's latest segments and give replicas what their mirror missed; "
                   "repeatable")
        ->type_name("IFACE=ADDR:PORT");
    app.add_option("--repair-buffer-mib", options.repair_buffer_mib, "room for the copies")
        ->capture_default_str()
        ->check(CLI::Range(1, 65536))
        ->type_name("N");
    app.add_option("--repair-rate-mbit", options.repair_rate_mbit, "answers carry at most this much a second")
        ->capture_default_str()
        ->check(CLI::Range(1, 100'000))
        ->type_name("N");
    app.add_option("--event-log", options.event_log, "append events to this file, as JSON lines")
        ->type_name("FILE");
}

EventLog open_event_log(const Options& options) {
    return options.event_log.empty() ? EventLog() : EventLog(options.event_log);
}

int serve(const Options& options) {
    const failover::HeartbeatSettings settings = options.heartbeat.settings(failover::Role::agent);
    std::vector<Announcement> announcements;
    for (const std::string& text : options.announce)
        announcements.push_back(parse_announcement(text));
    if (settings.links.empty() && announcements.empty())
        throw UsageError("nothing to do: give --heartbeat LOCAL:PORT,PEER:PORT, or --announce IFACE=ADDR");

    SegmentCapture::Settings capture;
    for (const std::string& text : options.repair)
        capture.services.push_back(parse_service_on_port("--repair", text));
    capture.buffer_bytes = options.repair_buffer_mib << 20;
    capture.bytes_per_second = options.repair_rate_mbit * 1'000'000 / 8;
    if (!capture.services.empty() && (settings.links.empty() || !settings.key))
        throw UsageError(
            "--repair needs --heartbeat and --heartbeat-key: it answers authenticated requests alone");

    const auto ms = [](double value) {
        return std::chrono::duration_cast<failover::Duration>(std::chrono::duration<double, std::milli>(value));
    };
    ServiceKeeper::Settings kept{.services = {}, .guard = options.guard, .machine = {}};
    for (const std::string& text : options.services)
        kept.services.push_back(parse_service_on_port("--service", text));
    kept.machine.hold_at_start = ms(options.hold_at_start_ms);
    kept.machine.handover_timeout = ms(options.handover_timeout_ms);
    kept.machine.replica_deadline = settings.interval * settings.misses;
    if (!kept.services.empty() && (settings.links.empty() || !settings.key))
        throw UsageError("--service needs --heartbeat and --heartbeat-key: only an authentic word silences a service");
    if (kept.services.empty() &&
        (!options.guard.empty() || options.on_stop != "leave" || options.hold_at_start_ms > 0))
        throw UsageError("--guard, --hold-at-start-ms and --on-stop need --service IFACE=ADDR:PORT");

    EventLog events = open_event_log(options);
    boost::asio::io_context io(1);
    failover::HeartbeatService heartbeats(io, settings, {}, [&events](std::size_t link, bool alive) {
        spdlog::info("event=link link={} alive={}", link, alive);
        events.add("link", {{"link", link}, {"alive", alive}});
    });
    HeartbeatKeyReload key_reload(io, options.heartbeat, heartbeats, events);
    std::unique_ptr<SegmentCapture> segments;
    if (!capture.services.empty()) {
        segments =
            std::make_unique<SegmentCapture>(capture, [&](std::vector<proto::v1::RepairAnswer> answers) {
                boost::asio::post(io, [&heartbeats, answers = std::move(answers)]() mutable {
                    for (proto::v1::RepairAnswer& answer : answers) {
                        proto::v1::Repair message;
                        *message.mutable_answer() = std::move(answer);
                        heartbeats.send_repair(message);
                    }
                });
            });
        heartbeats.on_repair([&segments](const proto::v1::Repair& message) {
            if (message.has_request()) segments->ask(message.request());
        });
    }
    std::list<Announcer> announcers;
    for (const Announcement& announcement : announcements)
        announcers.emplace_back(io, announcement, [&events](const Announcement& sent, std::size_t frames) {
            const std::string address = to_string(sent.address);
            spdlog::info("event=announced interface={} address={} frames={}", sent.interface, address,
                         frames);
            events.add("announced",
                       {{"interface", sent.interface}, {"address", address}, {"frames", frames}});
        });
    const auto announce = [&announcers] {
        for (Announcer& announcer : announcers)
            announcer.start();
    };
    std::unique_ptr<ServiceKeeper> keeper;
    if (!kept.services.empty()) {
        keeper = std::make_unique<ServiceKeeper>(io, kept, heartbeats, events, announce);
        heartbeats.on_words([&keeper](const failover::PeerWords& words, failover::Instant at) {
            if (words.replica) keeper->replica_says(*words.replica, at);
        });
    }
    int status = exit_success;
    const auto end = [&] {
        if (keeper) keeper->stop();
        heartbeats.stop();
        io.stop();
    };
    const StopSignal stop_signal(io, [&](int signal) {
        spdlog::info("event=stop signal={}", signal);
        events.add("stop", {{"signal", signal}});
        if (!keeper || options.on_stop == "leave") return end();
        keeper->hand_over([&](ServiceKeeper::Handover handover) {
            const bool done = handover == ServiceKeeper::Handover::done;
            const bool undone = handover == ServiceKeeper::Handover::undone;
            const char* const outcome = done ? "done" : undone ? "undone" : "uncertain";
            events.add("handover", {{"outcome", outcome}});
            spdlog::log(done ? spdlog::level::info : spdlog::level::critical,
                        "event=handover outcome={}: {}", outcome,
                        done     ? "the replica serves, and the service here stays silenced"
                        : undone ? "no replica took over, and the service speaks"
                                 : "the replica does not say what it does, and the service stays silenced");
            if (!done) status = exit_failure;
            end();
        });
    });

    // Its thread keeps the ordinary priority.
    if (segments) segments->start();
    // A primary that is merely busy must not look dead.
    const bool realtime = raise_scheduling_priority();
    // For nftables, tc and the guard's maps; every socket is open.
    keep_capabilities({CAP_NET_ADMIN, CAP_BPF});
    spdlog::info("event=start version={} links={} interval_ms={} misses={} realtime={}", version(),
                 settings.links.size(), options.heartbeat.interval_ms, settings.misses, realtime);
    events.add("start", {{"version", version()}, {"links", settings.links.size()}, {"realtime", realtime}});
    warn_without_key(settings);
    if (!keeper) announce();
    heartbeats.start();
    if (keeper) keeper->start();
    io.run();
    if (segments) {
        segments->stop();
        spdlog::info("event=repair {}", segments->summary());
    }
    return status;
}

}  // namespace
}  // namespace understudy::tools

int main(int argc, char** argv) {
    using namespace understudy::tools;
    set_up_logging(program);
    CLI::App app(
        "Answers the replica's heartbeats on the primary, and announces the service address at start.");
    return run_program(program, [&] {
        Options options;
        add_options(app, options);
        if (const auto status = parse_command_line(app, argc, argv)) return *status;
        return serve(options);
    });
}
