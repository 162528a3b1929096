#include "tools/common/heartbeat_options.hh"

#include <chrono>
#include <csignal>
#include <stdexcept>

#include <spdlog/spdlog.h>

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
    app.add_option(
           "--heartbeat-key", key_file,
           "authenticate heartbeats with the key in this file, 64 hexadecimal digits, mode 0600; SIGHUP "
           "rereads it")
        ->type_name("FILE");
    app.add_option("--heartbeat-key-overlap-s", key_overlap_s,
                   "how long the earlier key is accepted after another replaced it")
        ->capture_default_str()
        ->check(CLI::Range(0.0, 86'400.0))
        ->type_name("S");
}

failover::HeartbeatSettings HeartbeatOptions::settings(failover::Role role) const {
    failover::HeartbeatSettings settings;
    settings.role = role;
    settings.key_overlap =
        std::chrono::duration_cast<failover::Duration>(std::chrono::duration<double>(key_overlap_s));
    if (!key_file.empty()) {
        try {
            settings.key = failover::read_heartbeat_key(key_file);
        } catch (const failover::HeartbeatKeyError& error) {
            throw UsageError(error.what());
        }
    }
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

HeartbeatKeyReload::HeartbeatKeyReload(boost::asio::io_context& io, const HeartbeatOptions& options,
                                       failover::HeartbeatService& service, EventLog& events)
    : signals_(io, SIGHUP), key_file_(options.key_file), service_(service), events_(events) {
    wait();
}

void HeartbeatKeyReload::stop() {
    signals_.cancel();
}

void HeartbeatKeyReload::wait() {
    signals_.async_wait([this](boost::system::error_code error, int) {
        if (error) return;
        reload();
        wait();
    });
}

void HeartbeatKeyReload::reload() {
    if (key_file_.empty()) return;
    try {
        const failover::HeartbeatKey key = failover::read_heartbeat_key(key_file_);
        const std::string id = failover::key_id_text(key.id());
        const bool changed = service_.rekey(key);
        spdlog::info("event=heartbeat_key id={} changed={}", id, changed);
        events_.add("heartbeat_key", {{"id", id}, {"changed", changed}});
    } catch (const failover::HeartbeatKeyError& error) {
        spdlog::error("the heartbeat key stays as it was: {}", error.what());
        events_.add("heartbeat_key_refused", {{"reason", error.what()}});
    }
}

void warn_without_key(const failover::HeartbeatSettings& settings) {
    if (!settings.links.empty() && !settings.key)
        spdlog::warn("heartbeats are not authenticated: give both ends --heartbeat-key FILE");
}

void report_heartbeats(const failover::HeartbeatService& service, proto::v1::StatusResponse& status) {
    const failover::HeartbeatSettings& settings = service.settings();
    const failover::Instant now = failover::monotonic_now();
    status.set_heartbeat_interval_ms(milliseconds(settings.interval));
    status.set_heartbeat_misses(settings.misses);
    if (const auto key = service.newest_key()) status.set_heartbeat_key(failover::key_id_text(*key));
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
