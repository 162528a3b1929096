// lwIP, an implementation of other hands, as client, as server and as the primary that is shadowed; in
// virtual time, with loss, disorder and duplication drawn from the seed. Every byte is compared.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>

#include "shadow_app/registry.hh"
#include "tests/sim/lwip_host.hh"
#include "tests/sim/mirror.hh"
#include "tests/sim/network.hh"
#include "tests/sim/node.hh"

namespace understudy::sim {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t mtu = 1500;
constexpr std::size_t connections = 4;
constexpr std::uint64_t seeds = 12;
constexpr Duration longest_run = 300s;
constexpr stack::LinkAddress server_link{{2, 0, 0, 0, 0, 1}};
constexpr stack::LinkAddress replica_link{{2, 0, 0, 0, 0, 2}};
constexpr stack::LinkAddress client_link{{2, 0, 0, 0, 1, 0}};
constexpr stack::Endpoint service{stack::IpAddress::from_v4(0x0a4d0001), 7000};
constexpr stack::IpAddress client_address = stack::IpAddress::from_v4(0x0a4d0010);

// What a run tells, as bytes that go through a pipe.
struct Outcome {
    std::uint64_t trace_hash = 0;
    std::uint64_t bytes_compared = 0;
    std::uint64_t lost = 0, reordered = 0, duplicated = 0;
    std::uint64_t open_at_crash = 0;
    char fault[256] = {};
};

// lwIP keeps its state as long as the process lives: each run has a process of its own, and so replays.
Outcome run_apart(const std::function<Outcome()>& run) {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
        Outcome outcome;
        try {
            outcome = run();
        } catch (const std::exception& error) {
            std::strncpy(outcome.fault, error.what(), sizeof outcome.fault - 1);
        }
        const bool told = write(ends[1], &outcome, sizeof outcome) == sizeof outcome;
        _exit(told ? 0 : 1);
    }
    close(ends[1]);
    Outcome outcome;
    if (read(ends[0], &outcome, sizeof outcome) != sizeof outcome)
        std::strcpy(outcome.fault, "the run ended without an outcome");
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    return outcome;
}

LinkSettings link_for(Random random) {
    LinkSettings link;
    link.delay = random.between(Duration(5us), Duration(20ms));
    link.jitter = random.between(Duration(0us), Duration(200us));
    link.loss_per_million = static_cast<std::uint32_t>(random.below(30'000));
    link.reorder_per_million = static_cast<std::uint32_t>(random.below(30'000));
    link.duplicate_per_million = static_cast<std::uint32_t>(random.below(10'000));
    return link;
}

std::vector<std::uint32_t> messages(Random& random) {
    std::vector<std::uint32_t> bytes(random.between(5, 40));
    for (std::uint32_t& count : bytes)
        count = static_cast<std::uint32_t>(random.chance(200'000) ? random.between(2'000, 60'000)
                                                                  : random.between(1, 1'000));
    return bytes;
}

class Scene {
  public:
    explicit Scene(std::uint64_t seed)
        : random_(seed), switch_(queue_, random_.stream("switch")), lwip_(queue_, seed) {}

    Outcome lwip_client_of_master() {
        const auto application = shadow_app::make_application("echo");
        Node server("server", queue_, random_.stream("server"), 20us, sender(server_port_, &server_link));
        server.host().serve(service, *application);
        attach(server, server_port_, LinkSettings{}, server_settings(server_link, stack::Mode::master));
        LwipHost host(lwip_, client_link, client_address, sender(client_port_, nullptr));
        attach(host, client_port_, link_for(random_.stream("link")));
        const auto clients = open_clients(host);
        run([&] { return all_done(clients) && server.stack().connection_count() == 0; });
        return judge(clients);
    }

    Outcome active_open_to_lwip() {
        LwipHost host(lwip_, server_link, service.address, sender(server_port_, nullptr));
        attach(host, server_port_, LinkSettings{});
        LwipEcho echo(host, service.port);
        Node node("client", queue_, random_.stream("client"), 20us, sender(client_port_, &client_link));
        stack::Settings settings = server_settings(client_link, stack::Mode::master);
        settings.services.clear();
        settings.addresses = {client_address};
        attach(node, client_port_, link_for(random_.stream("link")), settings);
        std::vector<std::unique_ptr<ScriptedClient>> clients;
        Random random = random_.stream("script");
        for (std::size_t i = 0; i < connections; ++i) {
            ConnectionPlan plan;
            plan.client = {client_address, static_cast<std::uint16_t>(40000 + i)};
            plan.pattern_key = random.next();
            plan.message_bytes = messages(random);
            plan.think.assign(plan.message_bytes.size(), random.between(Duration(0us), Duration(20ms)));
            plan.close_with_last_message = random.chance(300'000);
            clients.push_back(make_client(plan, queue_));
            if (!node.connect(plan.client, service, server_link, *clients.back())) fail("no active open");
        }
        run([&] {
            return std::all_of(clients.begin(), clients.end(), [](auto& c) { return c->report().done; });
        });
        for (const auto& client : clients) {
            outcome_.bytes_compared += client->report().received;
            if (!client->report().fault.empty()) fail(client->report().fault);
            if (!client->report().done) fail("not done");
            if (client->report().received != client->report().expected) fail("not all came back");
        }
        return finish();
    }

    Outcome takeover_from_lwip() {
        LwipHost primary(lwip_, server_link, service.address, sender(server_port_, nullptr));
        attach(primary, server_port_, LinkSettings{});
        LwipEcho echo(primary, service.port);
        const auto application = shadow_app::make_application("echo");
        Node replica("replica", queue_, random_.stream("replica"), 20us, [&](const Frame& frame) {
            if (primary.is_alive()) fail("the replica speaks while the primary serves");
            sender(replica_port_, &replica_link)(frame);
        });
        replica.host().serve(service, *application);
        attach(replica, replica_port_, LinkSettings{}, server_settings(replica_link, stack::Mode::silent));
        Mirror mirror(queue_, random_.stream("mirror"), MirrorSettings{}, server_link, replica_link,
                      [&](const Frame& frame, stack::Source source) { replica.arrive(frame, source); });
        mirror.set_primary_port(server_port_);
        switch_.observe(
            [&](const Switch::Passage& passage, const Frame& frame) { mirror.on_passage(passage, frame); });
        LwipHost host(lwip_, client_link, client_address, sender(client_port_, nullptr));
        attach(host, client_port_, link_for(random_.stream("link")));
        mirror.add_client_port(client_port_);
        const auto clients = open_clients(host);

        Random crash = random_.stream("crash");
        const Duration crash_after = crash.between(Duration(1ms), Duration(1500ms));
        queue_.after(crash_after, [&] {
            primary.crash();
            switch_.cut(server_port_, crash.chance(500'000));
            for (const auto& client : clients)
                if (!client->is_done()) ++outcome_.open_at_crash;
        });
        queue_.after(crash_after + crash.between(Duration(10ms), Duration(2s)), [&] {
            replica.drain();
            std::uint32_t cursor = 0;
            for (const auto& c : replica.stack().snapshots(cursor, SIZE_MAX))
                if (c.coverage != stack::Coverage::covered && c.coverage != stack::Coverage::half_open)
                    fail(fmt::format("{} is {} at offset {}, and the mirror was perfect",
                                     stack::to_string(c.client), stack::to_string(c.coverage), c.detail));
            if (replica.promote().reset != 0) fail("a connection was reset at promotion");
        });
        run([&] {
            return replica.stack().mode() == stack::Mode::master && all_done(clients) &&
                   replica.stack().connection_count() == 0;
        });
        return judge(clients);
    }

  private:
    using Clients = std::vector<std::unique_ptr<LwipClient>>;

    static stack::Settings server_settings(stack::LinkAddress link, stack::Mode mode) {
        stack::Settings settings;
        settings.services = {service};
        settings.link_address = link;
        settings.initial_mode = mode;
        settings.mtu = mtu;
        settings.max_connections = 64;
        settings.tcp.time_wait = 1s;
        return settings;
    }

    // `judged`: the frames of our own stack must have the form that the RFCs ask for.
    LwipHost::Transmit sender(const Switch::Port& port, const stack::LinkAddress* judged) {
        return [this, &port, judged](const Frame& frame) {
            note(*frame);
            if (judged != nullptr)
                if (const ReadFrame read = read_frame(*frame, mtu); !read.fault.empty()) fail(read.fault);
            switch_.send(port, frame);
        };
    }

    void attach(Node& node, Switch::Port& port, const LinkSettings& link, const stack::Settings& settings) {
        port = switch_.add_port(link,
                                [&node](const Frame& frame) { node.arrive(frame, stack::Source::service); });
        node.start(settings);
    }
    void attach(LwipHost& host, Switch::Port& port, const LinkSettings& link) {
        port = switch_.add_port(link, [&host](const Frame& frame) { host.arrive(frame); });
        host.start();
    }

    Clients open_clients(LwipHost& host) {
        Clients clients;
        Random random = random_.stream("script");
        for (std::size_t i = 0; i < connections; ++i) {
            LwipClient::Plan plan;
            plan.server = service;
            plan.port = static_cast<std::uint16_t>(40000 + i);
            plan.pattern_key = random.next();
            plan.message_bytes = messages(random);
            plan.think = random.between(Duration(0us), Duration(40ms));
            clients.push_back(std::make_unique<LwipClient>(host, queue_, plan));
        }
        return clients;
    }

    static bool all_done(const Clients& clients) {
        return std::all_of(clients.begin(), clients.end(), [](auto& client) { return client->is_done(); });
    }

    void run(const std::function<bool()>& reached) {
        const Instant limit = queue_.now() + longest_run;
        while (outcome_.fault[0] == '\0' && !reached())
            if (queue_.now() >= limit || !queue_.run_next(limit)) return fail("time is up");
    }

    Outcome judge(const Clients& clients) {
        for (const auto& client : clients) {
            outcome_.bytes_compared += client->received();
            if (!client->fault().empty()) fail(client->fault());
        }
        return finish();
    }

    Outcome finish() {
        outcome_.lost = switch_.counters().lost;
        outcome_.reordered = switch_.counters().reordered;
        outcome_.duplicated = switch_.counters().duplicated;
        return outcome_;
    }

    void fail(const std::string& fault) {
        if (outcome_.fault[0] == '\0') std::strncpy(outcome_.fault, fault.c_str(), sizeof outcome_.fault - 1);
    }

    void note(const std::vector<std::byte>& frame) {
        const auto add = [this](std::uint64_t word) {
            outcome_.trace_hash = Random::mix(outcome_.trace_hash ^ word);
        };
        add(static_cast<std::uint64_t>(queue_.now().time_since_epoch().count()));
        for (const std::byte byte : frame)
            add(std::to_integer<std::uint64_t>(byte));
    }

    EventQueue queue_;
    const Random random_;
    Switch switch_;
    Switch::Port server_port_ = 0, client_port_ = 0, replica_port_ = 0;
    LwipLibrary lwip_;
    Outcome outcome_;
};

using Play = Outcome (Scene::*)();

// Each seed once, the first twice; returns the sum of all.
Outcome play(Play what) {
    Outcome sum;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        const auto one = [&] { return run_apart([&] { return (Scene(seed).*what)(); }); };
        const Outcome outcome = one();
        EXPECT_STREQ(outcome.fault, "") << "seed " << seed;
        EXPECT_GT(outcome.bytes_compared, 0u) << "seed " << seed;
        if (seed == 1) {
            EXPECT_EQ(one().trace_hash, outcome.trace_hash) << "a seed does not replay";
        }
        sum.lost += outcome.lost;
        sum.reordered += outcome.reordered;
        sum.duplicated += outcome.duplicated;
        sum.open_at_crash += outcome.open_at_crash;
        sum.bytes_compared += outcome.bytes_compared;
    }
    EXPECT_GT(sum.lost, 0u);
    EXPECT_GT(sum.reordered, 0u);
    EXPECT_GT(sum.duplicated, 0u);
    return sum;
}

TEST(Lwip, AsClientOfOurMaster) {
    play(&Scene::lwip_client_of_master);
}

TEST(Lwip, AsServerOfOurActiveOpen) {
    play(&Scene::active_open_to_lwip);
}

TEST(Lwip, AsClientAndAsThePrimaryThatCrashes) {
    EXPECT_GT(play(&Scene::takeover_from_lwip).open_at_crash, 2 * seeds);
}

}  // namespace
}  // namespace understudy::sim
