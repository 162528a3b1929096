// The receiving side: when acknowledgements go out, and which window they offer.
#include <gmock/gmock.h>

#include "tests/unit/stack/master.hh"

namespace understudy::stack::test {
namespace {

class Receiving : public Master {
  protected:
    using Master::Master;

    void data(std::string bytes, std::uint8_t flags = 0) {
        const auto length = static_cast<std::uint32_t>(bytes.size());
        host.inject(
            from_client(at, acked, static_cast<std::uint8_t>(flags | TcpFlags::ack), std::move(bytes)));
        at += length;
    }
    void full_segment() { data(std::string(1000, 'd')); }
    // Uses up the quick acknowledgements of the start.
    void warm_up() {
        for (int i = 0; i < 40; ++i)
            full_segment();
        host.pass(100ms);  // shorter than the RTO: no new start
        host.wire.frames.clear();
    }
    std::size_t count_sent() {
        std::size_t count = 0;
        while (host.sent())
            ++count;
        return count;
    }

    std::uint32_t at = 0;
    std::uint32_t acked = 0;
};

TEST_F(Receiving, TheFirstSegmentsAreAcknowledgedOneByOne) {
    establish();
    for (int i = 0; i < 16; ++i) {
        full_segment();
        EXPECT_EQ(count_sent(), 1u) << i;
    }
}

TEST_F(Receiving, LaterEverySecondFullSegmentIs) {
    establish();
    warm_up();
    full_segment();
    EXPECT_EQ(count_sent(), 0u);
    full_segment();
    EXPECT_EQ(count_sent(), 1u);
}

TEST_F(Receiving, AnAcknowledgementWaitsAtLeastFortyMilliseconds) {
    establish();
    warm_up();
    full_segment();
    host.pass(35ms);
    EXPECT_EQ(count_sent(), 0u);
    host.pass(170ms);
    EXPECT_EQ(count_sent(), 1u);
    EXPECT_GE(host.stack.counters().tcp_delayed_acks, 1u);
}

TEST_F(Receiving, APauseBeginsAgain) {
    establish();
    warm_up();
    host.pass(5s);
    full_segment();
    EXPECT_EQ(count_sent(), 1u);
}

TEST_F(Receiving, AConversationLetsAnswersAcknowledge) {
    establish();
    for (int i = 0; i < 5; ++i) {
        data("ask", TcpFlags::psh);
        host.send("answer");
        acked += 6;
        host.wire.frames.clear();
    }
    data("ask", TcpFlags::psh);
    EXPECT_EQ(count_sent(), 0u);
    host.stack.acknowledge(host.events.connection, true, host.now);
    EXPECT_EQ(count_sent(), 1u) << "unless the application asks for it (TCP_QUICKACK)";
}

TEST_F(Receiving, AGapAndItsFillingAreAcknowledgedAtOnce) {
    establish();
    warm_up();
    const std::uint32_t hole = at;
    at += 1000;
    for (int i = 0; i < 3; ++i) {
        full_segment();
        EXPECT_EQ(host.sent()->tcp.ack, host.client_seq(hole)) << "each draws its own";
    }
    at = hole;
    full_segment();
    EXPECT_EQ(host.sent()->tcp.ack, host.client_seq(hole + 4000));
}

TEST_F(Receiving, OldDataIsAcknowledgedAtOnce) {
    establish();
    warm_up();
    at -= 1000;
    full_segment();
    EXPECT_EQ(host.sent()->tcp.ack, host.client_seq(at));
}

TEST_F(Receiving, TheHandshakeOffersWholeSegments) {
    syn();
    EXPECT_EQ(host.sent()->tcp.window, 64240) << "65536 rounded to 1460, as Linux offers";
}

TEST_F(Receiving, TimestampsAreCountedInTheSegmentsOfTheHandshake) {
    timestamps = true;
    syn();
    EXPECT_EQ(host.sent()->tcp.window, 65160) << "65536 rounded to 1448";
}

TEST_F(Receiving, TheScaleSuitsTheLargestBuffer) {
    for (const auto& [bytes, scale] :
         {std::pair{6u << 20, 7}, {15u << 20, 8}, {60u << 20, 10}, {60000u, 0}}) {
        Settings settings = settings_for(Mode::master);
        settings.tcp.receive_buffer_bytes = 50000;
        settings.tcp.receive_buffer_max_bytes = bytes;
        Host other(settings);
        Packet packet = opening();
        packet.tcp.options.window_scale_present = true;
        other.inject(packet);
        EXPECT_EQ(int{other.sent()->tcp.options.window_scale}, scale) << bytes;
    }
}

// A peer that scales, and an application that reads at will.
class Scaled : public Receiving {
  protected:
    void establish_scaled() {
        Packet packet = opening();
        packet.tcp.options.window_scale_present = true;
        packet.tcp.options.window_scale = 7;
        host.inject(packet);
        host.server_isn = host.sent()->tcp.seq.raw();
        host.pass(10ms);  // the round trip
        host.inject(from_client(0, 0, TcpFlags::ack));
    }
    std::uint32_t window_offered() { return host.snapshot().rcv_wnd; }
    void fill_window_each_round_trip(int rounds) {
        for (int i = 0; i < rounds; ++i) {
            for (std::uint32_t room = window_offered() / 1000; room != 0; --room)
                full_segment();
            host.pass(11ms);
        }
    }
};

TEST_F(Scaled, TheBufferGrowsWithThePath) {
    establish_scaled();
    const std::uint32_t at_first = window_offered();
    EXPECT_LE(at_first, 65536u);
    fill_window_each_round_trip(30);
    EXPECT_GT(window_offered(), 1u << 20);
    EXPECT_LE(window_offered(), 3u << 20) << "half of the largest buffer";
}

TEST_F(Scaled, TheBufferStaysSmallForASlowSender) {
    establish_scaled();
    for (int i = 0; i < 100; ++i) {
        full_segment();
        host.pass(11ms);
    }
    EXPECT_LE(window_offered(), 65536u + 128);
}

TEST_F(Scaled, AFixedBufferIsNotTuned) {
    ConnectionOptions options;
    options.receive_buffer_bytes = 200000;
    ASSERT_TRUE(host.stack.set_service_options(service_endpoint, options));
    establish_scaled();
    fill_window_each_round_trip(30);
    EXPECT_LE(window_offered(), 100000u + 128);
}

TEST_F(Scaled, TheEdgeNeverMovesBack) {
    host.events.appetite = 0;
    establish_scaled();
    Seq edge(0);
    bool first = true;
    for (int i = 0; i < 60; ++i) {
        full_segment();
        host.pass(50ms);
        while (const auto ack = host.sent()) {
            const Seq here = ack->tcp.ack + (std::uint32_t{ack->tcp.window} << 7);
            if (!first) {
                EXPECT_GE(here, edge);
            }
            first = false;
            edge = here;
        }
    }
}

TEST_F(Scaled, AShrunkBufferDoesNotShrinkTheWindow) {
    establish_scaled();
    full_segment();
    host.wire.frames.clear();
    const Seq edge = Seq(host.snapshot().rcv_nxt) + window_offered();
    ConnectionOptions options;
    options.receive_buffer_bytes = 8000;
    host.stack.set_options(host.events.connection, options, host.now);
    full_segment();
    const auto ack = host.sent();
    ASSERT_TRUE(ack);
    EXPECT_GE(ack->tcp.ack + (std::uint32_t{ack->tcp.window} << 7), edge);
}

TEST_F(Receiving, ASmallReadDoesNotOpenAClosedWindow) {
    host.events.appetite = 0;
    establish();
    while (at < 64000)
        full_segment();
    host.pass(300ms);
    std::uint32_t last_window = 0xffff;
    while (const auto ack = host.sent())
        last_window = ack->tcp.window;
    EXPECT_LT(last_window, 2000u);
    host.events.appetite = 100;
    host.stack.resume_receive(host.events.connection, host.now);
    EXPECT_FALSE(host.sent()) << "the receiver's silly window (RFC 1122 4.2.3.3)";
    host.events.appetite = SIZE_MAX;
    host.stack.resume_receive(host.events.connection, host.now);
    const auto update = host.sent();
    ASSERT_TRUE(update);
    EXPECT_GT(update->tcp.window, 60000u);
}

class FewRanges : public Receiving {
  protected:
    static Settings few() {
        Settings settings = settings_for(Mode::master);
        settings.tcp.max_out_of_order_ranges = 3;
        return settings;
    }
    FewRanges() : Receiving(few()) {}
};

TEST_F(FewRanges, AreKeptOutOfOrder) {
    establish();
    for (int i = 0; i < 10; ++i) {
        at += 10;
        data("x");
    }
    EXPECT_EQ(host.stack.counters().drop_reassembly_full, 7u);
}

class Alive : public Master {
  protected:
    static ConnectionOptions asking() {
        ConnectionOptions options;
        options.keepalive = true;
        options.keepalive_idle = 10s;
        options.keepalive_interval = 2s;
        options.keepalive_count = 3;
        return options;
    }
};

TEST_F(Alive, NobodyIsAskedUnlessTheApplicationWants) {
    establish();
    host.pass(std::chrono::hours(5));
    EXPECT_FALSE(host.sent());
}

TEST_F(Alive, AnIdlePeerIsAskedAndItsAnswerCounts) {
    establish();
    host.stack.set_options(host.events.connection, asking(), host.now);
    for (int i = 0; i < 10; ++i) {
        host.pass(9900ms);
        EXPECT_FALSE(host.sent());
        host.pass(200ms);
        const auto probe = host.sent();
        ASSERT_TRUE(probe) << i;
        EXPECT_EQ(probe->tcp.seq, host.server_seq(0) - 1) << "not in the window: an answer must come";
        EXPECT_EQ(probe->payload, "") << "(RFC 9293 3.8.4, SHLD-18)";
        host.inject(from_client(0, 0, TcpFlags::ack));
    }
    EXPECT_EQ(host.events.log.size(), 1u);
}

TEST_F(Alive, APeerThatIsGoneIsGivenUp) {
    ASSERT_TRUE(host.stack.set_service_options(service_endpoint, asking()));
    establish();
    host.pass(10100ms);
    EXPECT_TRUE(host.sent());
    host.pass(2s);
    EXPECT_TRUE(host.sent());
    host.pass(2s);
    EXPECT_TRUE(host.sent());
    EXPECT_EQ(host.events.log.size(), 1u) << "one unanswered probe proves nothing (MUST-29)";
    host.pass(2s);
    EXPECT_TRUE(host.sent()->has(TcpFlags::rst));
    EXPECT_EQ(host.events.log.back(), "timed_out");
}

TEST_F(Alive, UnacknowledgedDataIsProbeEnough) {
    establish();
    host.stack.set_options(host.events.connection, asking(), host.now);
    host.send("data");
    host.pass(11s);
    while (const auto segment = host.sent())
        EXPECT_EQ(segment->payload, "data");
}

TEST_F(Alive, AUserTimeoutEndsAConnectionThatMakesNoProgress) {
    establish();
    ConnectionOptions options;
    options.user_timeout = 5s;
    host.stack.set_options(host.events.connection, options, host.now);
    host.send("data");
    host.pass(4s);
    EXPECT_EQ(host.events.log.size(), 1u);
    host.pass(5s);
    EXPECT_EQ(host.events.log.back(), "timed_out");
}

class Options : public Master {};

TEST_F(Options, SmallSegmentsWaitForTheFirstsAcknowledgement) {
    establish();
    host.send("a");
    EXPECT_EQ(host.sent()->payload, "a");
    host.send("b");
    host.send("c");
    EXPECT_FALSE(host.sent()) << "RFC 896";
    host.inject(from_client(0, 1, TcpFlags::ack));
    EXPECT_EQ(host.sent()->payload, "bc");
}

TEST_F(Options, NoSegmentHoldsBytesFromBothSidesOfARecordsEnd) {
    establish();
    const auto write = [&](std::string_view text, WriteEnd end) {
        return host.stack.send(host.events.connection, as_bytes(text), host.now, false, end);
    };
    host.send("first");
    EXPECT_EQ(host.sent()->payload, "first");
    EXPECT_EQ(write("second", WriteEnd::record), 6u);
    EXPECT_EQ(write("third", WriteEnd::none), 5u);
    const auto second = host.sent();
    ASSERT_TRUE(second) << "nothing is waited for behind a record's end";
    EXPECT_EQ(second->payload, "second");
    EXPECT_TRUE(second->is(TcpFlags::psh | TcpFlags::ack));
    EXPECT_FALSE(host.sent());
    host.inject(from_client(0, 11, TcpFlags::ack));
    EXPECT_EQ(host.sent()->payload, "third");
}

TEST_F(Options, WhatIsSaidToBeFollowedWaitsInItsOwnCallOnly) {
    ConnectionOptions options;
    options.nodelay = true;
    ASSERT_TRUE(host.stack.set_service_options(service_endpoint, options));
    establish();
    host.send("answered");
    EXPECT_EQ(host.sent()->payload, "answered");
    host.stack.send(host.events.connection, as_bytes("followed"), host.now, true);
    EXPECT_FALSE(host.sent());
    host.inject(from_client(0, 8, TcpFlags::ack));
    const auto released = host.sent();
    ASSERT_TRUE(released);
    EXPECT_EQ(released->payload, "followed");
    EXPECT_FALSE(released->tcp.flags.has(TcpFlags::psh)) << "its write has not ended";
}

TEST_F(Options, NodelaySendsThemAtOnce) {
    ConnectionOptions options;
    options.nodelay = true;
    ASSERT_TRUE(host.stack.set_service_options(service_endpoint, options));
    establish();
    host.send("a");
    host.send("b");
    EXPECT_EQ(host.sent()->payload, "a");
    EXPECT_EQ(host.sent()->payload, "b");
}

TEST_F(Options, NodelaySetLaterSendsWhatWaited) {
    establish();
    host.send("a");
    host.send("b");
    EXPECT_EQ(host.sent()->payload, "a");
    host.stack.set_options(host.events.connection, {.nodelay = true}, host.now);
    EXPECT_EQ(host.sent()->payload, "b");
    EXPECT_TRUE(host.stack.options(host.events.connection)->nodelay);
}

TEST_F(Options, ACorkHoldsAllButFullSegments) {
    establish();
    host.stack.set_options(host.events.connection, {.cork = true}, host.now);
    host.send(std::string(1500, 'x'));
    EXPECT_EQ(host.sent()->payload.size(), 1000u);
    host.inject(from_client(0, 1000, TcpFlags::ack));
    EXPECT_FALSE(host.sent());
    host.stack.set_options(host.events.connection, {}, host.now);
    EXPECT_EQ(host.sent()->payload.size(), 500u);
}

TEST_F(Options, LingerOfZeroAborts) {
    establish();
    host.stack.set_options(host.events.connection, {.abort_on_close = true}, host.now);
    host.stack.close(host.events.connection, host.now);
    EXPECT_TRUE(host.sent()->has(TcpFlags::rst));
}

TEST_F(Options, TheSendBufferBoundsWhatIsTaken) {
    establish();
    ConnectionOptions options;
    options.send_buffer_bytes = 3000;
    host.stack.set_options(host.events.connection, options, host.now);
    EXPECT_EQ(host.send(std::string(5000, 'x')), 3000u);
}

TEST_F(Options, TheLargestSegmentIsOfferedAndKept) {
    ConnectionOptions options;
    options.max_segment = 500;
    ASSERT_TRUE(host.stack.set_service_options(service_endpoint, options));
    syn();
    const auto answer = host.sent();
    EXPECT_EQ(answer->tcp.options.mss, 500);
    host.server_isn = answer->tcp.seq.raw();
    host.inject(from_client(0, 0, TcpFlags::ack));
    host.send(std::string(800, 'x'));
    EXPECT_EQ(host.sent()->payload.size(), 500u);
}

TEST_F(Options, ATinySegmentSizeOfThePeerIsNotHonoured) {
    timestamps = true;
    Packet packet = opening();
    packet.tcp.options.mss = 1;
    host.inject(packet);
    host.server_isn = host.sent()->tcp.seq.raw();
    host.inject(from_client(0, 0, TcpFlags::ack));
    host.send(std::string(100, 'x'));
    EXPECT_EQ(host.sent()->payload.size(), 36u) << "48 bytes less the timestamps";
}

TEST_F(Options, TheTrafficClassIsSentOnEverySegment) {
    ConnectionOptions options;
    options.traffic_class = 0xb8;
    ASSERT_TRUE(host.stack.set_service_options(service_endpoint, options));
    syn();
    EXPECT_EQ(host.wire.frames.front()[15], std::byte{0xb8});
    host.server_isn = host.sent()->tcp.seq.raw();
    host.inject(from_client(0, 0, TcpFlags::ack));
    host.send("data");
    EXPECT_EQ(host.wire.frames.front()[15], std::byte{0xb8});
}

class SmallMtu : public Master {
  protected:
    static Settings small() {
        Settings settings = settings_for(Mode::master);
        settings.mtu = 1000;
        settings.tcp.ttl = 17;
        return settings;
    }
    SmallMtu() : Master(small()) {}
};

TEST_F(SmallMtu, IsWhatWeOfferAndSend) {
    Packet packet = opening();
    packet.tcp.options.mss = 9000;
    host.inject(packet);
    EXPECT_EQ(host.wire.frames.front()[22], std::byte{17}) << "the TTL is a setting (MUST-49)";
    const auto answer = host.sent();
    EXPECT_EQ(answer->tcp.options.mss, 960);
    host.server_isn = answer->tcp.seq.raw();
    host.inject(from_client(0, 0, TcpFlags::ack));
    host.send(std::string(2000, 'x'));
    EXPECT_EQ(host.sent()->payload.size(), 960u);
}

TEST_F(Options, WithoutASegmentSizeThePeerTakes536) {
    Packet packet = opening();
    packet.tcp.options.mss = 0;
    host.inject(packet);
    host.server_isn = host.sent()->tcp.seq.raw();
    host.inject(from_client(0, 0, TcpFlags::ack));
    host.send(std::string(2000, 'x'));
    EXPECT_EQ(host.sent()->payload.size(), 536u);
}

}  // namespace
}  // namespace understudy::stack::test
