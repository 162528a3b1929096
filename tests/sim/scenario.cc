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

    return {handshake, echo, bulk, discard, ticker, close, wan, lossy};
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
