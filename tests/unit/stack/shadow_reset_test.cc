// RST on the mirror: what it ends, and when (rules.md 10).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/stack/mirror.hh"

namespace understudy::stack::test {
namespace {

using ::testing::ElementsAre;

class ShadowReset : public Mirror {
  protected:
    ShadowReset() { handshake(); }
};

TEST_F(ShadowReset, WhatTheRstOvertookStillCounts) {
    primary(6, 5, "", TcpFlags::rst);
    client(0, 0, "hello");
    primary(0, 5, "answer");
    EXPECT_EQ(host.events.input, "hello");
    EXPECT_EQ(host.events.primary_output, "answer");
    host.send("answer");
    EXPECT_THAT(host.events.log, ElementsAre("accepted"));
    host.pass(60ms);
    EXPECT_THAT(host.events.log, ElementsAre("accepted", "reset_by_primary"));
    EXPECT_EQ(host.stack.counters().holes + host.stack.counters().uncompared, 0u);
}

TEST_F(ShadowReset, AnswersThatCrossTheClientsRstStillCount) {
    client(0, 0, "", TcpFlags::rst);
    primary(0, 0, "under way");
    EXPECT_EQ(host.events.primary_output, "under way");
    host.pass(60ms);
    EXPECT_THAT(host.events.log, ElementsAre("accepted", "reset_by_peer"));
    host.pass(3s);
    EXPECT_EQ(host.stack.connection_count(), 0u);
}

TEST_F(ShadowReset, TheClientsRstWaitsForWhatItOvertook) {
    client(5, 0, "", TcpFlags::rst);
    host.pass(20ms);
    client(0, 0, "hello");
    EXPECT_EQ(host.events.input, "hello");
    host.pass(60ms);
    EXPECT_THAT(host.events.log, ElementsAre("accepted", "reset_by_peer"));
}

TEST_F(ShadowReset, ARstAheadOfAllThatWasSeenIsForgotten) {
    client(500, 0, "", TcpFlags::rst);
    host.pass(60ms);
    EXPECT_EQ(host.stack.counters().drop_bad_reset, 1u);
    client(0, 0, "hello");
    EXPECT_EQ(host.events.input, "hello");
    EXPECT_EQ(host.snapshot().coverage, Coverage::covered);
}

TEST_F(ShadowReset, BytesBeforeThePrimarysRstThatTheMirrorDidNotShowAreMissing) {
    primary(6, 0, "", TcpFlags::rst);
    host.pass(1s);
    EXPECT_EQ(host.snapshot().coverage, Coverage::uncompared);
    host.pass(3s);
    EXPECT_EQ(host.stack.connection_count(), 0u);
}

TEST_F(Mirror, ARstBehindMissingBytesUncoversAnInferredConnectionAsWell) {
    primary_syn_ack();
    client(0, 0, "");
    ASSERT_EQ(host.snapshot().coverage, Coverage::inferred);
    primary(6, 0, "", TcpFlags::rst);
    host.pass(60ms);
    EXPECT_EQ(host.snapshot().coverage, Coverage::uncompared);
}

TEST_F(ShadowReset, ARstBeforeWhatTheClientHasAcknowledgedIsNone) {
    primary(0, 0, "answer");
    host.send("answer");
    client(0, 6, "");
    primary(2, 0, "", TcpFlags::rst);
    EXPECT_EQ(host.stack.counters().drop_bad_reset, 1u);
    host.pass(3s);
    EXPECT_THAT(host.events.log, ElementsAre("accepted"));
}

TEST_F(ShadowReset, WhoGoesOnBehindARstDidNotSendIt) {
    primary(0, 0, "", TcpFlags::rst);
    primary(0, 0, "answer");
    host.send("answer");
    host.pass(3s);
    client(0, 6, "", TcpFlags::rst);
    client(0, 6, "more");
    host.pass(3s);
    EXPECT_THAT(host.events.log, ElementsAre("accepted"));
    EXPECT_EQ(host.events.input, "more");
    EXPECT_EQ(host.snapshot().coverage, Coverage::covered);
    EXPECT_EQ(host.stack.counters().drop_bad_reset, 2u);
}

TEST_F(ShadowReset, GoingOnAfterTheApplicationWasToldIsNotCovered) {
    const ConnectionId id = host.events.connection;
    client(0, 0, "", TcpFlags::rst);
    host.pass(60ms);
    client(0, 0, "more");
    EXPECT_EQ(host.stack.snapshot(id)->coverage, Coverage::hole);
}

TEST_F(Mirror, ARefusalOfAnotherHandshakeLeavesThisOne) {
    client_syn();
    Packet refusal = primary_packet(0, 0, TcpFlags::rst | TcpFlags::ack);
    refusal.tcp.ack = Seq(Host::client_isn);
    host.inject(refusal, Source::tap_from_primary);
    primary_syn_ack();
    client(0, 0, "hello");
    EXPECT_EQ(host.events.input, "hello");
    EXPECT_EQ(host.snapshot().coverage, Coverage::covered);
}

}  // namespace
}  // namespace understudy::stack::test
