// Blind attacks (RFC 5961) and old duplicates (RFC 7323 5).
#include <gmock/gmock.h>

#include "tests/unit/stack/master.hh"

namespace understudy::stack::test {
namespace {

using ::testing::ElementsAre;

class BlindAttack : public Master {};

TEST_F(BlindAttack, AConnectionChallengesOnceInHalfASecond) {
    establish();
    for (int i = 0; i < 5; ++i)
        host.inject(from_client(100, 0, TcpFlags::rst));
    EXPECT_TRUE(host.sent());
    EXPECT_FALSE(host.sent());
    EXPECT_EQ(host.stack.counters().tcp_acks_throttled, 4u);
    host.pass(501ms);
    host.inject(from_client(100, 0, TcpFlags::rst));
    EXPECT_TRUE(host.sent());
}

TEST_F(BlindAttack, DataOutsideTheWindowIsAlwaysAnswered) {
    establish();
    for (int i = 0; i < 3; ++i) {
        host.inject(from_client(0x40000000, 0, TcpFlags::ack, "evil"));
        const auto answer = host.sent();
        ASSERT_TRUE(answer);
        EXPECT_EQ(answer->tcp.ack, host.client_seq(0));
    }
    EXPECT_EQ(host.events.input, "");
}

TEST_F(BlindAttack, DataWithAnImpossibleAcknowledgementIsNotTaken) {
    establish();
    host.inject(from_client(0, 0x40000000, TcpFlags::ack, "ahead"));
    host.inject(from_client(0, 0u - 0x40000000, TcpFlags::ack, "behind"));
    EXPECT_EQ(host.events.input, "");
    EXPECT_EQ(host.stack.counters().drop_bad_ack, 1u);
    EXPECT_EQ(host.stack.counters().drop_old_ack, 1u);
    host.inject(from_client(0, 0, TcpFlags::ack, "right"));
    EXPECT_EQ(host.events.input, "right");
}

class FewChallenges : public Master {
  protected:
    static Settings few() {
        Settings settings = settings_for(Mode::master);
        settings.tcp.challenge_ack_limit = 4;
        settings.tcp.invalid_ack_interval = 0ms;
        return settings;
    }
    FewChallenges() : Master(few()) {}
};

TEST_F(FewChallenges, AreSharedByAllConnectionsEachSecond) {
    establish();
    for (int i = 0; i < 50; ++i)
        host.inject(from_client(100, 0, TcpFlags::rst));
    const auto challenges = host.stack.counters().tcp_challenge_acks;
    EXPECT_GE(challenges, 2u);
    EXPECT_LE(challenges, 6u) << "about four, and not exactly: the count must tell nothing";
    EXPECT_EQ(challenges + host.stack.counters().tcp_challenge_acks_withheld, 50u);
    host.pass(1s);
    host.inject(from_client(100, 0, TcpFlags::rst));
    EXPECT_EQ(host.stack.counters().tcp_challenge_acks, challenges + 1) << "a new second";
}

class Stamped : public Master {
  protected:
    Stamped() { timestamps = true; }
};

TEST_F(Stamped, ATickOfDisorderIsNoOldDuplicate) {
    establish();
    tsval = 200;
    host.inject(from_client(0, 0, TcpFlags::ack, "a"));
    tsval = 199;
    host.inject(from_client(1, 0, TcpFlags::ack, "b"));
    EXPECT_EQ(host.events.input, "ab");
}

TEST_F(Stamped, AResetIsTakenWhateverItsTimestamp) {
    establish();
    tsval = 5;
    host.inject(from_client(0, 0, TcpFlags::rst));
    EXPECT_THAT(host.events.log, ElementsAre("accepted", "reset_by_peer"));
}

TEST_F(Stamped, AnIdleConnectionForgetsItsTimestampAfter24Days) {
    establish();
    tsval = 200;
    host.inject(from_client(0, 0, TcpFlags::ack, "a"));
    host.pass(std::chrono::hours(24 * 24) - 10s);
    tsval = 150;
    host.inject(from_client(1, 0, TcpFlags::ack, "b"));
    EXPECT_EQ(host.events.input, "a");
    host.pass(20s);
    host.inject(from_client(1, 0, TcpFlags::ack, "c"));
    EXPECT_EQ(host.events.input, "ac");
    host.pass(1s);
    host.wire.frames.clear();
    host.send("x");
    EXPECT_EQ(host.sent()->tcp.options.tsecr, 150u) << "and takes the new one";
}

TEST_F(Stamped, TheEchoIsOfTheSegmentThatTheAcknowledgementAnswers) {
    establish();
    tsval = 200;
    host.inject(from_client(0, 0, TcpFlags::ack, "a"));
    tsval = 300;  // beyond a gap: must not be echoed (RFC 7323 4.3)
    host.inject(from_client(5, 0, TcpFlags::ack, "z"));
    const auto duplicate = host.sent();
    ASSERT_TRUE(duplicate);
    EXPECT_EQ(duplicate->tcp.options.tsecr, 200u);
}

TEST_F(Stamped, AnUnacceptableAcknowledgementLeavesTheTimestampAlone) {
    establish();
    tsval = 200;
    host.inject(from_client(0, 0x40000000, TcpFlags::ack));
    EXPECT_EQ(host.sent()->tcp.options.tsecr, 100u);
}

class TimeWaiting : public Master {
  protected:
    using Master::Master;
    void wait() {
        establish();
        host.stack.shutdown_send(host.events.connection, host.now);
        last = host.sent()->tcp.seq + 1;
        host.inject(from_client(0, 1, TcpFlags::ack | TcpFlags::fin));
        ASSERT_EQ(host.stack.time_wait_count(), 1u);
        host.wire.frames.clear();
    }
    Seq last;
};

TEST_F(TimeWaiting, ANewerSynBeginsAnew) {
    wait();
    Packet again = opening();
    again.tcp.seq = host.client_seq(1000);
    host.inject(again);
    const auto answer = host.sent();
    ASSERT_TRUE(answer && answer->is(TcpFlags::syn | TcpFlags::ack));
    EXPECT_GT(answer->tcp.seq, last + 65535) << "no old segment can be taken for a new one (MAY-2)";
    EXPECT_EQ(host.stack.counters().time_wait_reused, 1u);
}

TEST_F(TimeWaiting, ANewerTimestampAllowsALowerNumber) {
    timestamps = true;
    wait();
    Packet again = opening();
    again.tcp.seq = Seq(Host::client_isn - 5000);
    host.inject(again);
    ASSERT_TRUE(host.sent()->is(TcpFlags::ack)) << "same timestamp, lower number: old";
    ++again.tcp.options.tsval;
    host.inject(again);
    EXPECT_TRUE(host.sent()->is(TcpFlags::syn | TcpFlags::ack));
}

TEST_F(TimeWaiting, ARepeatedFinStartsTheWaitAgain) {
    wait();
    host.pass(50s);
    host.inject(from_client(0, 1, TcpFlags::ack | TcpFlags::fin));
    EXPECT_EQ(host.sent()->tcp.ack, host.client_seq(1));
    host.pass(50s);
    EXPECT_EQ(host.stack.time_wait_count(), 1u);
    host.pass(11s);
    EXPECT_EQ(host.stack.time_wait_count(), 0u);
}

class FewTimeWaits : public TimeWaiting {
  protected:
    static Settings few() {
        Settings settings = settings_for(Mode::master);
        settings.tcp.max_time_wait = 0;
        return settings;
    }
    FewTimeWaits() : TimeWaiting(few()) {}
};

TEST_F(FewTimeWaits, CloseAtOnceBeyondTheLimit) {
    establish();
    host.stack.shutdown_send(host.events.connection, host.now);
    host.inject(from_client(0, 1, TcpFlags::ack | TcpFlags::fin));
    EXPECT_EQ(host.stack.time_wait_count(), 0u);
    EXPECT_EQ(host.stack.connection_count(), 0u);
    EXPECT_EQ(host.stack.counters().time_wait_overflow, 1u);
}

class Patient : public TimeWaiting {
  protected:
    static Settings patient() {
        Settings settings = settings_for(Mode::master);
        settings.tcp.time_wait_ignores_reset = true;
        return settings;
    }
    Patient() : TimeWaiting(patient()) {}
};

TEST_F(Patient, TimeWaitOutlivesAReset) {
    wait();
    host.inject(from_client(1, 0, TcpFlags::rst));
    EXPECT_EQ(host.stack.time_wait_count(), 1u);
}

class Closing : public Master {};

TEST_F(Closing, WithUnreadInputResets) {
    host.events.appetite = 0;
    establish();
    host.inject(from_client(0, 0, TcpFlags::ack, "unread"));
    host.wire.frames.clear();
    host.stack.close(host.events.connection, host.now);
    EXPECT_TRUE(host.sent()->has(TcpFlags::rst));
    EXPECT_THAT(host.events.log, ElementsAre("accepted", "aborted"));
    EXPECT_EQ(host.stack.connection_count(), 0u);
}

TEST_F(Closing, RefusesDataThatComesAfter) {
    establish();
    host.stack.close(host.events.connection, host.now);
    EXPECT_TRUE(host.sent()->has(TcpFlags::fin));
    EXPECT_THAT(host.events.log, ElementsAre("accepted", "finished"));
    host.inject(from_client(0, 1, TcpFlags::ack, "late"));
    const auto answer = host.sent();
    ASSERT_TRUE(answer && answer->has(TcpFlags::rst));
    EXPECT_EQ(answer->tcp.seq, host.server_seq(1));
    EXPECT_EQ(host.stack.connection_count(), 0u);
}

TEST_F(Closing, WaitsAMinuteForTheOtherFin) {
    establish();
    host.stack.close(host.events.connection, host.now);
    host.inject(from_client(0, 1, TcpFlags::ack));
    host.pass(59s);
    EXPECT_EQ(host.stack.connection_count(), 1u);
    host.pass(2s);
    EXPECT_EQ(host.stack.connection_count(), 0u);
}

TEST_F(Closing, OnlyOneDirectionWaitsForEver) {
    establish();
    host.stack.shutdown_send(host.events.connection, host.now);
    host.inject(from_client(0, 1, TcpFlags::ack));
    host.pass(1000s);
    host.inject(from_client(0, 1, TcpFlags::ack, "still here"));
    EXPECT_EQ(host.events.input, "still here");
}

TEST_F(Closing, SendsWhatWasQueuedFirst) {
    window = 5;
    establish();
    host.send("hello world");
    EXPECT_EQ(host.sent()->payload, "hello");
    host.stack.close(host.events.connection, host.now);
    window = 100;
    host.inject(from_client(0, 5, TcpFlags::ack));
    const auto rest = host.sent();
    ASSERT_TRUE(rest);
    EXPECT_EQ(rest->payload, " world");
    EXPECT_TRUE(rest->has(TcpFlags::fin));
}

class Unlikely : public Master {};

TEST_F(Unlikely, SynsFromAddressesThatAreNoHostDrawNothing) {
    for (const char* source : {"224.0.0.1:40000", "255.255.255.255:40000", "0.0.0.0:40000"}) {
        Packet packet = opening();
        packet.source = *parse_endpoint(source);
        host.inject(packet);
        EXPECT_FALSE(host.sent()) << source;
    }
    Packet broadcast = opening();
    broadcast.link_destination = LinkAddress::broadcast();
    host.inject(broadcast);
    EXPECT_FALSE(host.sent());
    EXPECT_EQ(host.stack.counters().drop_bad_peer, 4u);
}

TEST_F(Unlikely, UrgentDataIsDeliveredInLine) {
    establish();
    host.inject(from_client(0, 0, TcpFlags::ack | TcpFlags::urg, "urgent"));
    EXPECT_EQ(host.events.input, "urgent");
}

Packet with_urgent(Packet packet, std::uint16_t pointer) {
    packet.tcp.urgent = pointer;
    return packet;
}

TEST_F(Unlikely, TheApplicationHearsHowFarUrgentDataReaches) {
    establish();
    host.events.log.clear();
    constexpr std::uint8_t flags = TcpFlags::ack | TcpFlags::urg;
    host.inject(with_urgent(from_client(0, 0, flags, "some"), 10));
    host.inject(with_urgent(from_client(4, 0, flags, "of it"), 6));
    EXPECT_THAT(host.events.log, ElementsAre("urgent to 10")) << "once, before all of it is here";
    host.inject(with_urgent(from_client(9, 0, flags, "and more"), 8));
    EXPECT_THAT(host.events.log, ElementsAre("urgent to 10", "urgent to 17"));
    EXPECT_EQ(host.events.input, "someof itand more");
    host.inject(with_urgent(from_client(4, 0, flags, "of it"), 6));
    EXPECT_EQ(host.events.log.size(), 2u) << "a copy moves nothing";
    EXPECT_EQ(host.stack.counters().tcp_urgent_received, 2u);
}

TEST_F(Unlikely, UrgentDataIsMarkedUpToItsEnd) {
    establish();
    host.sent();
    host.stack.send(host.events.connection, as_bytes("quick"), host.now, false, WriteEnd::urgent);
    const auto urgent = host.sent();
    ASSERT_TRUE(urgent);
    EXPECT_TRUE(urgent->has(TcpFlags::urg));
    EXPECT_EQ(urgent->tcp.urgent, 5u) << "the byte behind it";
    host.pass(2s);
    const auto again = host.sent();
    ASSERT_TRUE(again) << "sent again";
    EXPECT_EQ(again->tcp.urgent, 5u);
    host.inject(from_client(0, 5, TcpFlags::ack));
    host.wire.frames.clear();
    host.send("later");
    EXPECT_FALSE(host.sent()->has(TcpFlags::urg));
}

TEST_F(Unlikely, AResetOfWhatSackReportedCounts) {
    establish();
    host.inject(from_client(5, 0, TcpFlags::ack, "later"));
    host.inject(from_client(10, 0, TcpFlags::rst));
    EXPECT_THAT(host.events.log, ElementsAre("accepted", "reset_by_peer"));
}

}  // namespace
}  // namespace understudy::stack::test
