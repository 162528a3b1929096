#include "tools/daemon/replica.hh"

#include <sodium/randombytes.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include <boost/asio/post.hpp>

#include "tap/dpdk_port.hh"
#include "tap/open_port.hh"
#include "tools/common/carrier.hh"
#include "tools/common/program.hh"
#include "tools/daemon/connection_sync.hh"
#include "tools/daemon/decision_counters.hh"
#include "tools/daemon/status.hh"

namespace understudy::tools {
namespace {

constexpr std::chrono::milliseconds seed_writing_interval{50};
constexpr double ns_per_ms = 1e6;
constexpr int address_probes = 3;

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
      address_probe_timer_(io),
      interfaces_(config.interfaces()),
      started_at_(failover::monotonic_now()),
      mode_since_(started_at_) {
    control_ = std::make_unique<ControlServer>(io, ControlServerSettings{.path = config.control}, *this);
    if (!config.record.empty()) recording_.emplace(config.record);
    if (config.probe) open_probe();
    if (config.decision.witness) open_witness();
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
                                  .send_probe = [this] { send_probes(); },
                                  .ask_settled = [this] { ask_settled(); }},
        [this](const failover::Action& action) { on_action(action); },
        [this](const failover::ReplicaWord& word) { heartbeats_->say(word); });
    heartbeats_ = std::make_unique<failover::HeartbeatService>(
        io, config.heartbeat,
        [this](std::size_t link, failover::Instant at) { watcher_->heartbeat(link, at); },
        [this](std::size_t link, bool alive) {
            events_.add(alive ? "link_heard" : "link_silent", {{"link", link}});
        });
    heartbeats_->on_words([this](const failover::PeerWords& words, failover::Instant at) {
        if (words.agent) on_agent_word(*words.agent, at);
    });
    key_reload_ = std::make_unique<HeartbeatKeyReload>(io, config.heartbeat_options, *heartbeats_, events);
    warn_without_key(config.heartbeat);
    plane_ = open_data_plane(config);
    if (const auto services = config.program_services(); !services.empty())
        shim_ = std::make_unique<ShimChannel>(io, channel_path(config.control), services, *plane_);
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
            fields["super_segment_bytes"] =
                std::min(config_.stack.super_segment_bytes, plane_->service_port().offloads().segmentation_bytes);
            fields["filter_engine"] = std::string(plane_->core(0).classifier().filter_engine());
            events_.add("ready", fields);
            spdlog::info("ready mode=silent services={}", fields["services"].dump());
        });
    });
}

void Replica::stop() {
    metrics_.reset();
    if (watcher_) watcher_->stop();
    if (fence_) fence_->stop();
    if (repairer_) repairer_->stop();
    if (key_reload_) key_reload_->stop();
    if (heartbeats_) heartbeats_->stop();
    shim_.reset();
    seed_timer_.cancel();
    address_probe_timer_.cancel();
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

// Without one nothing could ever be taken over: better not to start.
void Replica::open_witness() {
    witness_ = std::make_unique<failover::LinkProbe>(config_.witnesses, unpredictable);
    if (!witness_->available()) throw std::runtime_error("--witness: " + witness_->why());
}

void Replica::send_probes() {
    if (probe_) probe_->send();
    if (witness_) witness_->send();
}

failover::Instant Replica::read_links() {
    const failover::Instant until = heartbeats_->read_all();
    if (witness_ && witness_->read_answers()) watcher_->witness_answered(failover::monotonic_now());
    if (probe_ && probe_->read_answers()) watcher_->probe_answered(failover::monotonic_now());
    return until;
}

failover::Watcher::Tap Replica::look_at_tap() const {
    // In this order: a frame that is read in between is known, and counts as life.
    const failover::Instant read_until(plane_->taps_read_until().time_since_epoch());
    const auto newest = plane_->newest_from_primary();
    failover::Watcher::Tap tap{.newest = {}, .read_until = read_until, .address_answer = {}};
    if (newest) tap.newest = failover::Instant(newest->time_since_epoch());
    tap.carrier = std::ranges::all_of(interfaces_, has_carrier);
    if (const auto since = plane_->unanswered_since())
        tap.unanswered_since = failover::Instant(since->time_since_epoch());
    // In this order: who sees news sees what a client acknowledged before.
    tap.primary_news = plane_->primary_news();
    tap.client_knows_us = plane_->client_knows_us();
    // The service port's frames reach core 0 at least.
    if (const auto asked = plane_->core(0).newest_probe())
        tap.address_asked = failover::Instant(asked->time_since_epoch());
    if (const auto answer = plane_->core(0).newest_probe_answer())
        tap.address_answer = failover::Instant(answer->time_since_epoch());
    return tap;
}

// One request may be lost.
void Replica::probe_service_addresses(int more) {
    plane_->run(0, [addresses = config_.service_addresses(), primary = config_.primary_link](Core& core) {
        for (const stack::IpAddress& address : addresses)
            core.probe_primary(address, primary);
    });
    if (more == 0) return;
    address_probe_timer_.expires_after(config_.decision.address_probe_wait / address_probes);
    address_probe_timer_.async_wait([this, more](const boost::system::error_code& error) {
        if (!error && watcher_->machine().state() == failover::State::suspect) probe_service_addresses(more - 1);
    });
}

void Replica::on_action(const failover::Action& action) {
    const std::string evidence = failover::to_string(action.evidence);
    last_evidence_ = evidence;
    const failover::State state = watcher_->machine().state();
    if (std::exchange(mode_, state) != state) mode_since_ = action.evidence.at;
    switch (action.kind) {
        case failover::Action::Kind::probe:
            break;
        case failover::Action::Kind::enter_suspect:
            if (config_.decision.address_probe) probe_service_addresses(address_probes - 1);
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
            begin_takeover(action.evidence);
            break;
        case failover::Action::Kind::begin_switchover:
            events_.add("switchover", {{"evidence", evidence}});
            spdlog::warn("switchover: the agent is asked to silence the service");
            break;
        case failover::Action::Kind::undo_switchover:
            events_.add("switchover_undone", {{"evidence", evidence}});
            spdlog::error("switchover undone evidence=\"{}\"", evidence);
            refuse_waiting_promotions("undone after " + std::to_string(ms_between({}, config_.decision.switchover_timeout)) +
                                      " ms: " + why_no_switchover());
            break;
        case failover::Action::Kind::mute:
            begin_mute(action.evidence);
            break;
        case failover::Action::Kind::reassert:
            reassert(action.evidence);
            break;
    }
}

std::string Replica::why_no_switchover() const {
    if (!agent_ || !agent_->silenced) return "the agent did not silence the service";
    return "not all that the service sent was followed in time";
}

void Replica::on_agent_word(const failover::AgentWord& word, failover::Instant at) {
    const bool same = agent_ && agent_->service == word.service && agent_->silenced == word.silenced &&
                      agent_->overloaded == word.overloaded;
    agent_ = word;
    if (!same) {
        events_.add("agent", {{"says", failover::to_string(word)}});
        spdlog::info("agent says=\"{}\"", failover::to_string(word));
    }
    watcher_->agent_says(word, at);
}

// Twice: what one core had read for another was handed on by the end of the first round, and is seen waiting by
// the second.
void Replica::ask_settled() {
    const failover::Instant read_until(plane_->taps_read_until().time_since_epoch());
    const auto ask = [this](std::function<void(bool)> done) {
        const bool queued = plane_->ask_each<char>(
            [](Core& core) { return static_cast<char>(core.is_settled()); },
            [this, done](const std::vector<char>& settled) {
                const bool all = std::ranges::all_of(settled, [](char is) { return is != 0; });
                boost::asio::post(io_, [done, all] { done(all); });
            });
        if (!queued) watcher_->settled(std::nullopt);
    };
    ask([this, ask, read_until](bool) {
        ask([this, read_until](bool settled) {
            watcher_->settled(settled ? std::optional(read_until) : std::nullopt);
        });
    });
}

void Replica::begin_fence(const failover::Evidence& evidence) {
    events_.add("fencing", {{"evidence", failover::to_string(evidence)}});
    spdlog::warn("fencing evidence=\"{}\"", failover::to_string(evidence));
    fence_->run(evidence, [this](bool confirmed) { watcher_->fence_ended(confirmed); });
}

void Replica::begin_takeover(const failover::Evidence& why) {
    if (muting_) {
        takeover_after_mute_ = why;
        return;
    }
    const failover::Instant decided_at = why.at;
    const std::string evidence = failover::to_string(why);
    const bool begun = plane_->take_over([this, decided_at, evidence](const TakeoverRecord& record) {
        boost::asio::post(
            io_, [this, record, decided_at, evidence] { report_takeover(record, decided_at, evidence); });
    });
    spdlog::warn("decision evidence=\"{}\"", evidence);
    if (begun) return;
    events_.add("takeover_failed", {{"reason", "another takeover has not come to its end"}});
    spdlog::critical("takeover failed: another one has not come to its end; restart understudyd");
}

// Before a client knows us the primary may go on (rules.md 19); later only an operator's word leads here.
void Replica::begin_mute(const failover::Evidence& evidence) {
    muting_ = true;
    taken_over_ = false;
    events_.add("muted", {{"evidence", failover::to_string(evidence)}});
    spdlog::critical("muted evidence=\"{}\"", failover::to_string(evidence));
    if (evidence.cause == failover::Cause::veto)
        refuse_waiting_promotions("the primary serves after all");
    const auto muted = [this] {
        muting_ = false;
        events_.add("silent", {{"evidence", last_evidence_}});
        for (const Completion& done : waiting_demotions_) {
            proto::v1::ControlResponse response;
            response.mutable_done();
            done(response);
        }
        waiting_demotions_.clear();
        if (takeover_after_mute_) begin_takeover(*std::exchange(takeover_after_mute_, std::nullopt));
    };
    if (plane_->mute([this, muted] { boost::asio::post(io_, muted); })) return;
    events_.add("mute_failed", {{"reason", "the data plane does not take tasks"}});
    spdlog::critical("mute failed: the data plane does not take tasks; ending, for two hosts serve");
    io_.stop();
}

void Replica::reassert(const failover::Evidence& evidence) {
    const std::string text = failover::to_string(evidence);
    events_.add("primary_speaks", {{"evidence", text}});
    spdlog::critical("primary_speaks evidence=\"{}\": stop that host", text);
    plane_->run(0, [](Core& core) { core.announce(); });
    if (fence_) fence_->run(evidence, [](bool) {});
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
            add_counters(counters, watcher_->machine().counters());
            if (probe_) add_counters(counters, probe_->counters());
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
            answer_takeover([this, force = request.promote().force()] { return watcher_->promote(force); },
                            std::move(done));
            break;
        case Request::kSwitchover:
            answer_takeover([this] { return watcher_->switchover(); }, std::move(done));
            break;
        case Request::kDemote:
            answer_demote(std::move(done));
            break;
        case Request::kMaintenance:
            answer_maintenance(request.maintenance().on(), done);
            break;
        case Request::kAttest:
            attestations_->answer(request.attest(), done);
            break;
        default:
            done(error_response(proto::v1::ControlError::UNKNOWN_REQUEST,
                                "this version does not know the request"));
    }
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

void Replica::answer_takeover(const std::function<std::optional<std::string>()>& ask, Completion done) {
    waiting_promotions_.push_back(std::move(done));
    const auto refusal = ask();
    if (!refusal) return;
    const Completion refused = std::move(waiting_promotions_.back());
    waiting_promotions_.pop_back();
    refused(error_response(proto::v1::ControlError::REFUSED, *refusal));
}

void Replica::refuse_waiting_promotions(const std::string& why) {
    for (const Completion& done : std::exchange(waiting_promotions_, {}))
        done(error_response(proto::v1::ControlError::REFUSED, why));
}

void Replica::answer_demote(Completion done) {
    waiting_demotions_.push_back(std::move(done));
    const auto refusal = watcher_->demote();
    if (!refusal) return;
    const Completion refused = std::move(waiting_demotions_.back());
    waiting_demotions_.pop_back();
    refused(error_response(proto::v1::ControlError::REFUSED, *refusal));
}

void Replica::answer_maintenance(bool on, const Completion& done) {
    events_.add("maintenance", {{"on", on}});
    spdlog::warn("maintenance on={}", on);
    watcher_->set_maintenance(on);
    proto::v1::ControlResponse response;
    response.mutable_done();
    done(response);
}

void Replica::add_control_status(proto::v1::StatusResponse& status) const {
    const failover::Instant now = failover::monotonic_now();
    const failover::State state = watcher_->machine().state();
    const bool serving = state == failover::State::master && taken_over_;
    status.set_version(version());
    status.set_pid(getpid());
    status.set_role("replica");
    status.set_mode(failover::to_string(state));
    const bool primary_serves = state == failover::State::silent && !(agent_ && agent_->silenced);
    status.set_serving(serving ? "replica" : primary_serves ? "primary" : "unknown");
    if (agent_) status.set_agent(failover::to_string(*agent_));
    status.set_maintenance(watcher_->machine().in_maintenance());
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
