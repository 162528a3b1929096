// Programs whose state must be known to be the primary's (rules.md 5), and inputs that overlapped (rules.md 1).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/stack/mirror.hh"

namespace understudy::stack::test {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Not;

Settings with_state() {
    Settings settings = settings_for(Mode::silent);
    settings.replication[service_endpoint].stateful = true;
    return settings;
}

class Stateful : public Mirror {
  protected:
    Stateful() : Mirror(with_state()) {}

    ServiceState state() const { return host.stack.services().at(0).state; }
    // The same conversation from another port.
    void other_client(std::uint32_t seq, std::string payload, std::uint8_t flags = TcpFlags::ack) {
        Packet packet = client_packet(seq, 0, flags);
        packet.source.port = 40001;
        packet.payload = std::move(payload);
        host.inject(packet, Source::tap_from_client);
    }
    void other_primary(std::uint32_t seq, std::uint32_t ack, std::string payload,
                       std::uint8_t flags = TcpFlags::ack) {
        Packet packet = primary_packet(seq, ack, flags);
        packet.destination.port = 40001;
        packet.payload = std::move(payload);
        host.inject(packet, Source::tap_from_primary);
    }
    void other_handshake() {
        other_client(0, "", TcpFlags::syn);
        other_primary(0, 0, "", TcpFlags::syn | TcpFlags::ack);
        other_client(0, "");
    }
    std::vector<Coverage> coverage() const {
        std::vector<Coverage> all;
        std::uint32_t cursor = 0;
        for (const ConnectionSnapshot& c : host.stack.snapshots(cursor, 100))
            all.push_back(c.coverage);
        return all;
    }
};

TEST_F(Stateful, IsNotCoveredUntilSomebodyVouchesForIt) {
    handshake();
    EXPECT_EQ(state(), ServiceState::unproven);
    EXPECT_EQ(host.snapshot().coverage, Coverage::state);
    EXPECT_TRUE(host.stack.attest(service_endpoint));
    EXPECT_EQ(state(), ServiceState::attested);
    EXPECT_EQ(host.snapshot().coverage, Coverage::covered);
    EXPECT_EQ(host.stack.counters().states_attested, 1u);
}

TEST_F(Stateful, IsResetAtATakeoverUntilThen) {
    handshake();
    EXPECT_EQ(host.stack.promote(host.now).reset, 1u);
    EXPECT_TRUE(host.sent()->has(TcpFlags::rst));
}

TEST_F(Stateful, GoesOnOnceAttested) {
    handshake();
    host.stack.attest(service_endpoint);
    EXPECT_EQ(host.stack.promote(host.now).promoted, 1u);
}

TEST_F(Stateful, AHalfOpenHandshakeIsNotCompletedEither) {
    client_syn();
    primary_syn_ack();
    EXPECT_EQ(host.stack.promote(host.now).half_open, 0u);
}

TEST_F(Stateful, AHoleOnOneConnectionUncoversAllFromThatMoment) {
    host.stack.attest(service_endpoint);
    handshake();
    other_handshake();
    primary(0, 3, "");
    EXPECT_THAT(coverage(), ElementsAre(Coverage::hole, Coverage::state)) << "it may be reordering";
    EXPECT_EQ(state(), ServiceState::attested);
    client(0, 0, "abc");
    EXPECT_THAT(coverage(), ElementsAre(Coverage::covered, Coverage::covered)) << "and it was";
}

TEST_F(Stateful, AHoleThatStaysLosesTheState) {
    host.stack.attest(service_endpoint);
    handshake();
    other_handshake();
    primary(0, 3, "");
    host.pass(1s);
    EXPECT_THAT(coverage(), ElementsAre(Coverage::hole, Coverage::state));
    EXPECT_EQ(state(), ServiceState::lost);
    EXPECT_EQ(host.stack.counters().states_lost, 1u);
    EXPECT_THAT(host.events.log, Contains("state lost of 10.77.0.1:7000"));
    host.stack.attest(service_endpoint);
    EXPECT_THAT(coverage(), ElementsAre(Coverage::hole, Coverage::state)) << "the hole is there still";
}

TEST_F(Stateful, AtATakeoverAHoleWithinItsGraceTimeResetsEveryConnection) {
    host.stack.attest(service_endpoint);
    handshake();
    other_handshake();
    primary(0, 3, "");
    const PromotionReport report = host.stack.promote(host.now);
    EXPECT_EQ(report.promoted, 0u);
    EXPECT_EQ(report.reset, 2u);
}

TEST_F(Stateful, AConnectionThatEndsWithAHoleLosesTheState) {
    host.stack.attest(service_endpoint);
    handshake();
    primary(0, 3, "");
    client(0, 0, "", TcpFlags::rst);
    host.pass(10s);
    EXPECT_EQ(host.stack.connection_count(), 0u);
    EXPECT_EQ(state(), ServiceState::lost);
}

TEST_F(Stateful, DataOnAnOlderConnectionLosesTheStateAndAnAcknowledgementDoesNot) {
    host.stack.attest(service_endpoint);
    client(0, 0, "");
    EXPECT_EQ(state(), ServiceState::attested);
    client(0, 0, "set k v");
    EXPECT_EQ(state(), ServiceState::lost);
}

TEST_F(Stateful, OutputThatTheMirrorMissedLosesNothing) {
    host.stack.attest(service_endpoint);
    handshake();
    other_handshake();
    client(0, 6, "");
    host.pass(1s);
    EXPECT_THAT(coverage(), ElementsAre(Coverage::uncompared, Coverage::covered));
    EXPECT_EQ(state(), ServiceState::attested);
}

TEST_F(Stateful, AProgramThatBeganAnewIsInDoubtAgain) {
    handshake();
    host.stack.attest(service_endpoint);
    EXPECT_TRUE(host.stack.forget_state(service_endpoint));
    EXPECT_EQ(host.snapshot().coverage, Coverage::state);
}

TEST_F(Stateful, AMasterLosesNoState) {
    handshake();
    host.stack.attest(service_endpoint);
    host.stack.promote(host.now);
    client(0, 0, "set k v");
    EXPECT_EQ(state(), ServiceState::attested);
}

TEST_F(Stateful, NobodyVouchesForWhatIsNoService) {
    EXPECT_FALSE(host.stack.attest(client_endpoint));
    EXPECT_FALSE(host.stack.forget_state(client_endpoint));
}

class Overlapping : public Stateful {
  protected:
    std::vector<bool> overlapped() const {
        std::vector<bool> all;
        std::uint32_t cursor = 0;
        for (const ConnectionSnapshot& c : host.stack.snapshots(cursor, 100))
            all.push_back(c.overlapped);
        return all;
    }
};

TEST_F(Overlapping, InputsThatThePrimaryHadTogetherAreMarked) {
    handshake();
    other_handshake();
    client(0, 0, "a");
    other_client(0, "b");
    EXPECT_THAT(overlapped(), ElementsAre(true, true));
    EXPECT_EQ(host.stack.counters().connections_overlapped, 2u);
}

TEST_F(Overlapping, OneAfterTheAnswerToTheOtherIsNot) {
    handshake();
    other_handshake();
    client(0, 0, "a");
    primary(0, 1, "A");
    other_client(0, "b");
    EXPECT_THAT(overlapped(), ElementsAre(false, false));
}

TEST_F(Overlapping, AConnectionThatEndedWaitsForNoAnswer) {
    handshake();
    other_handshake();
    client(0, 0, "a");
    client(1, 0, "", TcpFlags::rst);
    host.pass(10s);
    other_client(0, "b");
    EXPECT_THAT(overlapped(), ElementsAre(false));
}

class Lagging : public Mirror {};

TEST_F(Lagging, TheTimeCountsFromTheBytesThatTheApplicationHasNotReached) {
    handshake();
    client(0, 0, "request");
    primary(0, 7, "answer");
    host.pass(30ms);
    EXPECT_EQ(host.snapshot().lag_time, 30ms);
    EXPECT_EQ(lag_bytes(host.snapshot()), 6u);
    host.send("answer");
    EXPECT_EQ(host.snapshot().lag_time, 0ms);
}

TEST_F(Lagging, AnApplicationThatNeverCatchesUpLagsByWhatTheLastBytesTook) {
    handshake();
    primary(0, 0, "aaa");
    host.pass(20ms);
    primary(3, 0, "bbb");
    host.send("aaa");
    host.pass(5ms);
    EXPECT_EQ(host.snapshot().lag_time, 20ms);
}

class MirrorLoss : public Mirror {
  protected:
    const Counters& counters() const { return host.stack.counters(); }
};

TEST_F(MirrorLoss, IsMeasuredFromTheAcknowledgementsOfThePrimary) {
    handshake();
    client(0, 0, "0123456789");
    primary(0, 10, "");
    client(15, 0, "567");
    primary(0, 18, "");
    EXPECT_EQ(host.snapshot().coverage, Coverage::hole);
    EXPECT_EQ(host.snapshot().detail, 10u);
    EXPECT_EQ(host.snapshot().missing_bytes, 5u);
    host.pass(20ms);
    EXPECT_EQ(host.snapshot().missing_for, 20ms);
    host.pass(1s);
    EXPECT_EQ(counters().client_bytes_confirmed, 18u);
    EXPECT_EQ(counters().client_bytes_missed, 5u);
    primary(0, 20, "");
    host.pass(1s);
    EXPECT_EQ(counters().client_bytes_confirmed, 18u) << "a connection counts up to its first loss";
    EXPECT_EQ(counters().client_bytes_missed, 5u);
}

TEST_F(MirrorLoss, OfThePrimarysBytesFromThoseOfTheClient) {
    handshake();
    primary(0, 0, "0123456789");
    client(0, 14, "");
    host.pass(1s);
    EXPECT_EQ(counters().primary_bytes_followed, 14u);
    EXPECT_EQ(counters().primary_bytes_missed, 4u);
}

TEST_F(MirrorLoss, ReorderingIsNone) {
    handshake();
    primary(0, 3, "");
    client(0, 0, "abc");
    host.pass(1s);
    EXPECT_EQ(counters().client_bytes_missed, 0u);
}

}  // namespace
}  // namespace understudy::stack::test
