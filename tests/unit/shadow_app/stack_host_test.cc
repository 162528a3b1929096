// StackHost between a real stack and applications that misbehave: two stacks on one wire, virtual time.
#include "shadow_app/stack_host.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "shadow_app/echo.hh"
#include "tests/unit/shadow_app/fake_connection.hh"

namespace understudy::shadow_app {
namespace {

using namespace std::chrono_literals;

constexpr stack::LinkAddress server_link{{2, 0, 0, 0, 0, 1}};
constexpr stack::LinkAddress client_link{{2, 0, 0, 0, 0, 2}};
const Endpoint service = *stack::parse_endpoint("10.0.0.1:7000");
const Endpoint other_service = *stack::parse_endpoint("10.0.0.1:7001");
const Endpoint client = *stack::parse_endpoint("10.0.0.2:40000");

class Counter final : public stack::RandomSource {
  public:
    std::uint64_t next() override { return state_ += 0x9e3779b97f4a7c15; }

  private:
    std::uint64_t state_ = 1;
};

// A host whose frames wait in `sent` until the test moves them.
class Host final : public stack::FrameSink {
  public:
    std::span<std::byte> reserve(std::size_t length) override {
        pending_.assign(length, std::byte{});
        return pending_;
    }
    void commit() override { sent.push_back(pending_); }
    void start(const stack::Settings& settings) {
        tcp.emplace(settings, *this, host, random_);
        host.attach(*tcp);
    }

    StackHost host;
    std::optional<stack::Stack> tcp;
    std::deque<std::vector<std::byte>> sent;

  private:
    Counter random_;
    std::vector<std::byte> pending_;
};

// An application made of what a test hands it; it logs every call, and notes calls inside calls.
class ScriptedApplication final : public Application {
  public:
    using Hook = std::function<void(Connection&)>;

    void accepted(Connection& c) override { call("accepted", c, on_accepted); }
    std::size_t received(Connection& c, std::span<const std::byte> bytes) override {
        std::size_t taken = 0;
        call("received", c, [&](Connection& connection) {
            if (on_received) on_received(connection);
            taken = std::min(bytes.size(), appetite);
        });
        input.append(reinterpret_cast<const char*>(bytes.data()), taken);
        return taken;
    }
    void peer_closed(Connection& c) override {
        call("peer_closed", c, [](Connection& connection) { connection.shutdown_write(); });
    }
    void writable(Connection& c) override { call("writable", c, on_writable); }
    void timer(Connection& c) override { call("timer", c, on_timer); }
    void closed(Connection& c, CloseReason) override { call("closed", c, {}); }

    Hook on_accepted, on_received, on_writable, on_timer;
    std::size_t appetite = SIZE_MAX;
    std::string input;
    std::vector<std::string> log;
    bool was_entered_twice = false;

  private:
    void call(const char* name, Connection& c, const Hook& hook) {
        was_entered_twice |= inside_;
        inside_ = true;
        log.emplace_back(name);
        if (hook) hook(c);
        inside_ = false;
    }
    bool inside_ = false;
};

std::size_t write(Connection& connection, std::string_view text) {
    return connection.write(bytes_of(text));
}

class StackHostTest : public ::testing::Test {
  protected:
    void start(std::uint32_t server_send_buffer = 1 << 20) {
        stack::Settings settings;
        settings.services = {service, other_service};
        settings.link_address = server_link;
        settings.initial_mode = stack::Mode::master;
        settings.tcp.send_buffer_bytes = server_send_buffer;
        server.host.serve(service, application);
        server.start(settings);
        stack::Settings other;
        other.addresses = {client.address};
        other.link_address = client_link;
        other.initial_mode = stack::Mode::master;
        peer.start(other);
    }
    void open(const Endpoint& to = service) {
        id = *peer.host.connect(client, to, server_link, client_application, now);
        settle();
    }
    static void deliver(Host& from, Host& to, Instant at) {
        const auto frames = std::exchange(from.sent, {});
        for (const auto& frame : frames) {
            const stack::ReceivedFrame received{stack::Source::service, frame,
                                                static_cast<std::uint32_t>(frame.size())};
            to.host.receive(std::span(&received, 1), at);
        }
    }
    // Moves frames until none is left.
    void settle() {
        while (!server.sent.empty() || !peer.sent.empty()) {
            deliver(peer, server, now);
            deliver(server, peer, now);
        }
    }
    void pass(Duration time) {
        now += time;
        server.host.advance(now);
        peer.host.advance(now);
        settle();
    }
    void client_sends(std::string_view text) {
        peer.tcp->send(id, bytes_of(text), now);
        settle();
    }

    Instant now{1h};
    ScriptedApplication application, client_application;
    Host server, peer;
    stack::ConnectionId id;
};

TEST_F(StackHostTest, GivesAConnectionToTheApplicationOfItsService) {
    start();
    open();
    client_sends("hello");
    EXPECT_EQ(application.input, "hello");
    EXPECT_EQ(application.log, (std::vector<std::string>{"accepted", "received"}));
    EXPECT_EQ(client_application.log, (std::vector<std::string>{"accepted"}));
    EXPECT_EQ(server.host.connection_count(), 1u);
    EXPECT_EQ(server.host.counters().bytes_received, 5u);
}

TEST_F(StackHostTest, RefusesAServiceWithoutAnApplication) {
    start();
    open(other_service);
    EXPECT_EQ(server.host.counters().refused_no_application, 1u);
    EXPECT_EQ(server.host.connection_count(), 0u);
    EXPECT_EQ(client_application.log.back(), "closed");
}

TEST_F(StackHostTest, TellsOfTheEndOnceAndForgets) {
    start();
    open();
    peer.tcp->shutdown_send(id, now);
    settle();
    EXPECT_EQ(application.log, (std::vector<std::string>{"accepted", "peer_closed", "closed"}));
    EXPECT_EQ(server.host.connection_count(), 0u);
    EXPECT_EQ(server.host.counters().closed, 1u);
}

TEST_F(StackHostTest, AbortInsideReceivedEndsTheConnectionAfterThatCall) {
    start();
    application.on_received = [](Connection& c) {
        c.abort();
        EXPECT_EQ(write(c, "into the void"), 0u);
    };
    open();
    client_sends("hello");
    EXPECT_EQ(application.log, (std::vector<std::string>{"accepted", "received", "closed"}));
    EXPECT_FALSE(application.was_entered_twice);
    EXPECT_EQ(server.host.connection_count(), 0u);
}

TEST_F(StackHostTest, AbortInsideAcceptedIsSurvived) {
    start();
    application.on_accepted = [](Connection& c) { c.abort(); };
    open();
    EXPECT_EQ(application.log, (std::vector<std::string>{"accepted", "closed"}));
    EXPECT_EQ(server.host.connection_count(), 0u);
}

TEST_F(StackHostTest, AnIndexIsUsedAgainForTheNextConnection) {
    start();
    application.on_accepted = [](Connection& c) { c.abort(); };
    open();
    application.on_accepted = nullptr;
    open();
    client_sends("second");
    EXPECT_EQ(application.input, "second");
}

TEST_F(StackHostTest, ResumeInsideReceivedOffersTheRestAfterThatCall) {
    start();
    application.appetite = 2;
    application.on_received = [](Connection& c) { c.resume_receive(); };
    open();
    client_sends("hello");
    EXPECT_EQ(application.input, "hello");
    EXPECT_FALSE(application.was_entered_twice);
}

TEST_F(StackHostTest, AnApplicationThatNeverEatsDoesNotHoldTheCore) {
    start();
    application.appetite = 0;
    application.on_received = [](Connection& c) { c.resume_receive(); };
    open();
    client_sends("hello");
    EXPECT_EQ(application.input, "");
    EXPECT_LE(*server.host.next_deadline(), now);
    application.appetite = SIZE_MAX;
    pass(0ms);
    EXPECT_EQ(application.input, "hello");
}

TEST_F(StackHostTest, WritableComesWhenThereIsRoomAgain) {
    start(1000);
    std::size_t written = 0;
    application.on_received = [&](Connection& c) {
        written = write(c, std::string(1500, 'x'));
        EXPECT_EQ(c.writable_bytes(), 0u);
    };
    application.on_writable = [&](Connection& c) { written += write(c, std::string(1500 - written, 'x')); };
    open();
    client_sends("go");
    pass(100ms);
    EXPECT_EQ(written, 1500u);
    EXPECT_EQ(client_application.input.size(), 1500u);
    EXPECT_FALSE(application.was_entered_twice);
}

TEST_F(StackHostTest, EchoGivesBackMoreThanItsBuffersHold) {
    Echo echo;
    server.host.serve(other_service, echo);
    start(1000);
    open(other_service);
    const std::string text(50'000, 'e');
    client_sends(text);
    for (int i = 0; i < 1000 && client_application.input.size() < text.size(); ++i)
        pass(50ms);
    EXPECT_EQ(client_application.input, text);
}

TEST_F(StackHostTest, ATimerIsCalledWhenItIsDueAndOnce) {
    start();
    application.on_accepted = [](Connection& c) { c.set_timer(10ms); };
    open();
    EXPECT_LE(*server.host.next_deadline(), now + 10ms);
    pass(9ms);
    EXPECT_EQ(application.log.back(), "accepted");
    pass(1ms);
    EXPECT_EQ(application.log.back(), "timer");
    pass(100ms);
    EXPECT_EQ(application.log.size(), 2u);
}

TEST_F(StackHostTest, APeriodicTimerKeepsItsScheduleHoweverLate) {
    start();
    application.on_accepted = [](Connection& c) { c.set_timer(10ms); };
    application.on_timer = [](Connection& c) { c.set_timer(10ms); };
    open();
    const Instant began = now;
    pass(35ms);
    EXPECT_EQ(std::count(application.log.begin(), application.log.end(), "timer"), 3);
    EXPECT_EQ(*server.host.next_deadline(), began + 40ms);
}

TEST_F(StackHostTest, ATimerCanBeReplacedAndCancelled) {
    start();
    application.on_accepted = [](Connection& c) {
        c.set_timer(5ms);
        c.set_timer(20ms);
    };
    application.on_received = [](Connection& c) { c.cancel_timer(); };
    open();
    pass(10ms);
    EXPECT_EQ(application.log.back(), "accepted");
    client_sends("stop");
    pass(100ms);
    EXPECT_EQ(application.log.back(), "received");
}

TEST_F(StackHostTest, AFloodOfDueTimersIsBounded) {
    start();
    application.on_accepted = [](Connection& c) { c.set_timer(1us); };
    application.on_timer = [](Connection& c) { c.set_timer(1us); };
    open();
    const std::size_t before = application.log.size();
    now += 1s;
    server.host.advance(now);
    EXPECT_EQ(application.log.size() - before, StackHost::max_timers_per_advance);
    EXPECT_LE(*server.host.next_deadline(), now);
}

TEST_F(StackHostTest, ADeadConnectionsTimerIsGone) {
    start();
    application.on_accepted = [](Connection& c) { c.set_timer(10ms); };
    application.on_received = [](Connection& c) { c.abort(); };
    open();
    client_sends("die");
    pass(1s);
    EXPECT_EQ(application.log, (std::vector<std::string>{"accepted", "received", "closed"}));
}

TEST_F(StackHostTest, AFailedActiveOpenIsToldAsAnEnd) {
    start();
    const Endpoint nowhere = *stack::parse_endpoint("10.0.0.1:9");
    peer.host.connect(client, nowhere, server_link, client_application, now);
    settle();
    EXPECT_EQ(client_application.log, (std::vector<std::string>{"closed"}));
    EXPECT_EQ(peer.host.connection_count(), 0u);
}

}  // namespace
}  // namespace understudy::shadow_app
