#include "tools/common/heartbeat_options.hh"

#include <chrono>
#include <stdexcept>

#include "tools/common/program.hh"

namespace understudy::tools {
namespace {

double milliseconds(failover::Duration duration) {
    return std::chrono::duration<double, std::milli>(duration).count();
}

}  // namespace

void HeartbeatOptions::add_to(CLI::App& app) {
    app.add_option("--heartbeat", links, "a heartbeat link; repeat it for each of them")
        ->type_name("LOCAL:PORT,PEER:PORT[,IFACE]");
    app.add_option("--heartbeat-interval-ms", interval_ms, "a Hello is sent this often on each link")
        ->capture_default_str()
        ->check(CLI::Range(1, 3'600'000))
        ->type_name("MS");
    app.add_option("--heartbeat-misses", misses, "intervals without a sign of life until a link is silent")
        ->capture_default_str()
        ->check(CLI::Range(1, 1000))
        ->type_name("N");
}

failover::HeartbeatSettings HeartbeatOptions::settings() const {
    failover::HeartbeatSettings settings;
    settings.interval = std::chrono::milliseconds(interval_ms);
    settings.misses = misses;
    if (links.size() > failover::HeartbeatSettings::max_links)
        throw UsageError("--heartbeat is given " + std::to_string(links.size()) + " times; at most " +
                         std::to_string(failover::HeartbeatSettings::max_links) + " links are possible");
    for (const std::string& link : links) {
        try {
            settings.links.push_back(failover::parse_link_addressing(link));
        } catch (const std::invalid_argument& error) {
            throw UsageError(std::string("--heartbeat: ") + error.what());
        }
    }
    return settings;
}

void report_heartbeats(const failover::HeartbeatService& service, proto::v1::StatusResponse& status) {
    const failover::HeartbeatSettings& settings = service.settings();
    const failover::Instant now = failover::monotonic_now();
    status.set_heartbeat_interval_ms(milliseconds(settings.interval));
    status.set_heartbeat_misses(settings.misses);
    for (std::size_t i = 0; i < settings.links.size(); ++i) {
        const failover::LinkStatus known = service.status(i);
        proto::v1::LinkStatus& link = *status.add_links();
        link.set_index(static_cast<std::uint32_t>(i));
        link.set_local(failover::to_string(settings.links[i].local));
        link.set_peer(failover::to_string(settings.links[i].peer));
        link.set_interface(settings.links[i].interface);
        link.set_alive(known.alive);
        if (known.heard) link.set_last_heard_ms_ago(milliseconds(now - *known.heard));
        if (known.rtt) link.set_rtt_ms(milliseconds(*known.rtt));
        if (known.jitter) link.set_jitter_ms(milliseconds(*known.jitter));
        if (known.loss) link.set_loss(*known.loss);
        for (const failover::LinkCounterInfo& info : failover::link_counter_table()) {
            proto::v1::Counter& counter = *link.add_counters();
            counter.set_name(info.name);
            counter.set_value(known.counters.*info.value);
            counter.set_help(info.help);
        }
    }
}

}  // namespace understudy::tools
