// What ICMP says of a connection, and paths that say nothing (RFC 1191, RFC 4821, RFC 5927).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "stack/tcp/core.hh"
#include "tests/unit/stack/harness.hh"

namespace understudy::stack::test {
namespace {

class PathMtu : public ::testing::Test {
  protected:
    explicit PathMtu(bool probing = false) : core(with(probing), wire, events, random) {
        core.now = Instant(1h);
    }
    static Settings with(bool probing) {
        Settings settings = settings_for(Mode::master);
        settings.tcp.mtu_probing = probing;
        return settings;
    }

    void inject(Seq seq, Seq ack, std::uint8_t flags) {
        tcp::Segment segment;
        segment.link_source = client_link;
        segment.link_destination = replica_link;
        segment.remote = client_endpoint;
        segment.local = service_endpoint;
        segment.header.seq = seq;
        segment.header.ack = ack;
        segment.header.flags.bits = flags;
        segment.header.window = 60000;
        segment.header.options.mss = 1460;
        tcp::Core::Batch batch(core);
        tcp::master_input(core, core.table.find(core.key_of(client_endpoint, service_endpoint)), segment);
    }
    tcp::Connection& establish() {
        inject(Seq(100), Seq(0), TcpFlags::syn);
        tcp::Connection& c = *core.table.find(core.key_of(client_endpoint, service_endpoint));
        inject(Seq(101), c.iss + 1, TcpFlags::ack);
        wire.frames.clear();
        return c;
    }
    void send(tcp::Connection& c, std::size_t bytes) {
        const std::string text(bytes, 'x');
        tcp::Core::Batch batch(core);
        tcp::app_send(core, c, as_bytes(text), false, WriteEnd::none);
    }
    std::optional<Packet> sent() {
        if (wire.frames.empty()) return std::nullopt;
        const auto packet = decode(wire.frames.front());
        wire.frames.pop_front();
        return packet;
    }
    void report(tcp::Connection& c, std::uint32_t mtu, Seq quoted) {
        tcp::Core::Batch batch(core);
        tcp::on_path_mtu(core, c, mtu, quoted);
    }
    void time_out(tcp::Connection& c) {
        core.now = c.retransmit_at;
        tcp::Core::Batch batch(core);
        tcp::on_timer(core, c);
    }

    Wire wire;
    Recorder events;
    CountingRandom random;
    tcp::Core core;
};

TEST_F(PathMtu, AReportCutsWhatIsInFlightAtOnce) {
    tcp::Connection& c = establish();
    send(c, 2920);
    EXPECT_EQ(sent()->payload.size(), 1460u);
    EXPECT_EQ(sent()->payload.size(), 1460u);
    const std::uint32_t cwnd = c.congestion.cwnd;
    report(c, 1000, c.snd_una);
    const auto again = sent();
    ASSERT_TRUE(again);
    EXPECT_EQ(again->payload.size(), 960u);
    EXPECT_EQ(again->tcp.seq, c.snd_una);
    EXPECT_EQ(c.congestion.cwnd, cwnd) << "no sign of congestion (RFC 1191 6.5)";
}

TEST_F(PathMtu, AReportOfNothingInFlightIsNotBelieved) {
    tcp::Connection& c = establish();
    send(c, 100);
    report(c, 600, c.snd_max);
    report(c, 600, c.snd_una - 1);
    EXPECT_EQ(c.mss, 1460);
    EXPECT_EQ(core.counters.drop_icmp_unproven, 2u);
}

TEST_F(PathMtu, ReportsNeitherRaiseNorCutBelowTheLeast) {
    tcp::Connection& c = establish();
    send(c, 100);
    report(c, 9000, c.snd_una);
    EXPECT_EQ(c.mss, 1460);
    report(c, 68, c.snd_una);
    EXPECT_EQ(c.mss, 552 - 40);
}

TEST_F(PathMtu, AReportIsForgottenAfterTenMinutes) {
    tcp::Connection& c = establish();
    send(c, 1460);
    report(c, 1000, c.snd_una);
    inject(Seq(101), c.snd_nxt, TcpFlags::ack);
    wire.frames.clear();
    core.now += 9min;
    send(c, 1460);
    EXPECT_EQ(sent()->payload.size(), 960u);
    inject(Seq(101), c.snd_nxt, TcpFlags::ack);
    core.now += 2min;
    wire.frames.clear();
    send(c, 1460);
    EXPECT_EQ(sent()->payload.size(), 1460u);
    EXPECT_EQ(core.counters.path_mtu_raised, 1u);
}

TEST_F(PathMtu, ARouterWithoutANumberMeansTheNextPlateau) {
    tcp::Connection& c = establish();
    send(c, 100);
    report(c, 0, c.snd_una);
    EXPECT_EQ(c.mss, 1492 - 40);
    report(c, 0, c.snd_una);
    EXPECT_EQ(c.mss, 1006 - 40);
}

TEST_F(PathMtu, SilentLossIsNotSuspectedUnlessAsked) {
    tcp::Connection& c = establish();
    send(c, 1460);
    for (int i = 0; i < 6; ++i)
        time_out(c);
    EXPECT_EQ(c.mss, 1460);
}

class Probing : public PathMtu {
  protected:
    Probing() : PathMtu(true) {}
};

TEST_F(Probing, ShrinksSegmentsThatVanish) {
    tcp::Connection& c = establish();
    send(c, 1460);
    time_out(c);
    time_out(c);
    EXPECT_EQ(c.mss, 1460);
    wire.frames.clear();
    time_out(c);
    EXPECT_EQ(c.mss, 1024);
    EXPECT_EQ(sent()->payload.size(), 1024u);
    time_out(c);
    EXPECT_EQ(c.mss, 512);
    EXPECT_EQ(core.counters.path_black_holes, 2u);
}

TEST_F(PathMtu, OnlyAHardErrorEndsAnActiveOpen) {
    const Endpoint local{service_endpoint.address, 50000};
    tcp::Connection* c = tcp::open_active(core, local, client_endpoint, client_link, {});
    const ConnectionId id = c->id();
    tcp::on_unreachable(core, *c, true, c->iss + 1000);
    EXPECT_NE(core.table.find(id), nullptr) << "it quotes another segment";
    tcp::on_unreachable(core, *c, false, c->iss);
    EXPECT_NE(core.table.find(id), nullptr);
    tcp::on_unreachable(core, *c, true, c->iss);
    EXPECT_EQ(core.table.find(id), nullptr);
    EXPECT_THAT(events.log, ::testing::ElementsAre("unreachable"));
}

TEST_F(PathMtu, ASoftErrorIsTheReasonWhenNothingFollows) {
    const Endpoint local{service_endpoint.address, 50000};
    tcp::Connection* c = tcp::open_active(core, local, client_endpoint, client_link, {});
    tcp::on_unreachable(core, *c, false, c->iss);
    for (int i = 0; i < 8; ++i)
        time_out(*c);
    EXPECT_THAT(events.log, ::testing::ElementsAre("unreachable"));
}

TEST_F(PathMtu, NoErrorEndsAnEstablishedConnection) {
    tcp::Connection& c = establish();
    send(c, 100);
    tcp::on_unreachable(core, c, true, c.snd_una);
    EXPECT_EQ(core.table.size(), 1u);
}

}  // namespace
}  // namespace understudy::stack::test
