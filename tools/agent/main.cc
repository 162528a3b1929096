// understudy-agent: the primary's side of the heartbeats. It leaves the primary's service alone.
#include <list>
#include <memory>
#include <string>
#include <vector>

#include <spdlog/spdlog.h>
#include <boost/asio/io_context.hpp>

#include "failover/heartbeat_service.hh"
#include "tools/agent/announcer.hh"
#include "tools/common/event_log.hh"
#include "tools/common/heartbeat_options.hh"
#include "tools/common/program.hh"

namespace understudy::tools {
namespace {

constexpr const char* program = "understudy-agent";

struct Options {
    HeartbeatOptions heartbeat;
    std::vector<std::string> announce;
    std::string event_log;
};

void add_options(CLI::App& app, Options& options) {
    set_up_app(app, program);
    add_config_option(app);
    add_log_option(app);
    options.heartbeat.add_to(app);
    app.add_option("--announce", options.announce, "send gratuitous ARP for the address at start; repeatable")
        ->type_name("IFACE=ADDR");
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

    EventLog events = open_event_log(options);
    boost::asio::io_context io(1);
    failover::HeartbeatService heartbeats(io, settings, {}, [&events](std::size_t link, bool alive) {
        spdlog::info("event=link link={} alive={}", link, alive);
        events.add("link", {{"link", link}, {"alive", alive}});
    });
    HeartbeatKeyReload key_reload(io, options.heartbeat, heartbeats, events);
    std::list<Announcer> announcers;
    for (const Announcement& announcement : announcements)
        announcers.emplace_back(io, announcement, [&events](const Announcement& sent, std::size_t frames) {
            const std::string address = to_string(sent.address);
            spdlog::info("event=announced interface={} address={} frames={}", sent.interface, address,
                         frames);
            events.add("announced",
                       {{"interface", sent.interface}, {"address", address}, {"frames", frames}});
        });
    const StopSignal stop_signal(io, [&](int signal) {
        spdlog::info("event=stop signal={}", signal);
        events.add("stop", {{"signal", signal}});
        heartbeats.stop();
        io.stop();
    });

    // A primary that is merely busy must not look dead.
    const bool realtime = raise_scheduling_priority();
    spdlog::info("event=start version={} links={} interval_ms={} misses={} realtime={}", version(),
                 settings.links.size(), options.heartbeat.interval_ms, settings.misses, realtime);
    events.add("start", {{"version", version()}, {"links", settings.links.size()}, {"realtime", realtime}});
    warn_without_key(settings);
    for (Announcer& announcer : announcers)
        announcer.start();
    heartbeats.start();
    io.run();
    return exit_success;
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
