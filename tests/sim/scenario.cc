#include "tests/sim/scenario.hh"

#include <algorithm>
#include <array>
#include <iterator>

namespace understudy::sim {
namespace {

using namespace std::chrono_literals;

template <typename T>
struct Range {
    T least{};
    T most{};
};
using Count = Range<std::uint64_t>;
using Span = Range<Duration>;

std::uint64_t draw(Random& random, const Count& range) {
    return random.between(range.least, range.most);
}
Duration draw(Random& random, const Span& range) {
    return random.between(range.least, range.most);
}

constexpr std::uint32_t always = 1'000'000;
constexpr std::uint32_t half = always / 2;

// What a profile allows. Times of opening count from the crash.
struct Rules {
    Profile profile;
    std::vector<AppKind> apps;
    Count hosts{1, 3};
    Count connections{1, 4};  // on each host
    Span opens{-500ms, -1ms};
    Count messages{1, 20};
    Count message_bytes{1, 3000};
    Span think{0ms, 30ms};
    std::uint32_t long_think_per_million = 0;  // up to three seconds: idle through the failure
    std::uint32_t close_with_last_per_million = half / 2;
    std::uint32_t slow_reader_per_million = 0;
    std::uint32_t small_buffers_per_million = half / 2;
    Count ticks{50, 300};
    Span link_delay{5us, 2ms};
    Span link_jitter{0us, 200us};
    std::uint32_t max_loss_per_million = 0;
    std::uint32_t max_duplicate_per_million = 0;
    std::uint32_t max_reorder_per_million = 0;
    // What may be wrong with the mirror; each direction draws its own, and may be spared.
    MirrorFaults mirror_worst{};
    std::uint32_t mirror_fault_per_million = half;  // that a fault is there at all, in one direction
    Count drops{0, 0};                              // predicates
    Count drop_nth{1, 6};
    bool drops_handshakes = false;  // only those
    Span cut_before_crash{};        // the mirror goes blind so long before the crash
    bool repairs = false;  // there is a repair source
    std::uint32_t slow_server_per_million = 0;
    Duration bound = 120s;  // from the crash, or its absence, to the end of every connection
};

std::vector<Rules> make_rules() {
    Rules echo{.profile = {"echo", "requests and answers, some connections idle through the failure"},
               .apps = {AppKind::echo}};
    echo.long_think_per_million = 100'000;

    Rules handshake = echo;
    handshake.profile = {"handshake", "connections that begin around the crash"};
    handshake.connections = {2, 10};
    handshake.opens = {-8ms, 5ms};
    handshake.messages = {1, 4};

    Rules bulk = echo;
    bulk.profile = {"bulk", "streams in both directions at full speed, slow readers, small buffers"};
    bulk.apps = {AppKind::echo, AppKind::discard};
    bulk.connections = {1, 2};
    bulk.opens = {-60ms, -1ms};
    bulk.messages = {1, 3};
    bulk.message_bytes = {20'000, 400'000};
    bulk.slow_reader_per_million = half / 2;
    bulk.long_think_per_million = 0;

    Rules discard = echo;
    discard.profile = {"discard", "uploads that nobody answers"};
    discard.apps = {AppKind::discard};
    discard.message_bytes = {1, 20'000};

    Rules ticker = echo;
    ticker.profile = {"ticker", "a server that speaks on its own schedule"};
    ticker.apps = {AppKind::ticker};

    Rules close = echo;
    close.profile = {"close", "connections half closed, or closing, at the crash"};
    close.connections = {2, 8};
    close.opens = {-10ms, -500us};
    close.messages = {1, 2};
    close.message_bytes = {1, 15'000};
    close.think = {0us, 100us};
    close.close_with_last_per_million = always - 200'000;
    close.long_think_per_million = 0;

    Rules wan = echo;
    wan.profile = {"wan", "clients far away: primary's bytes still under way when the replica speaks"};
    wan.apps = {AppKind::echo, AppKind::discard, AppKind::ticker};
    wan.message_bytes = {1, 60'000};
    wan.link_delay = {10ms, 60ms};
    wan.link_jitter = {0ms, 5ms};

    Rules lossy = echo;
    lossy.profile = {"lossy", "loss, duplication and reordering between clients and switch"};
    lossy.apps = {AppKind::echo, AppKind::discard, AppKind::ticker};
    lossy.message_bytes = {1, 20'000};
    lossy.link_jitter = {0ms, 1ms};
    lossy.max_loss_per_million = 30'000;
    lossy.max_duplicate_per_million = 10'000;
    lossy.max_reorder_per_million = 30'000;
    lossy.bound = 900s;

    Rules slow = echo;
    slow.profile = {"slow", "applications that lag behind their primary, and primaries that do behind them"};
    slow.apps = {AppKind::echo, AppKind::discard};
    slow.message_bytes = {1, 30'000};
    slow.slow_reader_per_million = half / 2;
    slow.small_buffers_per_million = half;
    slow.slow_server_per_million = half;

    Rules mirror_loss = echo;
    mirror_loss.profile = {"mirror-loss", "a mirror that loses frames, single ones and bursts"};
    mirror_loss.apps = {AppKind::echo, AppKind::discard, AppKind::ticker};
    mirror_loss.message_bytes = {1, 8'000};
    mirror_loss.mirror_worst = {.loss_per_million = 60'000, .burst_per_million = 10'000, .burst_frames = 12};

    Rules mirror_order = echo;
    mirror_order.profile = {"mirror-order", "a mirror that reorders, duplicates and delays"};
    mirror_order.apps = {AppKind::echo, AppKind::discard, AppKind::ticker};
    mirror_order.message_bytes = {1, 8'000};
    mirror_order.mirror_worst = {
        .duplicate_per_million = 100'000, .reorder_per_million = 200'000, .reorder_delay = 10ms};

    Rules mirror_handshake = handshake;
    mirror_handshake.profile = {"mirror-handshake",
                                "parts of handshakes missing on the mirror, around the crash"};
    mirror_handshake.opens = {-20ms, 5ms};
    mirror_handshake.drops = {1, 6};
    mirror_handshake.drop_nth = {1, 2};
    mirror_handshake.drops_handshakes = true;
    mirror_handshake.mirror_worst = {
        .loss_per_million = 200'000, .reorder_per_million = 200'000, .reorder_delay = 3ms};

    Rules mirror_drop = echo;
    mirror_drop.profile = {"mirror-drop", "one chosen frame or a few missing on the mirror"};
    mirror_drop.apps = {AppKind::echo, AppKind::discard, AppKind::ticker};
    mirror_drop.message_bytes = {1, 5'000};
    mirror_drop.messages = {1, 6};
    mirror_drop.close_with_last_per_million = half;
    mirror_drop.drops = {1, 5};

    Rules mirror_tail = echo;
    mirror_tail.profile = {"mirror-tail", "a mirror that goes blind shortly before the crash"};
    mirror_tail.apps = {AppKind::echo, AppKind::discard, AppKind::ticker};
    mirror_tail.cut_before_crash = {0us, 20ms};

    Rules mirror_all = lossy;
    mirror_all.profile = {"mirror-all", "every fault of the mirror, lagging applications, and lossy links"};
    mirror_all.max_loss_per_million = 10'000;
    mirror_all.slow_server_per_million = half / 2;
    mirror_all.message_bytes = {1, 8'000};
    mirror_all.drops = {0, 2};
    mirror_all.mirror_worst = {.loss_per_million = 20'000,
                               .burst_per_million = 3'000,
                               .burst_frames = 8,
                               .duplicate_per_million = 30'000,
                               .reorder_per_million = 30'000,
                               .reorder_delay = 80ms,
                               .truncate_per_million = 20'000};

    Rules repair = mirror_loss;
    repair.profile = {"repair", "a mirror that loses, and a repair source that is slow, confused, or dies early"};
    repair.repairs = true;
    repair.messages = {5, 30};
    repair.mirror_worst.reorder_per_million = 30'000;
    repair.mirror_worst.reorder_delay = 20ms;
    repair.mirror_worst.truncate_per_million = 10'000;

    return {handshake,   echo,        bulk,      discard,      ticker,      close,
            wan,         lossy,       slow,      mirror_order, mirror_loss, mirror_handshake,
            mirror_drop, mirror_tail, mirror_all, repair};
}

const std::vector<Rules>& rules() {
    static const std::vector<Rules> all = make_rules();
    return all;
}

stack::Endpoint client_endpoint(std::size_t host, std::size_t connection) {
    return {stack::IpAddress::from_v4(0x0a4d0100u + static_cast<std::uint32_t>(host) + 1),
            static_cast<std::uint16_t>(40'000 + connection)};
}

ConnectionPlan plan_connection(const Rules& rules, AppKind app, Instant crash, Random& random) {
    ConnectionPlan plan;
    plan.app = app;
    plan.pattern_key = random.next();
    plan.opens_at = crash + draw(random, rules.opens);
    const std::uint64_t messages = draw(random, rules.messages);
    for (std::uint64_t i = 0; i < messages; ++i) {
        plan.message_bytes.push_back(static_cast<std::uint32_t>(draw(random, rules.message_bytes)));
        plan.think.push_back(random.chance(rules.long_think_per_million) ? draw(random, Span{0s, 3s})
                                                                         : draw(random, rules.think));
    }
    plan.close_with_last_message = random.chance(rules.close_with_last_per_million);
    if (random.chance(rules.slow_reader_per_million)) {
        plan.reads_at_most = static_cast<std::uint32_t>(random.between(500, 20'000));
        plan.read_pause = draw(random, Span{1us, 2ms});
    }
    plan.interval_us = random.between(300, 10'000);
    plan.line_bytes = static_cast<std::uint32_t>(random.between(0, random.chance(half) ? 40 : 3000));
    plan.lines = draw(random, rules.ticks);
    return plan;
}

LinkSettings plan_link(const Rules& rules, Random& random) {
    LinkSettings link;
    link.delay = draw(random, rules.link_delay);
    link.jitter = draw(random, rules.link_jitter);
    link.loss_per_million = static_cast<std::uint32_t>(random.between(0, rules.max_loss_per_million));
    link.duplicate_per_million =
        static_cast<std::uint32_t>(random.between(0, rules.max_duplicate_per_million));
    link.reorder_per_million = static_cast<std::uint32_t>(random.between(0, rules.max_reorder_per_million));
    return link;
}

stack::TcpSettings plan_tcp(const Rules& rules, Random& random) {
    stack::TcpSettings tcp;
    tcp.mss = static_cast<std::uint16_t>(random.chance(half) ? 1460 : random.between(536, 1460));
    tcp.window_scale = static_cast<std::uint8_t>(random.between(0, 8));
    tcp.timestamps = !random.chance(half / 2);
    tcp.sack = !random.chance(half / 2);
    if (random.chance(rules.small_buffers_per_million)) {
        tcp.receive_buffer_bytes = static_cast<std::uint32_t>(random.between(4'000, 64'000));
        tcp.send_buffer_bytes = static_cast<std::uint32_t>(random.between(4'000, 64'000));
    }
    tcp.time_wait = 2s;
    return tcp;
}

MirrorFaults plan_faults(const Rules& rules, Random& random) {
    const auto some = [&](std::uint32_t worst) {
        if (worst == 0 || !random.chance(rules.mirror_fault_per_million)) return 0u;
        return static_cast<std::uint32_t>(random.between(1, worst));
    };
    const MirrorFaults& worst = rules.mirror_worst;
    MirrorFaults faults = worst;
    faults.loss_per_million = some(worst.loss_per_million);
    faults.burst_per_million = some(worst.burst_per_million);
    faults.duplicate_per_million = some(worst.duplicate_per_million);
    faults.reorder_per_million = some(worst.reorder_per_million);
    faults.truncate_per_million = some(worst.truncate_per_million);
    if (worst.reorder_per_million != 0) faults.reorder_delay = draw(random, Span{1us, worst.reorder_delay});
    return faults;
}

DropRule plan_drop(const Rules& rules, Random& random) {
    using Kind = DropRule::Kind;
    DropRule rule;
    constexpr std::array kinds{Kind::handshake, Kind::data, Kind::bare_ack, Kind::fin};
    rule.kind = kinds[random.below(rules.drops_handshakes ? 3 : kinds.size())];
    rule.from_primary = random.chance(half);
    rule.connection = random.below(rules.connections.most * rules.hosts.most);
    rule.nth = static_cast<std::uint32_t>(draw(random, rules.drop_nth));
    return rule;
}

void plan_mirror_faults(const Rules& rules, Random random, Scenario& scenario, Instant crash) {
    MirrorSettings& mirror = scenario.mirror;
    mirror.from_client = plan_faults(rules, random);
    mirror.from_primary = plan_faults(rules, random);
    for (std::uint64_t left = draw(random, rules.drops); left != 0; --left)
        mirror.drops.push_back(plan_drop(rules, random));
    if (rules.cut_before_crash.most != Duration::zero())
        mirror.cut = {crash - draw(random, rules.cut_before_crash), crash + (random.chance(half) ? 10s : 0s)};
    const auto slowness = [&] {
        if (!random.chance(rules.slow_server_per_million) || scenario.app == AppKind::ticker)
            return Slowness{};
        return Slowness{static_cast<std::uint32_t>(random.between(200, 5'000)),
                        draw(random, Span{10us, 3ms})};
    };
    scenario.primary_slowness = slowness();
    scenario.replica_slowness = slowness();
}

// The deadline may be shorter or longer than any grace time.
RepairSettings plan_repair(Random random, Instant crash) {
    RepairSettings repair;
    repair.deadline = draw(random, Span{5ms, 400ms});
    repair.delay = draw(random, random.chance(half) ? Span{100us, 2ms} : Span{1ms, 100ms});
    repair.jitter = draw(random, Span{0us, 5ms});
    if (random.chance(half)) repair.loss_per_million = static_cast<std::uint32_t>(random.between(1, half));
    if (random.chance(half)) repair.nonsense_per_million = static_cast<std::uint32_t>(random.between(1, half));
    if (random.chance(half / 2)) repair.dies_at = crash - draw(random, Span{0ms, 400ms});
    return repair;
}

MirrorSettings plan_mirror(Random& random) {
    MirrorSettings mirror;
    mirror.kind = random.chance(half) ? MirrorKind::uplink : MirrorKind::primary_port;
    mirror.delay = draw(random, Span{1us, 500us});
    mirror.jitter = random.chance(half) ? Duration::zero() : draw(random, Span{1us, 500us});
    return mirror;
}

Scenario plan(const Rules& rules, std::uint64_t seed, Instant start) {
    Random random = Random(seed).stream(rules.profile.name);
    Scenario scenario;
    scenario.app = rules.apps[random.below(rules.apps.size())];
    const Instant crash = start + draw(random, Span{600ms, 700ms});
    if (!random.chance(always / 16)) scenario.crash_at = crash;
    scenario.crash_loses_in_flight = random.chance(half);
    scenario.client_hosts = draw(random, rules.hosts);
    for (std::size_t host = 0; host < scenario.client_hosts; ++host) {
        scenario.client_links.push_back(plan_link(rules, random));
        auto& connections = scenario.connections.emplace_back();
        const std::uint64_t count = draw(random, rules.connections);
        for (std::uint64_t i = 0; i < count; ++i) {
            connections.push_back(plan_connection(rules, scenario.app, crash, random));
            connections.back().client = client_endpoint(host, i);
        }
    }
    scenario.mirror = plan_mirror(random);
    scenario.client_tcp = plan_tcp(rules, random);
    scenario.primary_tcp = plan_tcp(rules, random);
    scenario.replica_tcp = plan_tcp(rules, random);
    scenario.heartbeat_interval = draw(random, Span{5ms, 30ms});
    scenario.heartbeat_misses = static_cast<std::uint32_t>(random.between(2, 4));
    scenario.heartbeat_delay = draw(random, Span{1us, 300us});
    scenario.heartbeat_jitter = draw(random, Span{0us, 300us});
    scenario.takeover_delay = draw(random, Span{1us, 1ms});
    scenario.poll_interval = draw(random, Span{0us, 100us});
    scenario.ends_at = crash + rules.bound;
    plan_mirror_faults(rules, random.stream("faults"), scenario, crash);
    if (rules.repairs) scenario.repair = plan_repair(random.stream("repair"), crash);
    return scenario;
}

}  // namespace

std::span<const Profile> profiles() {
    static const std::vector<Profile> all = [] {
        std::vector<Profile> list;
        std::transform(rules().begin(), rules().end(), std::back_inserter(list),
                       [](const Rules& r) { return r.profile; });
        return list;
    }();
    return all;
}

const Profile* find_profile(std::string_view name) {
    const auto all = profiles();
    const auto found =
        std::find_if(all.begin(), all.end(), [name](const Profile& p) { return p.name == name; });
    return found == all.end() ? nullptr : &*found;
}

Scenario make_scenario(const Profile& profile, std::uint64_t seed, Instant start) {
    const auto found = std::find_if(rules().begin(), rules().end(),
                                    [&](const Rules& r) { return r.profile.name == profile.name; });
    return plan(*found, seed, start);
}

Scenario make_demo_scenario(std::uint64_t seed, Instant start) {
    Rules demo{.profile = {"demo", "a failover to be told"}, .apps = {AppKind::echo}};
    demo.hosts = {4, 4};
    demo.connections = {5, 5};
    demo.opens = {-500ms, -100ms};
    demo.messages = {60, 80};
    demo.message_bytes = {64, 2000};
    demo.think = {5ms, 25ms};
    demo.link_delay = {100us, 500us};
    Scenario scenario = plan(demo, seed, start);
    scenario.crash_at = scenario.ends_at - demo.bound;
    scenario.mirror.kind = MirrorKind::uplink;
    scenario.heartbeat_interval = 10ms;
    scenario.heartbeat_misses = 3;
    return scenario;
}

}  // namespace understudy::sim
