// Losses found and repaired, with SACK and without (RFC 6298, 6582, 6675, 6937, 8985, 5682, 2883, 3522).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/stack/master.hh"

namespace understudy::stack {
namespace {

using namespace test;
using testing::ElementsAre;
using testing::IsEmpty;

// A connection whose round trip is known, and segments of 1000 bytes to lose.
class Recovering : public Master {
  protected:
    explicit Recovering(bool nodelay = true) : Master(settings(nodelay)) { window = 60000; }

    static Settings settings(bool nodelay) {
        Settings settings = settings_for(Mode::master);
        settings.tcp.options.nodelay = nodelay;
        return settings;
    }

    // Establishes; the handshake took `rtt`.
    void open(Duration rtt = 100ms) {
        syn();
        const auto answer = host.sent();
        ASSERT_TRUE(answer);
        host.server_isn = answer->tcp.seq.raw();
        host.pass(rtt);
        host.inject(from_client(0, 0, TcpFlags::ack));
        ASSERT_EQ(host.snapshot().srtt, rtt);
    }
    void write(std::size_t segments) { host.send(std::string(segments * 1000, 'b')); }
    // The numbers of the segments that went out, in thousands.
    std::vector<std::uint32_t> out() {
        std::vector<std::uint32_t> numbers;
        while (const auto packet = host.sent())
            if (!packet->payload.empty())
                numbers.push_back(distance(host.server_seq(0), packet->tcp.seq) / 1000);
        return numbers;
    }
    void ack(std::uint32_t segments) { host.inject(from_client(0, segments * 1000, TcpFlags::ack)); }
    struct Block {
        std::uint32_t from, to;
    };
    void ack(std::uint32_t segments, std::initializer_list<Block> blocks) {
        Packet packet = from_client(0, segments * 1000, TcpFlags::ack);
        for (const Block& block : blocks)
            packet.tcp.options.sack[packet.tcp.options.sack_count++] = {host.server_seq(block.from * 1000),
                                                                        host.server_seq(block.to * 1000)};
        host.inject(packet);
    }
    RecoveryState state() { return host.snapshot().recovery; }
};

TEST_F(Recovering, ATimeOutSendsAgainWithBackOff) {  // RFC 6298 5.4 to 5.6
    sack = false;
    open();
    write(1);
    EXPECT_THAT(out(), ElementsAre(0));
    host.pass(299ms);
    EXPECT_THAT(out(), IsEmpty());
    host.pass(2ms);
    EXPECT_THAT(out(), ElementsAre(0));
    EXPECT_EQ(state(), RecoveryState::loss);
    EXPECT_EQ(host.snapshot().cwnd_segments, 1u);
    host.pass(598ms);
    EXPECT_THAT(out(), IsEmpty());
    host.pass(3ms);
    EXPECT_THAT(out(), ElementsAre(0));
    host.pass(1203ms);
    EXPECT_THAT(out(), ElementsAre(0));
    EXPECT_EQ(host.stack.counters().tcp_timeouts, 3u);
}

TEST_F(Recovering, AnAmbiguousRoundTripIsNoSample) {  // Karn, RFC 6298 3
    sack = false;
    open();
    write(1);
    host.pass(301ms);
    ack(1);
    EXPECT_EQ(host.snapshot().srtt, 100ms);
    EXPECT_EQ(host.snapshot().rto, 600ms) << "the back-off stays";
}

TEST_F(Recovering, AfterATimeOutEverythingLostIsSentInSlowStart) {
    sack = false;
    open();
    write(5);
    EXPECT_THAT(out(), ElementsAre(0, 1, 2, 3, 4));
    host.pass(301ms);
    EXPECT_THAT(out(), ElementsAre(0));
    host.pass(100ms);
    ack(1);
    // Nothing new is there to send: the forward RTO recovery falls back.
    EXPECT_THAT(out(), ElementsAre(1, 2));
    ack(3);
    EXPECT_THAT(out(), ElementsAre(3, 4));
    ack(5);
    EXPECT_THAT(out(), IsEmpty());
    EXPECT_EQ(host.snapshot().unacked_segments, 0u);
}

TEST_F(Recovering, ThreeDuplicateAcksResendTheFirstSegment) {  // RFC 5681 3.2, RFC 6582
    sack = false;
    open();
    write(10);
    out();
    ack(0);
    ack(0);
    EXPECT_THAT(out(), IsEmpty());
    EXPECT_EQ(state(), RecoveryState::disorder);
    ack(0);
    EXPECT_THAT(out(), ElementsAre(0));
    EXPECT_EQ(state(), RecoveryState::recovery);
    // A partial acknowledgement brings the next hole at once.
    host.pass(10ms);
    ack(4);
    EXPECT_THAT(out(), ElementsAre(4));
    ack(10);
    EXPECT_EQ(state(), RecoveryState::recovery)
        << "held until something above the recovery point is acknowledged";
    write(1);
    out();
    host.pass(100ms);
    ack(11);
    EXPECT_EQ(state(), RecoveryState::open);
    EXPECT_EQ(host.snapshot().cwnd_segments, host.snapshot().ssthresh_segments);
}

TEST_F(Recovering, DuplicateAcksLetNewSegmentsOut) {  // RFC 3042
    sack = false;
    open();
    write(14);
    EXPECT_EQ(out().size(), 10u);
    ack(0);
    EXPECT_THAT(out(), ElementsAre(10));
    ack(0);
    EXPECT_THAT(out(), ElementsAre(11));
}

TEST_F(Recovering, WindowUpdatesAndDataAreNoDuplicates) {  // RFC 5681 2
    sack = false;
    open();
    write(10);
    out();
    for (int i = 0; i < 3; ++i) {
        ++window;
        ack(0);
        host.inject(from_client(static_cast<std::uint32_t>(i), 0, TcpFlags::ack, "x"));
    }
    EXPECT_THAT(out(), IsEmpty());
    EXPECT_EQ(state(), RecoveryState::open);
}

TEST_F(Recovering, SacksBeyondTheThresholdResendTheHole) {  // RFC 8985 6.2 with DupThresh
    open();
    write(10);
    out();
    host.pass(100ms);
    ack(1, {{2, 3}});
    ack(1, {{2, 4}});
    EXPECT_THAT(out(), IsEmpty());
    EXPECT_EQ(state(), RecoveryState::disorder);
    EXPECT_EQ(host.snapshot().sacked_segments, 2u);
    ack(1, {{2, 5}});
    EXPECT_THAT(out(), ElementsAre(1));
    EXPECT_EQ(state(), RecoveryState::recovery);
    EXPECT_EQ(host.snapshot().ssthresh_segments, 8u) << "CUBIC: 0.7 of 10 and what slow start added";
    host.pass(100ms);
    ack(10);
    EXPECT_EQ(state(), RecoveryState::open);
    EXPECT_EQ(host.snapshot().cwnd_segments, 8u);
}

TEST_F(Recovering, OnlyHolesAreSentAgain) {
    open();
    write(10);
    out();
    host.pass(100ms);
    ack(0, {{1, 2}, {3, 4}, {5, 10}});
    EXPECT_THAT(out(), ElementsAre(0, 2, 4));
    EXPECT_EQ(host.snapshot().resent_segments, 3u);
}

TEST_F(Recovering, FewSacksAreWaitedForAQuarterRoundTrip) {  // RFC 8985 6.2.4
    open();
    write(4);
    out();
    host.pass(100ms);
    ack(0, {{3, 4}});
    EXPECT_THAT(out(), IsEmpty());
    host.pass(24ms);
    EXPECT_THAT(out(), IsEmpty());
    host.pass(4ms);
    EXPECT_THAT(out(), ElementsAre(0)) << "one left the network, one enters it";
    EXPECT_EQ(host.snapshot().lost_segments, 3u);
    EXPECT_EQ(state(), RecoveryState::recovery);
}

TEST_F(Recovering, ReorderingIsNoLossAndIsRemembered) {
    open();
    write(10);
    out();
    host.pass(100ms);
    ack(0, {{1, 2}});
    host.pass(5ms);
    ack(2);
    EXPECT_THAT(out(), IsEmpty());
    EXPECT_EQ(state(), RecoveryState::open);
    // Now that reordering was seen, three SACKs are not proof any more.
    ack(2, {{3, 6}});
    EXPECT_THAT(out(), IsEmpty());
    host.pass(30ms);
    EXPECT_THAT(out(), ElementsAre(2));
}

TEST_F(Recovering, ALostRetransmissionIsFoundByTime) {  // RFC 8985 3.2
    open();
    write(10);
    out();
    host.pass(100ms);
    ack(0, {{1, 5}});
    EXPECT_THAT(out(), ElementsAre(0));
    host.pass(50ms);
    write(2);
    const auto fresh = out();
    ASSERT_THAT(fresh, testing::Contains(10));
    host.pass(100ms);
    ack(0, {{1, 11}});
    EXPECT_THAT(out(), testing::Contains(0)) << "what was sent after the retransmission has arrived";
}

TEST_F(Recovering, TheTailIsProbed) {  // RFC 8985 7
    open();
    write(3);
    out();
    host.pass(200ms);
    EXPECT_THAT(out(), IsEmpty());
    host.pass(3ms);
    EXPECT_THAT(out(), ElementsAre(2));
    EXPECT_EQ(host.stack.counters().tcp_loss_probes, 1u);
    // Its SACK shows what is missing.
    host.pass(100ms);
    ack(0, {{2, 3}});
    host.pass(30ms);
    EXPECT_THAT(out(), ElementsAre(0));
    EXPECT_EQ(host.snapshot().lost_segments, 2u);
}

TEST_F(Recovering, ALoneSegmentIsProbedWithTimeForADelayedAck) {
    open(10ms);
    write(1);
    out();
    host.pass(209ms);
    EXPECT_THAT(out(), IsEmpty());
    host.pass(12ms);
    EXPECT_THAT(out(), ElementsAre(0));
}

TEST_F(Recovering, AProbeThatRepairedALossHalvesTheWindow) {  // RFC 8985 7.4.2
    open();
    write(4);
    out();
    host.pass(203ms);
    EXPECT_THAT(out(), ElementsAre(3));
    write(1);
    out();
    host.pass(50ms);
    ack(5);
    EXPECT_EQ(host.snapshot().cwnd_segments, 7u);
    EXPECT_EQ(state(), RecoveryState::open);
}

TEST_F(Recovering, AProbeOfWhatHadArrivedChangesNothing) {
    open();
    write(4);
    out();
    host.pass(203ms);
    EXPECT_THAT(out(), ElementsAre(3));
    ack(4);
    ack(4, {{3, 4}});  // a D-SACK: both copies came
    const std::uint32_t cwnd = host.snapshot().cwnd_segments;
    write(1);
    out();
    host.pass(100ms);
    ack(5);
    EXPECT_GE(host.snapshot().cwnd_segments, cwnd);
}

TEST_F(Recovering, NewDataIsTheBetterProbe) {  // RFC 8985 7.3
    open();
    window = 5000;
    ack(0);
    write(8);
    EXPECT_EQ(out().size(), 5u);
    window = 60000;
    host.pass(50ms);
    ack(0);
    EXPECT_EQ(out().size(), 3u);
}

TEST_F(Recovering, DSacksForEveryRetransmissionUndoTheReduction) {  // RFC 3708
    open();
    write(10);
    out();
    host.pass(100ms);
    ack(0, {{1, 5}});
    EXPECT_THAT(out(), ElementsAre(0));
    EXPECT_EQ(state(), RecoveryState::recovery);
    ack(5);
    ack(5, {{0, 1}});
    EXPECT_EQ(state(), RecoveryState::open);
    EXPECT_EQ(host.snapshot().cwnd_segments, 10u);
    EXPECT_EQ(host.stack.counters().tcp_recoveries_undone, 1u);
}

TEST_F(Recovering, AnEchoFromBeforeTheRetransmissionUndoesATimeOut) {  // RFC 3522
    timestamps = true;
    syn();
    const auto answer = host.sent();
    host.server_isn = answer->tcp.seq.raw();
    tsecr = answer->tcp.options.tsval;
    host.pass(100ms);
    tsval += 100;
    host.inject(from_client(0, 0, TcpFlags::ack));
    host.send(std::string(988 * 4, 'b'));
    const auto data = host.sent();
    ASSERT_TRUE(data);
    tsecr = data->tcp.options.tsval;
    while (host.sent()) {
    }
    host.pass(1s);
    EXPECT_EQ(state(), RecoveryState::loss);
    tsval += 1000;
    host.inject(from_client(0, 988 * 4, TcpFlags::ack));
    EXPECT_EQ(state(), RecoveryState::open);
    EXPECT_GE(host.snapshot().cwnd_segments, 10u);
}

TEST_F(Recovering, AnAckOfWhatWasSentOnceAfterATimeOutUndoesIt) {  // RFC 5682 3.1
    sack = false;
    open();
    write(10);
    out();
    host.pass(301ms);
    EXPECT_THAT(out(), ElementsAre(0));
    write(10);
    ack(1);
    EXPECT_THAT(out(), ElementsAre(10, 11)) << "new data, to see what the answer is";
    ack(2);
    EXPECT_EQ(state(), RecoveryState::open);
    EXPECT_GE(host.snapshot().cwnd_segments, 10u);
}

TEST_F(Recovering, TheWindowShrinksInProportion) {  // RFC 6937
    open();
    write(20);
    EXPECT_EQ(out().size(), 10u);
    host.pass(100ms);
    ack(0, {{1, 4}});
    std::vector<std::uint32_t> sent = out();
    EXPECT_THAT(sent, ElementsAre(0));
    // Six more are reported: about 0.7 of them leave.
    std::size_t count = 0;
    for (std::uint32_t i = 5; i <= 10; ++i) {
        ack(0, {{1, i}});
        count += out().size();
    }
    EXPECT_GE(count, 4u);
    EXPECT_LE(count, 6u);
    EXPECT_EQ(host.snapshot().ssthresh_segments, 7u);
}

TEST_F(Recovering, AWindowThatIsNotUsedDoesNotGrow) {  // RFC 9438 5.8
    open();
    for (std::uint32_t i = 1; i <= 30; ++i) {
        write(1);
        out();
        host.pass(100ms);
        ack(i);
    }
    EXPECT_EQ(host.snapshot().cwnd_segments, 10u);
}

TEST_F(Recovering, AnUsedWindowDoublesInARoundTrip) {
    open();
    write(30);
    out();
    host.pass(100ms);
    for (std::uint32_t i = 1; i <= 10; ++i)
        ack(i);
    EXPECT_EQ(host.snapshot().cwnd_segments, 20u);
}

TEST_F(Recovering, SilenceTakesTheWindowBack) {  // RFC 5681 4.1
    open();
    write(60);
    for (std::uint32_t i = 1; i <= 40; ++i) {
        out();
        host.pass(10ms);
        ack(i);
    }
    for (std::uint32_t i = 41; i <= 60; ++i)
        ack(i);
    ASSERT_GT(host.snapshot().cwnd_segments, 20u);
    out();
    host.pass(30s);
    write(40);
    EXPECT_EQ(out().size(), 10u);
}

TEST_F(Recovering, APeerThatForgetsItsSacksGetsEverythingAgain) {  // RFC 2018 8
    open();
    write(4);
    out();
    host.pass(10ms);
    ack(0, {{1, 4}});
    EXPECT_THAT(out(), ElementsAre(0));
    ack(1);  // and 1 to 3 are gone
    host.pass(3s);
    EXPECT_THAT(out(), testing::Contains(1));
}

TEST_F(Recovering, BlocksOfWhatWasNeverSentAreRefused) {
    open();
    write(4);
    out();
    ack(0, {{1, 9}});
    EXPECT_EQ(host.stack.counters().tcp_sack_blocks_refused, 1u);
    EXPECT_EQ(host.snapshot().sacked_segments, 0u);
}

TEST_F(Recovering, SmallSegmentsAreSentAgainAsOne) {
    open();
    for (int i = 0; i < 4; ++i)
        host.send("0123456789");
    while (host.sent()) {
    }
    host.pass(203ms);
    while (host.sent()) {
    }
    host.pass(3s);
    const auto again = host.sent();
    ASSERT_TRUE(again);
    EXPECT_EQ(again->payload.size(), 40u);
}

class Nagled : public Recovering {
  protected:
    Nagled() : Recovering(false) {}
};

TEST_F(Nagled, OneSmallSegmentAtATime) {  // RFC 9293 3.7.4
    open();
    host.send("a");
    EXPECT_EQ(host.sent()->payload, "a");
    host.send("b");
    host.send("c");
    EXPECT_FALSE(host.sent());
    host.inject(from_client(0, 1, TcpFlags::ack));
    EXPECT_EQ(host.sent()->payload, "bc");
}

TEST_F(Nagled, FullSegmentsHoldUpNothing) {  // Minshall
    open();
    host.send(std::string(1500, 'b'));
    EXPECT_EQ(host.sent()->payload.size(), 1000u);
    EXPECT_EQ(host.sent()->payload.size(), 500u);
}

// As a receiver.
TEST_F(Recovering, ADuplicateIsReportedOnce) {  // RFC 2883 4
    open();
    host.inject(from_client(0, 0, TcpFlags::ack, "0123456789"));
    while (host.sent()) {
    }
    host.inject(from_client(0, 0, TcpFlags::ack, "01234"));
    const auto report = host.sent();
    ASSERT_TRUE(report);
    ASSERT_EQ(report->tcp.options.sack_count, 1u);
    EXPECT_EQ(report->tcp.options.sack[0], (wire::SeqRange{host.client_seq(0), host.client_seq(5)}));
    host.inject(from_client(20, 0, TcpFlags::ack, "later"));
    const auto next = host.sent();
    ASSERT_TRUE(next);
    ASSERT_EQ(next->tcp.options.sack_count, 1u);
    EXPECT_EQ(next->tcp.options.sack[0], (wire::SeqRange{host.client_seq(20), host.client_seq(25)}));
    host.inject(from_client(20, 0, TcpFlags::ack, "later"));
    const auto twice = host.sent();
    ASSERT_TRUE(twice);
    ASSERT_EQ(twice->tcp.options.sack_count, 2u);
    EXPECT_EQ(twice->tcp.options.sack[0], (wire::SeqRange{host.client_seq(20), host.client_seq(25)}));
}

TEST_F(Recovering, WhatHadWaitedIsADuplicateInsideALaterSegment) {  // RFC 2883 4.1
    open();
    host.inject(from_client(3, 0, TcpFlags::ack, "345"));
    host.inject(from_client(9, 0, TcpFlags::ack, "9"));
    while (host.sent()) {
    }
    host.inject(from_client(0, 0, TcpFlags::ack, "01234567"));
    const auto report = host.sent();
    ASSERT_TRUE(report);
    EXPECT_EQ(report->tcp.ack, host.client_seq(8));
    ASSERT_EQ(report->tcp.options.sack_count, 2u);
    EXPECT_EQ(report->tcp.options.sack[0], (wire::SeqRange{host.client_seq(3), host.client_seq(6)}));
    EXPECT_EQ(report->tcp.options.sack[1], (wire::SeqRange{host.client_seq(9), host.client_seq(10)}));
}

}  // namespace
}  // namespace understudy::stack
