#include "tools/daemon/replica.hh"

#include <sodium/randombytes.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <ctime>

#include <boost/asio/post.hpp>

#include "tap/dpdk_port.hh"
#include "tap/open_port.hh"
#include "tools/common/program.hh"
#include "tools/daemon/connection_sync.hh"
#include "tools/daemon/status.hh"

namespace understudy::tools {
namespace {

constexpr std::chrono::milliseconds seed_writing_interval{50};
constexpr double ns_per_ms = 1e6;

double ms_between(std::chrono::nanoseconds from, std::chrono::nanoseconds to) {
    return static_cast<double>((to - from).count()) / ns_per_ms;
}

std::int64_t wall_offset_ns() {
    timespec wall{}, monotonic{};
    clock_gettime(CLOCK_REALTIME, &wall);
    clock_gettime(CLOCK_MONOTONIC, &monotonic);
    return (wall.tv_sec - monotonic.tv_sec) * 1'000'000'000 + (wall.tv_nsec - monotonic.tv_nsec);
}

std::uint64_t unpredictable() {
    std::uint64_t value = 0;
    randombytes_buf(&value, sizeof value);
    return value;
}

proto::v1::ControlResponse cores_do_not_keep_up() {
    return error_response(proto::v1::ControlError::TIMED_OUT, "the data plane does not take tasks");
}

bool uses_dpdk(const std::string& spec) {
    return spec.starts_with("dpdk:");
}

// As it is given to --service.
std::string service_name(const DaemonConfig::Service& service) {
    return service.transport == tap::Transport::udp ? datagram_service_name(service.endpoint)
                                                    : stack::to_string(service.endpoint);
}

std::unique_ptr<DataPlane> open_data_plane(const DaemonConfig& config) {
    bool dpdk = uses_dpdk(config.service_port);
    for (const std::string& tap : config.taps)
        dpdk = dpdk || uses_dpdk(tap);
    if (dpdk) tap::start_dpdk({.arguments = config.dpdk_args});

    DataPlane::Settings settings;
    settings.cores = config.cores;
    settings.ring_bytes = config.core_ring_bytes;
    for (const auto& service : config.services)
        (service.transport == tap::Transport::udp ? settings.datagram_applications : settings.applications)
            .emplace_back(service.endpoint, service.application);
    std::vector<std::unique_ptr<tap::Port>> taps;
    for (const std::string& spec : config.taps)
        taps.push_back(
            tap::open_port(spec, {.promiscuous = true, .queues = DataPlane::tap_queues(settings)}));
    auto service_port = tap::open_port(config.service_port, {.promiscuous = false, .queues = config.cores});

    settings.stack = config.stack;
    settings.stack.link_address = config.own_link.value_or(stack::LinkAddress{service_port->link_address()});
    settings.stack.mtu = service_port->mtu();
    settings.classifier.primary_link = config.primary_link.octets;
    settings.classifier.extra_filter = config.tap_filter;
    settings.wrappings = config.wrappings;
    for (const auto& service : config.services)
        settings.classifier.services.push_back(
            {service.endpoint.address.octets, service.endpoint.port, service.transport});
    settings.poll = config.poll;
    settings.max_sleep = config.poll_max_sleep;
    return std::make_unique<DataPlane>(settings, std::move(taps), std::move(service_port));
}

}  // namespace

Replica::Replica(boost::asio::io_context& io, const DaemonConfig& config, EventLog& events)
    : io_(io),
      config_(config),
      events_(events),
      seed_timer_(io),
      started_at_(failover::monotonic_now()),
      mode_since_(started_at_) {
    control_ = std::make_unique<ControlServer>(io, ControlServerSettings{.path = config.control}, *this);
    if (!config.record.empty()) recording_.emplace(config.record);
    if (config.probe) open_probe();
    failover::DecisionSettings decision = config.decision;
    decision.probe = probe_ != nullptr;
    if (decision.fence)
        fence_ = std::make_unique<failover::Fence>(
            io, config.fence, [this](std::uint32_t attempt, const failover::CommandResult& result) {
                events_.add(result.succeeded ? "fenced" : "fence_failed",
                            {{"attempt", attempt}, {"outcome", result.outcome}});
                spdlog::warn("fence attempt={} outcome=\"{}\"", attempt, result.outcome);
            });
    watcher_ = std::make_unique<failover::Watcher>(
        io, decision,
        failover::Watcher::Senses{.read_links = [this] { return read_links(); },
                                  .tap = [this] { return look_at_tap(); },
                                  .send_probe = [this] { probe_->send(); }},
        [this](const failover::Action& action) { on_action(action); });
    heartbeats_ = std::make_unique<failover::HeartbeatService>(
        io, config.heartbeat,
        [this](std::size_t link, failover::Instant at) { watcher_->heartbeat(link, at); },
        [this](std::size_t link, bool alive) {
            events_.add(alive ? "link_heard" : "link_silent", {{"link", link}});
        });
    key_reload_ = std::make_unique<HeartbeatKeyReload>(io, config.heartbeat_options, *heartbeats_, events);
    warn_without_key(config.heartbeat);
    plane_ = open_data_plane(config);
    attestations_ = std::make_unique<Attestations>(*plane_, events_, config_.stack.services);
    if (config.metrics_listen)
        metrics_ = std::make_unique<Metrics>(io, *this, stack::to_string(*config.metrics_listen));
    if (config.repair) repairer_ = std::make_unique<Repairer>(io, *plane_, *heartbeats_, unpredictable());
}

Replica::~Replica() {
    stop();
}

void Replica::start() {
    plane_->start();
    schedule_seed_writing();
    // Ready once every core has been round its loop: the ports are polled from then on.
    const auto is_round = [](const Core&) { return true; };
    plane_->ask_each<char>(is_round, [this](const std::vector<char>&) {
        boost::asio::post(io_, [this] {
            heartbeats_->start();
            watcher_->start();
            if (repairer_) repairer_->start();
            EventFields fields = {{"services", nlohmann::ordered_json::array()}};
            for (const auto& service : config_.services)
                fields["services"].push_back(service_name(service) + "=" + service.application);
            fields["cores"] = plane_->cores();
            fields["poll"] = config_.poll == PollMode::busy ? "busy" : "adaptive";
            fields["checksums_sent_by"] =
                plane_->service_port().offloads().transmit_checksums ? "port" : "software";
            fields["filter_engine"] = std::string(plane_->core(0).classifier().filter_engine());
            events_.add("ready", fields);
            spdlog::info("ready mode=silent services={}", fields["services"].dump());
        });
    });
}

void Replica::stop() {
    metrics_.reset();
    if (watcher_) watcher_->stop();
    if (repairer_) repairer_->stop();
    if (key_reload_) key_reload_->stop();
    if (heartbeats_) heartbeats_->stop();
    seed_timer_.cancel();
    if (plane_) {
        plane_->stop();
        write_seeds();
    }
    control_.reset();
}

void Replica::open_probe() {
    auto probe = std::make_unique<failover::LinkProbe>(config_.heartbeat.links, unpredictable);
    if (!probe->why().empty()) spdlog::warn("{}", probe->why());
    if (probe->available()) probe_ = std::move(probe);
}

failover::Instant Replica::read_links() {
    const failover::Instant until = heartbeats_->read_all();
    if (probe_ && probe_->read_answers()) watcher_->probe_answered(failover::monotonic_now());
    return until;
}

failover::Watcher::Tap Replica::look_at_tap() const {
    // In this order: a frame that is read in between is known, and counts as life.
    const failover::Instant read_until(plane_->taps_read_until().time_since_epoch());
    const auto newest = plane_->newest_from_primary();
    failover::Watcher::Tap tap{.newest = {}, .read_until = read_until, .address_answer = {}};
    if (newest) tap.newest = failover::Instant(newest->time_since_epoch());
    // The service port's frames reach core 0 at least.
    if (const auto answer = plane_->core(0).newest_probe_answer())
        tap.address_answer = failover::Instant(answer->time_since_epoch());
    return tap;
}

void Replica::probe_service_addresses() {
    plane_->run(0, [addresses = config_.service_addresses(), primary = config_.primary_link](Core& core) {
        for (const stack::IpAddress& address : addresses)
            core.probe_primary(address, primary);
    });
}

void Replica::on_action(const failover::Action& action) {
    const std::string evidence = failover::to_string(action.evidence);
    mode_since_ = action.evidence.at;
    last_evidence_ = evidence;
    switch (action.kind) {
        case failover::Action::Kind::probe:
            break;
        case failover::Action::Kind::enter_suspect:
            if (config_.decision.address_probe) probe_service_addresses();
            events_.add("suspect", {{"evidence", evidence}});
            spdlog::warn("suspect evidence=\"{}\"", evidence);
            break;
        case failover::Action::Kind::return_to_silent:
            events_.add("silent", {{"evidence", evidence}});
            spdlog::info("silent evidence=\"{}\"", evidence);
            break;
        case failover::Action::Kind::begin_fence:
            begin_fence(action.evidence);
            break;
        case failover::Action::Kind::enter_faulted:
            events_.add("faulted", {{"evidence", evidence}});
            spdlog::critical("faulted: the fence failed; promote with --force, or restart understudyd");
            break;
        case failover::Action::Kind::begin_takeover:
            begin_takeover(action);
            break;
        // Nothing asks the machine for these: neither switchovers nor the veto reach it.
        case failover::Action::Kind::begin_switchover:
        case failover::Action::Kind::undo_switchover:
        case failover::Action::Kind::mute:
        case failover::Action::Kind::reassert:
            break;
    }
}

void Replica::begin_fence(const failover::Evidence& evidence) {
    events_.add("fencing", {{"evidence", failover::to_string(evidence)}});
    spdlog::warn("fencing evidence=\"{}\"", failover::to_string(evidence));
    fence_->run(evidence, [this](bool confirmed) { watcher_->fence_ended(confirmed); });
}

void Replica::begin_takeover(const failover::Action& action) {
    const failover::Instant decided_at = action.evidence.at;
    const std::string evidence = failover::to_string(action.evidence);
    const bool begun = plane_->take_over([this, decided_at, evidence](const TakeoverRecord& record) {
        boost::asio::post(
            io_, [this, record, decided_at, evidence] { report_takeover(record, decided_at, evidence); });
    });
    spdlog::warn("decision evidence=\"{}\"", evidence);
    if (begun) return;
    events_.add("takeover_failed", {{"reason", "a takeover was begun before"}});
    spdlog::critical("takeover failed: one was begun before; restart understudyd");
}

void Replica::report_takeover(const TakeoverRecord& record, failover::Instant decided_at,
                              const std::string& evidence) {
    const auto ns = [](stack::Instant at) { return at.time_since_epoch().count(); };
    EventFields coverage = EventFields::object();
    for (const auto& [reason, count] : record.coverage.by_coverage)
        coverage[stack::to_string(reason)] = count;
    EventFields uncovered = EventFields::array();
    for (const stack::ConnectionSnapshot& c : record.uncovered)
        uncovered.push_back({{"client", stack::to_string(c.client)},
                             {"service", stack::to_string(c.service)},
                             {"coverage", stack::to_string(c.coverage)},
                             {"detail", c.detail},
                             {"missing_bytes", c.missing_bytes}});
    events_.add_at(decided_at.time_since_epoch().count(), "decision",
                   {{"evidence", evidence},
                    {"open", record.coverage.open},
                    {"covered", record.coverage.covered},
                    {"uncovered", record.coverage.open - record.coverage.covered},
                    {"coverage", coverage},
                    {"uncovered_connections", uncovered}});
    events_.add_at(ns(record.drained_at), "drained", {{"frames", record.drained_frames}});
    events_.add_at(ns(record.gate_open_at), "gate_open");
    events_.add_at(ns(record.announced_at), "announced");
    events_.add_at(ns(record.promoted_at), "promoted",
                   {{"promoted", record.report.promoted},
                    {"reset", record.report.reset},
                    {"half_open", record.report.half_open},
                    {"datagrams", record.report.datagrams}});
    const double took = ms_between(decided_at.time_since_epoch(), record.promoted_at.time_since_epoch());
    events_.add("master", {{"takeover_ms", took}});
    spdlog::warn("master promoted={} reset={} half_open={} takeover_ms={:.3f}", record.report.promoted,
                 record.report.reset, record.report.half_open, took);
    taken_over_ = true;
    for (const Completion& done : waiting_promotions_) {
        proto::v1::ControlResponse response;
        auto& promote = *response.mutable_promote();
        promote.set_promoted(static_cast<std::uint32_t>(record.report.promoted));
        promote.set_reset(static_cast<std::uint32_t>(record.report.reset));
        promote.set_half_open(static_cast<std::uint32_t>(record.report.half_open));
        promote.set_takeover_ms(took);
        promote.set_datagrams(static_cast<std::uint32_t>(record.report.datagrams));
        done(response);
    }
    waiting_promotions_.clear();
}

void Replica::schedule_seed_writing() {
    seed_timer_.expires_after(seed_writing_interval);
    seed_timer_.async_wait([this](const boost::system::error_code& error) {
        if (error) return;
        write_seeds();
        report_conflicts();
        attestations_->report_losses();
        schedule_seed_writing();
    });
}

void Replica::write_seeds() {
    const std::int64_t offset = wall_offset_ns();
    bool wrote = false;
    while (const auto seed = plane_->next_seed()) {
        if (!recording_) continue;
        recording_->write(to_connection_sync(*seed, offset));
        wrote = true;
    }
    if (wrote) recording_->flush();
}

// The old primary may be back (design.md 6): an operator must look, whatever the defence achieves.
void Replica::report_conflicts() {
    for (std::size_t core = 0; core < plane_->cores(); ++core)
        while (const auto conflict = plane_->core(core).next_conflict()) {
            const std::string address = stack::to_string(conflict->address);
            const std::string link = stack::to_string(conflict->link);
            events_.add_at(conflict->at.time_since_epoch().count(), "address_conflict",
                           {{"address", address}, {"link_address", link}});
            spdlog::critical("address_conflict address={} link_address={}: another host claims it", address,
                             link);
        }
}

void Replica::handle(const proto::v1::ControlRequest& request, Completion done) {
    using Request = proto::v1::ControlRequest;
    switch (request.body_case()) {
        case Request::kStatus: {
            proto::v1::StatusResponse status;
            add_control_status(status);
            ask_cores<proto::v1::StatusResponse>(
                [this](const Core& core) { return core_status(*plane_, core); },
                [status](const std::vector<proto::v1::StatusResponse>& parts) {
                    proto::v1::ControlResponse response;
                    *response.mutable_status() = status;
                    add_core_status(*response.mutable_status(), parts);
                    return response;
                },
                done);
            break;
        }
        case Request::kConnections:
            answer_connections(request.connections(), done);
            break;
        case Request::kCounters: {
            proto::v1::CountersResponse counters;
            for (std::size_t link = 0; link < config_.heartbeat.links.size(); ++link)
                for (const auto& info : failover::link_counter_table()) {
                    auto& counter = *counters.add_counters();
                    counter.set_name("link" + std::to_string(link) + "." + info.name);
                    counter.set_value(heartbeats_->status(link).counters.*info.value);
                    counter.set_help(info.help);
                }
            add_decision_counters(counters);
            if (repairer_) repairer_->add_counters(counters);
            ask_cores<CoreCounters>(
                core_counters,
                [counters](const std::vector<CoreCounters>& parts) {
                    proto::v1::ControlResponse response;
                    *response.mutable_counters() = counters;
                    add_core_counters(*response.mutable_counters(), parts);
                    return response;
                },
                done);
            break;
        }
        case Request::kEvents: {
            proto::v1::ControlResponse response;
            *response.mutable_events() = events_.read(request.events());
            done(response);
            break;
        }
        case Request::kPromote:
            answer_promote(request.promote().force(), std::move(done));
            break;
        case Request::kAttest:
            attestations_->answer(request.attest(), done);
            break;
        default:
            done(error_response(proto::v1::ControlError::UNKNOWN_REQUEST,
                                "this version does not know the request"));
    }
}

void Replica::add_decision_counters(proto::v1::CountersResponse& counters) const {
    const auto add = [&counters](const char* name, std::uint64_t value, const char* help) {
        auto& counter = *counters.add_counters();
        counter.set_name(name);
        counter.set_value(value);
        counter.set_help(help);
    };
    const failover::DecisionCounters& decided = watcher_->machine().counters();
    add("decision.suspected", decided.suspected, "times that the primary was suspected");
    add("decision.returned_to_silent", decided.returned_to_silent, "suspicions that a sign of life ended");
    add("decision.stalls", decided.stalls, "times that this process did not run for too long to conclude");
    add("decision.waited_for_reading", decided.waited_for_reading,
        "looks at a silence that was not proven, for what had arrived was not read yet");
    add("decision.held_without_first_heartbeat", decided.held_without_first_heartbeat,
        "looks at the silence of a primary that was never heard");
    add("decision.address_answers", decided.address_answers,
        "answers of the primary's kernel to probes on the service LAN");
    add("decision.operator_refused", decided.operator_refused, "requests refused to an operator");
    add("decision.held_by_hold_down", decided.held_by_hold_down,
        "looks at a proven death, held because this process started only just now");
    add("decision.fences", decided.fences, "fence commands begun");
    add("decision.fences_failed", decided.fences_failed, "fence commands that did not confirm");
    if (!probe_) return;
    const failover::ProbeCounters& probes = probe_->counters();
    add("probe.sent", probes.sent, "echo requests sent to the primary's ends of the heartbeat links");
    add("probe.send_failures", probes.send_failures, "echo requests that the kernel did not take");
    add("probe.answers", probes.answers, "answers of the primary's kernel");
    add("probe.refused", probes.refused, "ICMP messages on the links that answer no probe");
}

template <typename Part>
void Replica::ask_cores(std::function<Part(const Core&)> ask,
                        std::function<proto::v1::ControlResponse(const std::vector<Part>&)> join,
                        const Completion& done) {
    const bool queued = plane_->ask_each<Part>(
        std::move(ask),
        [join = std::move(join), done](const std::vector<Part>& parts) { done(join(parts)); });
    if (!queued) done(cores_do_not_keep_up());
}

void Replica::answer_connections(const proto::v1::ConnectionsRequest& request, const Completion& done) {
    const ConnectionCursor cursor(request.cursor());
    if (cursor.core >= plane_->cores()) {
        proto::v1::ControlResponse response;
        response.mutable_connections();
        done(response);
        return;
    }
    const bool queued = plane_->run(
        cursor.core, [cursor, limit = request.limit(), cores = plane_->cores(), done](Core& core) {
            proto::v1::ControlResponse response;
            *response.mutable_connections() = connection_page(core, cores, cursor, limit);
            done(response);
        });
    if (!queued) done(cores_do_not_keep_up());
}

void Replica::answer_promote(bool force, Completion done) {
    waiting_promotions_.push_back(std::move(done));
    const auto refusal = watcher_->promote(force);
    if (!refusal) return;
    const Completion refused = std::move(waiting_promotions_.back());
    waiting_promotions_.pop_back();
    refused(error_response(proto::v1::ControlError::REFUSED, *refusal));
}

void Replica::add_control_status(proto::v1::StatusResponse& status) const {
    const failover::Instant now = failover::monotonic_now();
    const failover::State state = watcher_->machine().state();
    const bool serving = state == failover::State::master && taken_over_;
    status.set_version(version());
    status.set_pid(getpid());
    status.set_role("replica");
    status.set_mode(failover::to_string(state));
    status.set_serving(serving ? "replica" : state == failover::State::silent ? "primary" : "unknown");
    status.set_uptime_s(ms_between(started_at_.time_since_epoch(), now.time_since_epoch()) / 1000);
    status.set_mode_age_s(ms_between(mode_since_.time_since_epoch(), now.time_since_epoch()) / 1000);
    status.set_last_evidence(last_evidence_);
    status.set_poll(config_.poll == PollMode::busy ? "busy" : "adaptive");
    status.set_ready(true);
    if (const auto newest = plane_->newest_from_primary())
        status.set_primary_on_tap_ms_ago(ms_between(newest->time_since_epoch(), now.time_since_epoch()));
    for (const auto& service : config_.services) {
        auto& row = *status.add_services();
        row.set_endpoint(service_name(service));
        row.set_application(service.application);
    }
    report_heartbeats(*heartbeats_, status);
}

}  // namespace understudy::tools
