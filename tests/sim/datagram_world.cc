#include "tests/sim/datagram_world.hh"

#include <fmt/format.h>

#include <algorithm>

#include "tests/sim/lan.hh"

namespace understudy::sim {

using namespace std::chrono_literals;

DatagramScenario make_datagram_scenario(std::uint64_t seed, DatagramFaults faults, bool crashes,
                                        Instant start) {
    Random random = Random(seed).stream("datagram scenario");
    DatagramScenario scenario;
    scenario.poll_interval = random.between(Duration(0), Duration(50us));
    scenario.heartbeat_interval = random.between(Duration(5ms), Duration(15ms));
    scenario.takeover_delay = random.between(Duration(0), Duration(2ms));
    scenario.client_link.delay = random.between(Duration(5us), Duration(5ms));
    scenario.mirror.kind = MirrorKind::uplink;
    scenario.mirror.jitter = random.between(Duration(0), Duration(200us));
    if (faults != DatagramFaults::none)
        scenario.mirror.from_client.loss_per_million = scenario.mirror.from_primary.loss_per_million = 20'000;
    if (faults == DatagramFaults::network) {
        scenario.client_link.loss_per_million = 20'000;
        scenario.client_link.reorder_per_million = 50'000;
    }
    const Instant begins = start + 10ms;
    const std::uint64_t count = random.between(2, 8);
    for (std::uint64_t i = 0; i < count; ++i) {
        DatagramPlan plan;
        plan.client = {stack::IpAddress::from_v4(0x0a4d0100 + static_cast<std::uint32_t>(i)), 40000};
        plan.link_address = {{2, 0, 0, 0, 1, static_cast<std::uint8_t>(i)}};
        plan.requests = static_cast<std::uint32_t>(random.between(100, 300));
        plan.largest_request = i % 2 == 0 ? 64 : 1400;
        plan.think = random.between(Duration(0), Duration(4ms));
        // An outage is shorter; what the replica keeps of it makes asking again unnecessary.
        plan.patience = faults == DatagramFaults::none ? Duration(1s) : Duration(100ms);
        plan.begins_at = begins + random.between(Duration(0), Duration(5ms));
        scenario.clients.push_back(plan);
    }
    if (crashes) scenario.crash_at = begins + random.between(Duration(20ms), Duration(150ms));
    scenario.ends_at = start + 120s;
    return scenario;
}

struct DatagramWorld::ClientHost {
    std::unique_ptr<DatagramClient> client;
    stack::LinkAddress link_address;
    Switch::Port port = 0;
};

DatagramWorld::DatagramWorld(const DatagramScenario& scenario, std::uint64_t seed, std::ostream* trace)
    : scenario_(scenario),
      random_(seed),
      trace_(queue_, trace),
      form_([this](auto& oracle, auto& what) { accuse(oracle, what); }, lan_mtu),
      silence_([this](auto& oracle, auto& what) { accuse(oracle, what); }),
      switch_(queue_, random_.stream("switch")) {
    build_server(primary_, "primary", primary_app_, primary_link, stack::Mode::master, primary_port_);
    build_server(replica_, "replica", replica_app_, replica_link, stack::Mode::silent, replica_port_);
    failover::DecisionSettings decision;
    decision.links = heartbeat_links;
    decision.heartbeat_interval = scenario_.heartbeat_interval;
    control_ = std::make_unique<TakeoverControl>(
        queue_, decision, [this](const failover::Action& action) { on_decision(action); });
    mirror_ = std::make_unique<Mirror>(queue_, random_.stream("mirror"), scenario_.mirror, primary_link,
                                       replica_link, [this](const Frame& frame, stack::Source source) {
                                           if (source == stack::Source::tap_from_primary && !over_)
                                               control_->primary_on_tap();
                                           replica_->arrive(frame, source);
                                       });
    mirror_->set_primary_port(primary_port_);
    switch_.observe(
        [this](const Switch::Passage& passage, const Frame& frame) { mirror_->on_passage(passage, frame); });
    for (const DatagramPlan& plan : scenario_.clients)
        add_client(plan);
    send_heartbeat();
    if (scenario_.crash_at) queue_.at(*scenario_.crash_at, [this] { crash(); });
}

DatagramWorld::~DatagramWorld() = default;

void DatagramWorld::build_server(std::unique_ptr<Node>& node, const char* name,
                                 shadow_app::DatagramApplication& application, stack::LinkAddress link,
                                 stack::Mode mode, Switch::Port& port) {
    node = std::make_unique<Node>(
        name, queue_, random_.stream(name), scenario_.poll_interval,
        [this, &node, &port](const Frame& frame) { on_server_sent(*node, port, frame); });
    node->host().serve_datagrams(service, application);
    port = switch_.add_port({}, [&node](const Frame& frame) { node->arrive(frame, stack::Source::service); });
    stack::Settings settings;
    settings.udp_services = {service};
    settings.link_address = link;
    settings.initial_mode = mode;
    settings.mtu = lan_mtu;
    node->start(settings);
}

void DatagramWorld::add_client(const DatagramPlan& plan) {
    hosts_.push_back(std::make_unique<ClientHost>());
    ClientHost& host = *hosts_.back();
    host.link_address = plan.link_address;
    host.client = std::make_unique<DatagramClient>(
        plan, service, primary_link, queue_, random_.stream("client", hosts_.size()),
        [this, &host](const Frame& frame) { on_client_sent(host, frame); },
        [this](auto& oracle, auto& what) { accuse(oracle, what); });
    if (!scenario_.mirror.is_faultless()) host.client->forgive_repeated_answers();
    host.port =
        switch_.add_port(scenario_.client_link, [&host](const Frame& frame) { host.client->arrive(frame); });
    mirror_->add_client_port(host.port);
}

DatagramResult DatagramWorld::run() {
    while (result_.violations.empty() && !are_all_done() && queue_.run_next(scenario_.ends_at))
        if (!replica_->fault().empty()) accuse("time", replica_->fault());
    if (result_.violations.empty())
        for (const auto& host : hosts_)
            if (!host->client->is_done())
                accuse("progress",
                       fmt::format("{} has {} answers", host->client->name(), host->client->answered()));
    // Answers that wait for the primary's are done with, one way or the other.
    const Instant settled = queue_.now() + 1s;
    while (result_.violations.empty() && queue_.run_next(settled)) {
    }
    if (crashed_ && !result_.took_over) accuse("decision", "the primary is dead and nobody took over");
    over_ = true;
    control_->stop();
    for (const auto& host : hosts_) {
        result_.answered += host->client->answered();
        result_.repeats += host->client->repeats();
        result_.bytes_checked += host->client->bytes_checked();
    }
    result_.trace_hash = trace_.hash();
    result_.replica_frames_before_takeover = silence_.frames_before_takeover();
    result_.replica = replica_->stack().counters();
    result_.service = replica_->stack().datagram_services().front();
    return result_;
}

bool DatagramWorld::are_all_done() const {
    return std::all_of(hosts_.begin(), hosts_.end(),
                       [](const auto& host) { return host->client->is_done(); });
}

void DatagramWorld::send_heartbeat() {
    if (!primary_->is_alive() || over_) return;
    for (std::size_t link = 0; link < heartbeat_links; ++link)
        control_->heartbeat(link);
    queue_.after(scenario_.heartbeat_interval, [this] { send_heartbeat(); });
}

void DatagramWorld::crash() {
    crashed_ = true;
    trace_.event("world", "power off");
    primary_->crash();
    switch_.cut(primary_port_, true);
}

void DatagramWorld::on_decision(const failover::Action& action) {
    using Kind = failover::Action::Kind;
    if (action.kind == Kind::enter_suspect || action.kind == Kind::return_to_silent) return;
    if (!crashed_) accuse("decision", "a takeover from a living primary");
    queue_.after(scenario_.takeover_delay, [this] { take_over(); });
}

void DatagramWorld::take_over() {
    replica_->drain();
    trace_.event("world", "the replica serves");
    result_.took_over = true;
    silence_.on_takeover();
    replica_->promote();
}

void DatagramWorld::on_server_sent(const Node& node, Switch::Port port, const Frame& frame) {
    const Packet packet = form_.on_sent(node.name(), node.link_address(), frame);
    trace_.frame(node.name(), *frame, trace_.has_text() ? to_string(packet) : std::string());
    if (&node == replica_.get()) silence_.on_replica_sent(packet);
    switch_.send(port, frame);
}

void DatagramWorld::on_client_sent(const ClientHost& host, const Frame& frame) {
    const Packet packet = form_.on_sent(host.client->name(), host.link_address, frame);
    trace_.frame(host.client->name(), *frame, trace_.has_text() ? to_string(packet) : std::string());
    if (crashed_ && !result_.took_over) ++result_.asked_in_outage;
    switch_.send(host.port, frame);
}

void DatagramWorld::accuse(const std::string& oracle, const std::string& what) {
    trace_.event("VIOLATION", oracle + ": " + what);
    result_.violations.push_back({trace_.milliseconds(), oracle, what});
}

}  // namespace understudy::sim
