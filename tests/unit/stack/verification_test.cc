// After a takeover the client's own numbers decide (rules.md 3, 18, 23 to 25).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/stack/mirror.hh"

namespace understudy::stack::test {
namespace {

using ::testing::ElementsAre;

class Verification : public Mirror {
  protected:
    void promote() {
        host.stack.promote(host.now);
        forget_sent();
    }
    void forget_sent() { host.wire.frames.clear(); }
    void to_replica(std::uint32_t seq, std::uint32_t ack, std::string payload = {}) {
        Packet packet = client_packet(seq, ack, TcpFlags::ack);
        packet.link_destination = replica_link;
        packet.payload = std::move(payload);
        host.inject(packet);
    }
    // Resets among all that was sent; the rest is forgotten.
    int resets() {
        int count = 0;
        while (const auto packet = host.sent())
            count += packet->has(TcpFlags::rst);
        return count;
    }
};

TEST_F(Verification, AnAnswerThatAgreesVerifies) {
    handshake();
    client(0, 0, "request");
    promote();
    EXPECT_FALSE(host.snapshot().verified);
    to_replica(7, 0);
    EXPECT_TRUE(host.snapshot().verified);
    EXPECT_EQ(host.stack.counters().connections_verified, 1u);
    host.pass(30s);
    EXPECT_EQ(host.stack.counters().verification_probes, 0u);
}

// The last request, and the primary's answer to it, were on no mirror.
TEST_F(Verification, AClientAheadThatNeverResendsIsReset) {
    handshake();
    promote();
    to_replica(7, 6);
    EXPECT_FALSE(host.snapshot().verified);
    host.pass(500ms);
    EXPECT_EQ(resets(), 0);
    to_replica(7, 6);
    host.pass(10s);
    EXPECT_GE(resets(), 1);
    EXPECT_EQ(host.stack.counters().connections_contradicted, 1u);
    EXPECT_THAT(host.events.log, ElementsAre("accepted", "uncovered"));
}

TEST_F(Verification, TheResetCarriesTheClientsOwnAcknowledgement) {
    handshake();
    promote();
    to_replica(7, 6);
    forget_sent();
    host.pass(10s);
    while (const auto packet = host.sent()) {
        if (!packet->has(TcpFlags::rst)) continue;
        EXPECT_EQ(packet->tcp.seq, host.server_seq(6));
        return;
    }
    FAIL() << "no reset";
}

TEST_F(Verification, AClientAheadThatResendsLivesOn) {
    handshake();
    promote();
    to_replica(7, 0, "tail");
    host.pass(300ms);
    to_replica(0, 0, "request");
    EXPECT_EQ(host.events.input, "requesttail");
    EXPECT_TRUE(host.snapshot().verified);
    host.pass(30s);
    EXPECT_EQ(host.stack.counters().connections_contradicted, 0u);
}

TEST_F(Verification, NumbersFarAwayProveNothing) {
    handshake();
    promote();
    to_replica(0x20000000, 0);
    host.pass(30s);
    EXPECT_EQ(resets(), 0);
    EXPECT_EQ(host.stack.counters().connections_contradicted, 0u);
}

TEST_F(Verification, ASilentClientIsAskedSeldomAndNotForEver) {
    handshake();
    promote();
    host.pass(499ms);
    EXPECT_FALSE(host.sent());
    host.pass(10ms);
    const auto probe = host.sent();
    ASSERT_TRUE(probe);
    EXPECT_EQ(probe->tcp.seq, host.server_seq(0) - 1);
    host.pass(3h);
    EXPECT_EQ(host.stack.counters().verification_probes, 10u);
    EXPECT_EQ(host.stack.counters().connections_contradicted, 0u) << "no answer means unverified, not dead";
}

TEST_F(Verification, AParkedAcknowledgementVerifiesOnceItsBytesAppear) {
    handshake();
    client(0, 0, "request");
    promote();
    to_replica(7, 6);
    EXPECT_FALSE(host.snapshot().verified);
    host.send("answer");
    to_replica(7, 6);
    EXPECT_TRUE(host.snapshot().verified);
}

// Bytes of the primary may reach the client after it has agreed with all that is known here.
TEST_F(Verification, ALateAcknowledgementAheadIsBelievedForAWhile) {
    handshake();
    client(0, 0, "request");
    promote();
    to_replica(7, 0);
    to_replica(7, 6);
    host.send("answer");
    for (auto packet = host.sent(); packet; packet = host.sent())
        EXPECT_EQ(packet->payload, "") << "the client has it";
    host.pass(4s);
    to_replica(7, 60);
    EXPECT_EQ(host.stack.counters().drop_bad_ack, 1u);
}

TEST_F(Verification, CopiesOfTheMirrorVerifyNothing) {
    handshake();
    promote();
    client(0, 0, "seen on the tap");
    EXPECT_FALSE(host.snapshot().verified);
}

TEST_F(Verification, WhatCameBehindAGapIsToldAtOnce) {
    handshake();
    client(7, 0, "second");
    host.stack.promote(host.now);
    const auto ack = host.sent();
    ASSERT_TRUE(ack);
    EXPECT_EQ(ack->tcp.ack, host.client_seq(0));
    ASSERT_EQ(ack->tcp.options.sack_count, 1);
    EXPECT_EQ(ack->tcp.options.sack[0].begin, host.client_seq(7));
    EXPECT_EQ(ack->tcp.options.sack[0].end, host.client_seq(13));
}

class Refusal : public Verification {
  protected:
    Refusal() : patient(settings()) {}
    static Settings settings() {
        Settings settings = settings_for(Mode::silent);
        settings.unknown_grace = 3s;
        return settings;
    }
    void to_patient(std::uint32_t seq, std::uint32_t ack, std::uint8_t flags = TcpFlags::ack) {
        Packet packet = client_packet(seq, ack, flags);
        packet.link_destination = replica_link;
        patient.inject(packet);
    }
    Host patient;
};

// The client may have received more than the mirror showed: the RST with the known number is not the one it
// takes.
TEST_F(Refusal, AnswersTheClientsTrueNumberInsideTheGraceTime) {
    handshake_on(patient);
    Packet ahead = client_packet(0, 50, TcpFlags::ack);
    patient.inject(ahead, Source::tap_from_client);
    EXPECT_EQ(patient.stack.promote(patient.now).reset, 1u);
    const auto reset = patient.sent(), probe = patient.sent();
    ASSERT_TRUE(reset && reset->has(TcpFlags::rst) && probe);
    EXPECT_EQ(probe->tcp.seq, patient.server_seq(50) - 1);
    to_patient(0, 80);
    const auto exact = patient.sent();
    ASSERT_TRUE(exact && exact->is(TcpFlags::rst));
    EXPECT_EQ(exact->tcp.seq, patient.server_seq(80));
}

TEST_F(Refusal, GivesWayToANewConnectionAndEndsWithTheGraceTime) {
    handshake_on(patient);
    patient.inject(client_packet(0, 50, TcpFlags::ack), Source::tap_from_client);
    patient.stack.promote(patient.now);
    to_patient(0, 0, TcpFlags::syn);
    patient.wire.frames.pop_front();
    bool answered = false;
    while (const auto packet = patient.sent())
        answered = answered || packet->is(TcpFlags::syn | TcpFlags::ack);
    EXPECT_TRUE(answered);
    Host other(settings());
    handshake_on(other);
    other.inject(client_packet(0, 50, TcpFlags::ack), Source::tap_from_client);
    other.stack.promote(other.now);
    other.pass(5s);
    EXPECT_EQ(other.stack.connection_count(), 0u);
}

// rules.md 25: ISN = ack − 1 holds only while the client has sent nothing that the primary took.
TEST_F(Verification, ALoneSynIsNotAdoptedOnceThePrimaryHasTakenBytes) {
    client_syn();
    promote();
    to_replica(7, 6);
    EXPECT_GE(resets(), 1);
    EXPECT_TRUE(host.events.log.empty());
}

TEST_F(Verification, AnAdoptedHandshakeGoesOnWithThePrimarysClock) {
    client_syn();
    promote();
    Packet request = client_packet(0, 0, TcpFlags::ack);
    request.link_destination = replica_link;
    request.payload = "request";
    request.tcp.options.tsecr = 4000000000u;
    host.inject(request);
    host.send("answer");
    bool answered = false;
    while (const auto packet = host.sent()) {
        if (packet->payload.empty()) continue;
        answered = true;
        EXPECT_GT(static_cast<std::int32_t>(packet->tcp.options.tsval - 4000000000u), 0);
    }
    EXPECT_TRUE(answered);
}

TEST_F(Verification, AHandshakeWhoseAnswerWasNotSeenIsNotCoveredOnceTheClientSpeaks) {
    client_syn();
    client(0, 0, "request");
    std::uint32_t cursor = 0;
    EXPECT_EQ(host.stack.snapshots(cursor, 1).front().coverage, Coverage::inferred);
    EXPECT_EQ(host.stack.promote(host.now).reset, 1u);
}

TEST_F(Verification, AnAnswerThatTheMirrorMissedDoesNotMoveAKnownInitialNumber) {
    client_syn();
    primary_syn_ack();
    promote();
    to_replica(7, 6);
    host.send("x");
    EXPECT_FALSE(host.snapshot().verified);
    EXPECT_EQ(host.snapshot().iss, host.server_isn);
}

class Kick : public Verification {
  protected:
    int errors(std::uint8_t code) {
        int count = 0;
        for (const auto& frame : host.wire.frames) {
            const std::span bytes(frame);
            if (wire::load16(bytes.data() + 12) != 0x0800 || wire::load8(bytes.data() + 23) != 1) continue;
            if (wire::load8(bytes.data() + 34) == 3 && wire::load8(bytes.data() + 35) == code) ++count;
        }
        return count;
    }
};

TEST_F(Kick, TakesBackTheBackOffOfAClientOfWhichNothingWasSeen) {
    handshake();
    client(0, 0, "one");
    primary(0, 3, "");
    host.pass(400ms);
    host.stack.promote(host.now);
    EXPECT_EQ(errors(1), 8);
    EXPECT_EQ(errors(4), 0) << "a setting";
}

TEST_F(Kick, IsNotNeededWhereTheMirrorShowedTheDataOrNothingIsBackedOff) {
    handshake();
    client(0, 0, "one");
    host.pass(400ms);
    host.stack.promote(host.now);
    EXPECT_EQ(errors(1), 0);
    Settings settings = settings_for(Mode::silent);
    Host quick(settings);
    handshake_on(quick);
    quick.pass(50ms);
    quick.stack.promote(quick.now);
    EXPECT_EQ(quick.stack.counters().client_kicks, 0u);
}

}  // namespace
}  // namespace understudy::stack::test
