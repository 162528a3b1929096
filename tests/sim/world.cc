#include "tests/sim/world.hh"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "shadow_app/registry.hh"
#include "tests/sim/lan.hh"

namespace understudy::sim {
namespace {

using namespace std::chrono_literals;

constexpr Duration reset_bound = 1s;     // several round trips of any profile
constexpr Duration repair_interval = 2ms, repair_min_age = 2ms;
constexpr Duration settle_bound = 300s;  // by then nobody may remember a connection

stack::LinkAddress client_link(std::size_t host) {
    return {{2, 0, 0, 0, 1, static_cast<std::uint8_t>(host)}};
}

double milliseconds(Duration duration) {
    return std::chrono::duration<double, std::milli>(duration).count();
}

}  // namespace

struct World::ClientHost {
    std::unique_ptr<Node> node;
    Switch::Port port = 0;
    std::vector<std::unique_ptr<ScriptedClient>> clients;
};

World::World(const Scenario& scenario, std::uint64_t seed, std::ostream* trace)
    : scenario_(scenario),
      random_(seed),
      trace_(queue_, trace),
      form_([this](auto& oracle, auto& what) { accuse(oracle, what); }, lan_mtu),
      silence_([this](auto& oracle, auto& what) { accuse(oracle, what); }),
      reset_([this](auto& oracle, auto& what) { accuse(oracle, what); },
             [this](const stack::Endpoint& client) { return is_live(client); }),
      conversation_([this](auto& oracle, auto& what) { accuse(oracle, what); }),
      switch_(queue_, random_.stream("switch")),
      repair_source_(queue_, random_.stream("repair source"), scenario_.repair),
      heartbeat_random_(random_.stream("heartbeat")) {
    if (!scenario_.mirror.is_faultless()) conversation_.forgive_ignorance();
    build_servers();
    build_clients();
    failover::DecisionSettings decision;
    decision.links = heartbeat_links;
    decision.heartbeat_interval = scenario_.heartbeat_interval;
    decision.heartbeat_misses = scenario_.heartbeat_misses;
    control_ = std::make_unique<TakeoverControl>(
        queue_, decision, [this](const failover::Action& action) { on_decision(action); });
    send_heartbeat();
    if (scenario_.repair.deadline != Duration::zero()) ask_for_repairs();
    if (scenario_.crash_at) queue_.at(*scenario_.crash_at, [this] { crash(); });
}

World::~World() = default;

RunResult World::run() {
    tell("the primary serves; the replica shadows it");
    const bool all_done = run_until(scenario_.ends_at, [this] { return clients_done_ == clients_.size(); });
    const bool excused = std::any_of(clients_.begin(), clients_.end(), [this](const auto& entry) {
        return !entry.second->report().done && is_excused(*entry.second);
    });
    if (all_done) {
        run_until(queue_.now() + settle_bound, [this] { return nothing_left(); });
        judge_end();
    } else if (result_.violations.empty()) {
        if (excused) tell("connections that the replica never saw wait for ever");
        for (const auto& [endpoint, client] : clients_) {
            if (client->report().done || is_excused(*client)) continue;
            accuse("progress",
                   fmt::format("{} is not done: {} bytes sent, {} of {} received, last progress at {:.3f} ms",
                               stack::to_string(endpoint), client->report().sent, client->report().received,
                               client->report().expected,
                               milliseconds(client->report().last_progress - start())));
        }
    }
    over_ = true;
    control_->stop();
    collect(result_);
    return result_;
}

stack::Settings World::server_settings(const stack::TcpSettings& tcp, stack::LinkAddress link,
                                       stack::Mode mode) const {
    stack::Settings settings;
    settings.services = {service};
    settings.link_address = link;
    settings.initial_mode = mode;
    settings.mtu = lan_mtu;
    settings.max_connections = 1024;
    settings.tcp = tcp;
    settings.shadow.repair_deadline = scenario_.repair.deadline;
    return settings;
}

void World::build_servers() {
    const auto find = [this](const stack::Endpoint& endpoint) -> std::optional<Pattern> {
        const auto client = clients_.find(endpoint);
        if (client == clients_.end() || scenario_.app == AppKind::ticker) return std::nullopt;
        return Pattern(client->second->plan().pattern_key);
    };
    const auto judge = [&](std::unique_ptr<shadow_app::Application>& app,
                           std::unique_ptr<SlowApplication>& slow, const Slowness& slowness,
                           const char* whose) {
        app = shadow_app::make_application(to_string(scenario_.app));
        slow = std::make_unique<SlowApplication>(*app, slowness);
        return std::make_unique<InputJudge>(*slow, find, [this, whose](const std::string& fault) {
            accuse("input", fmt::format("{}: {}", whose, fault));
        });
    };
    primary_judge_ = judge(primary_app_, primary_slow_, scenario_.primary_slowness, "primary");
    replica_judge_ = judge(replica_app_, replica_slow_, scenario_.replica_slowness, "replica");
    primary_ =
        std::make_unique<Node>("primary", queue_, random_.stream("primary"), scenario_.poll_interval,
                               [this](const Frame& frame) { on_sent(*primary_, primary_port_, frame); });
    replica_ =
        std::make_unique<Node>("replica", queue_, random_.stream("replica"), scenario_.poll_interval,
                               [this](const Frame& frame) { on_sent(*replica_, replica_port_, frame); });
    primary_->host().serve(service, *primary_judge_);
    replica_->host().serve(service, *replica_judge_);
    const LinkSettings cable;
    add_server(*primary_, server_settings(scenario_.primary_tcp, primary_link, stack::Mode::master), cable,
               primary_port_);
    add_server(*replica_, server_settings(scenario_.replica_tcp, replica_link, stack::Mode::silent), cable,
               replica_port_);
    mirror_ = std::make_unique<Mirror>(
        queue_, random_.stream("mirror"), scenario_.mirror, primary_link, replica_link,
        [this](const Frame& frame, stack::Source source) { on_tap(frame, source); });
    mirror_->set_primary_port(primary_port_);
    switch_.observe([this](const Switch::Passage& passage, const Frame& frame) {
        mirror_->on_passage(passage, frame);
        if (passage.to != primary_port_ || scenario_.repair.deadline == Duration::zero()) return;
        const bool from_primary = passage.from == primary_port_;
        repair_source_.keep(read_frame(*frame, SIZE_MAX).packet, from_primary);
    });
}

void World::add_server(Node& node, const stack::Settings& settings, const LinkSettings& link,
                       Switch::Port& port) {
    port =
        switch_.add_port(link, [&node](const Frame& frame) { node.arrive(frame, stack::Source::service); });
    node.start(settings);
}

void World::build_clients() {
    for (std::size_t host = 0; host < scenario_.client_hosts; ++host)
        add_client(host);
    result_.connections = clients_.size();
}

void World::add_client(std::size_t index) {
    hosts_.push_back(std::make_unique<ClientHost>());
    ClientHost& host = *hosts_.back();
    host.node = std::make_unique<Node>(
        fmt::format("client-{}", index), queue_, random_.stream("client", index), scenario_.poll_interval,
        [this, &host](const Frame& frame) { on_sent(*host.node, host.port, frame); });
    Node& node = *host.node;
    add_server(
        node,
        [&] {
            stack::Settings settings =
                server_settings(scenario_.client_tcp, client_link(index), stack::Mode::master);
            settings.services.clear();
            settings.addresses = {scenario_.connections[index].front().client.address};
            return settings;
        }(),
        scenario_.client_links[index], host.port);
    mirror_->add_client_port(host.port);
    node.keep_neighbours({{service.address, primary_link}});
    for (const ConnectionPlan& plan : scenario_.connections[index]) {
        host.clients.push_back(make_client(plan, queue_));
        ScriptedClient& client = *host.clients.back();
        client.observe([this](const ScriptedClient& changed) { on_client_changed(changed); });
        if (scenario_.crash_at) client.set_failure(*scenario_.crash_at);
        clients_[plan.client] = &client;
        queue_.at(plan.opens_at, [this, &host, &client] { open(host, client); });
    }
}

void World::open(ClientHost& host, ScriptedClient& client) {
    if (!host.node->connect(client.plan().client, service, primary_link, client))
        accuse("progress", "the client's stack refused to open " + stack::to_string(client.plan().client));
}

void World::send_heartbeat() {
    if (!primary_->is_alive() || over_) return;
    for (std::size_t link = 0; link < heartbeat_links; ++link)
        queue_.after(scenario_.heartbeat_delay +
                         heartbeat_random_.between(Duration::zero(), scenario_.heartbeat_jitter),
                     [this, link] {
                         if (!over_) control_->heartbeat(link);
                     });
    queue_.after(scenario_.heartbeat_interval, [this] { send_heartbeat(); });
}

// As tools/daemon/repairer.cc does.
void World::ask_for_repairs() {
    if (over_ || promoted_at_ || !primary_->is_alive()) return;
    std::array<stack::MissingBytes, 16> missing;
    const std::size_t count = replica_->missing(missing, repair_min_age);
    for (const stack::MissingBytes& what : std::span(missing).first(count)) {
        const auto request = repair_asker_.ask(
            {{what.client.address.octets, what.client.port},
             {what.service.address.octets, what.service.port},
             what.direction == stack::Direction::from_primary,
             what.begin,
             what.end},
            {0, what.connection.index, what.connection.generation},
            failover::Instant(queue_.now().time_since_epoch()));
        if (request)
            repair_source_.ask(*request,
                               [this](const proto::v1::RepairAnswer& answer) { on_repair_answer(answer); });
    }
    queue_.after(repair_interval, [this] { ask_for_repairs(); });
}

void World::on_repair_answer(const proto::v1::RepairAnswer& answer) {
    if (over_ || promoted_at_) return;
    const auto piece = repair_asker_.take(answer);
    const bool filled =
        piece && replica_->repair({{piece->owner[1], piece->owner[2]},
                                   piece->from_primary ? stack::Direction::from_primary : stack::Direction::from_client,
                                   piece->begin,
                                   std::as_bytes(std::span(piece->bytes)),
                                   piece->fin});
    ++(filled ? result_.repairs : result_.repairs_refused);
}

void World::crash() {
    if (over_) return;
    repair_source_.die();
    crashed_at_ = queue_.now();
    primary_->crash();
    switch_.cut(primary_port_, scenario_.crash_loses_in_flight);
    for (const auto& [endpoint, client] : clients_)
        if (client->report().established && !client->report().done) open_at_failure_.insert(client);
    tell(fmt::format("power off: the primary is gone, {} connections open", open_at_failure_.size()));
}

void World::on_decision(const failover::Action& action) {
    using Kind = failover::Action::Kind;
    if (action.kind == Kind::enter_suspect)
        return tell("the replica suspects: " + failover::to_string(action.evidence));
    if (action.kind == Kind::return_to_silent) return tell("the replica suspects no more");
    if (!crashed_at_)
        accuse("decision", "a takeover from a living primary: " + failover::to_string(action.evidence));
    decided_at_ = queue_.now();
    tell("the replica decides to take over: " + failover::to_string(action.evidence));
    queue_.after(scenario_.takeover_delay, [this] { take_over(); });
}

void World::take_over() {
    replica_->drain();  // the rings, up to the decision (rules.md 18)
    mirror_->close_books();
    if (scenario_.mirror.is_faultless()) judge_coverage();
    expect_outcomes();
    promoted_at_ = queue_.now();
    silence_.on_takeover();
    const stack::PromotionReport report = replica_->promote();
    tell(fmt::format("the replica serves: {} connections carried on, {} handshakes completed, {} reset",
                     report.promoted, report.half_open, report.reset));
    if (report.reset != 0 && scenario_.mirror.is_faultless())
        accuse("coverage", fmt::format("{} connections were reset at promotion", report.reset));
}

void World::expect_outcomes() {
    std::uint32_t cursor = 0;
    for (const auto& [endpoint, client] : clients_)
        if (client->plan().opens_at <= queue_.now() && !client->report().done &&
            !mirror_->was_faithful_to(endpoint))
            outcomes_[client] = Outcome::anything;
    for (const stack::ConnectionSnapshot& c : replica_->stack().snapshots(cursor, SIZE_MAX)) {
        const auto found = clients_.find(c.client);
        if (found == clients_.end() || found->second->report().done) continue;
        const bool covered =
            c.coverage == stack::Coverage::covered || c.coverage == stack::Coverage::half_open;
        ++(covered ? result_.covered : result_.uncovered);
        Outcome& outcome = outcomes_[found->second];
        outcome = covered ? Outcome::survives_or_reset : Outcome::reset;
        if (covered && mirror_->was_faithful_to(c.client)) outcome = Outcome::survives;
        if (!covered) expect_reset(*found->second);
        trace_.event(stack::to_string(c.client),
                     fmt::format("is {} at the takeover, the mirror was {}", stack::to_string(c.coverage),
                                 mirror_->was_faithful_to(c.client) ? "faithful" : "not"));
    }
}

// The reset of a connection that is not covered reaches its client within one exchange.
void World::expect_reset(const ScriptedClient& client) {
    const auto is_lossy = [](const LinkSettings& link) { return link.loss_per_million != 0; };
    if (std::any_of(scenario_.client_links.begin(), scenario_.client_links.end(), is_lossy)) return;
    queue_.after(reset_bound, [this, &client] {
        if (!over_ && !client.report().done)
            accuse("prompt", stack::to_string(client.plan().client) + " is not covered, and was not reset");
    });
}

bool World::may_be_reset(const ScriptedClient& client) const {
    const auto outcome = outcomes_.find(&client);
    return outcome != outcomes_.end() && outcome->second != Outcome::survives;
}

// Whether nothing is asked of it but that no byte be wrong: the replica has never heard of it, or its reset
// may be lost on the way.
bool World::is_excused(const ScriptedClient& client) const {
    const auto outcome = outcomes_.find(&client);
    return outcome != outcomes_.end() &&
           (outcome->second == Outcome::anything || outcome->second == Outcome::reset);
}

// The mirror shows everything, so every connection is known to be identical.
void World::judge_coverage() {
    std::uint32_t cursor = 0;
    for (const stack::ConnectionSnapshot& c : replica_->stack().snapshots(cursor, SIZE_MAX)) {
        if (c.coverage == stack::Coverage::covered || c.coverage == stack::Coverage::half_open) continue;
        accuse("coverage",
               fmt::format(
                   "{} is {} at offset {}, and the mirror was perfect (state {}, snd_una +{}, snd_nxt +{}, "
                   "app_nxt +{}, rcv_nxt +{}, primary_ack +{}, unread {})",
                   stack::to_string(c.client), stack::to_string(c.coverage), c.detail,
                   stack::to_string(c.state), c.snd_una - c.iss, c.snd_nxt - c.iss, c.app_nxt - c.iss,
                   c.rcv_nxt - c.irs, c.primary_ack - c.irs, c.unread_bytes));
    }
}

void World::on_tap(const Frame& frame, stack::Source source) {
    if (source == stack::Source::tap_from_primary && !over_) control_->primary_on_tap();
    replica_->arrive(frame, source);
}

void World::on_sent(Node& node, Switch::Port port, const Frame& frame) {
    ++result_.frames_sent;
    const Packet packet = form_.on_sent(node.name(), node.link_address(), frame);
    trace_.frame(node.name(), *frame, trace_.has_text() ? to_string(packet) : std::string());
    const bool is_replica = &node == replica_.get();
    const bool is_server = is_replica || &node == primary_.get();
    if (is_replica) {
        silence_.on_replica_sent(packet);
        if (!first_replica_frame_at_) first_replica_frame_at_ = queue_.now();
    }
    if (is_server) reset_.on_server_sent(node.name(), packet);
    conversation_.on_sent(node.name(), is_server, packet);
    switch_.send(port, frame);
}

void World::on_client_changed(const ScriptedClient& client) {
    const std::string who = stack::to_string(client.plan().client);
    const ConnectionReport& report = client.report();
    if (!report.fault.empty()) accuse("client", who + ": " + report.fault);
    if (!report.done) return;
    if (report.reset && !may_be_reset(client)) accuse("client", who + ": reset by the server");
    ++clients_done_;
    trace_.event(who, fmt::format("done: {} sent, {} received", report.sent, report.received));
}

bool World::is_live(const stack::Endpoint& endpoint) const {
    const auto client = clients_.find(endpoint);
    return client != clients_.end() && !client->second->report().done && !may_be_reset(*client->second);
}

// False when the run ended before `reached` held: by the limit, for want of events, or with a violation.
bool World::run_until(Instant limit, const std::function<bool()>& reached) {
    while (result_.violations.empty()) {
        if (reached()) return true;
        if (!queue_.run_next(limit)) return false;
        judge_faults();
    }
    return false;
}

bool World::nothing_left() const {
    const auto is_empty = [](const Node& node) {
        return !node.is_alive() ||
               (node.stack().connection_count() == 0 && node.host().connection_count() == 0);
    };
    return (!crashed_at_ || promoted_at_) && is_empty(*primary_) &&
           (is_empty(*replica_) || !scenario_.mirror.is_faultless()) &&
           std::all_of(hosts_.begin(), hosts_.end(), [&](const auto& host) { return is_empty(*host->node); });
}

void World::judge_end() {
    if (!result_.violations.empty()) return;
    const auto judge = [this](const Node& node) {
        if (node.is_alive() && (node.stack().connection_count() != 0 || node.host().connection_count() != 0))
            accuse("leak", fmt::format("{} still holds {} connections, its applications {}", node.name(),
                                       node.stack().connection_count(), node.host().connection_count()));
    };
    judge(*primary_);
    // The end of a connection that the mirror did not show leaves a shadow of it.
    if (scenario_.mirror.is_faultless()) judge(*replica_);
    for (const auto& host : hosts_)
        judge(*host->node);
    if (crashed_at_ && !promoted_at_) accuse("decision", "the primary is dead and nobody took over");
}

void World::judge_faults() {
    for (const Node* node : {primary_.get(), replica_.get()})
        if (!node->fault().empty()) accuse("time", node->fault());
    for (const auto& host : hosts_)
        if (!host->node->fault().empty()) accuse("time", host->node->fault());
}

void World::accuse(const std::string& oracle, const std::string& what) {
    trace_.event("VIOLATION", oracle + ": " + what);
    result_.violations.push_back({trace_.milliseconds(), oracle, what});
}

void World::tell(const std::string& what) {
    trace_.event("world", what);
    result_.timeline.push_back({trace_.milliseconds(), what});
}

void World::collect(RunResult& result) const {
    result.trace_hash = trace_.hash();
    result.events = queue_.run_count();
    result.virtual_ms = trace_.milliseconds();
    result.replica_frames_before_takeover = silence_.frames_before_takeover();
    result.open_at_failure = open_at_failure_.size();
    if (crashed_at_) result.crash_at_ms = milliseconds(*crashed_at_ - start());
    if (crashed_at_ && decided_at_) result.detection_ms = milliseconds(*decided_at_ - *crashed_at_);
    if (decided_at_ && first_replica_frame_at_)
        result.takeover_ms = milliseconds(*first_replica_frame_at_ - *decided_at_);
    for (const auto& [endpoint, client] : clients_) {
        const ConnectionReport& report = client->report();
        result.bytes_checked += report.received;
        if (!open_at_failure_.contains(client)) continue;
        if (report.done && report.reset) ++result.reset;
        if (report.done && report.fault.empty() && !report.reset) ++result.survived;
        if (report.first_received_after_failure)
            result.outage_ms.push_back(milliseconds(*report.first_received_after_failure - *crashed_at_));
    }
    std::sort(result.outage_ms.begin(), result.outage_ms.end());
}

}  // namespace understudy::sim
