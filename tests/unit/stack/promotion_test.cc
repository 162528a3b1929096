// Silent → master: what the client sees first, and that the connection then lives (design.md 5, facts.md 4).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/stack/mirror.hh"

namespace understudy::stack::test {
namespace {

using ::testing::ElementsAre;

class Promotion : public Mirror {
  protected:
    PromotionReport promote() { return host.stack.promote(host.now); }
    // A segment of the client on the service port, after the takeover.
    void to_replica(std::uint32_t seq, std::uint32_t ack, std::string payload, std::uint8_t flags = 0) {
        Packet packet = client_packet(seq, ack, static_cast<std::uint8_t>(flags | TcpFlags::ack));
        packet.link_destination = replica_link;
        packet.payload = std::move(payload);
        host.inject(packet);
    }
};

TEST_F(Promotion, AnnouncesBeforeAnythingElse) {
    handshake();
    promote();
    ASSERT_GE(host.wire.frames.size(), 2u);
    for (std::size_t i = 0; i < 2; ++i) {
        const auto link = wire::parse_ethernet(host.wire.frames[i]);
        EXPECT_EQ(link->type, wire::EtherType::arp);
        EXPECT_EQ(link->destination, LinkAddress::broadcast());
        const auto arp = wire::parse_arp(std::span(host.wire.frames[i]).subspan(14));
        ASSERT_TRUE(arp);
        EXPECT_EQ(arp->sender, service_endpoint.address);
        EXPECT_EQ(arp->sender_link, replica_link);
    }
}

TEST_F(Promotion, TheAnnouncementIsRepeated) {
    Settings settings = settings_for(Mode::silent);
    settings.announce_repeats = {100ms, 10ms};
    settings.conflict_probes = false;
    Host repeating(settings);
    repeating.stack.promote(repeating.now);
    EXPECT_EQ(repeating.wire.frames.size(), 2u);
    repeating.pass(20ms);
    EXPECT_EQ(repeating.wire.frames.size(), 4u);
    repeating.pass(100ms);
    EXPECT_EQ(repeating.wire.frames.size(), 6u);
}

TEST_F(Promotion, SendsAFullAckWithTheNewestTimestampAndAProbe) {
    handshake();
    client_tsval = 150;
    client(0, 0, "request");
    client_tsval = 180;
    client(0, 0, "request");  // the client's retransmission, seen on the mirror
    EXPECT_EQ(promote().promoted, 1u);
    const auto ack = host.sent();
    ASSERT_TRUE(ack && ack->is(TcpFlags::ack));
    EXPECT_EQ(ack->tcp.seq, host.server_seq(0));
    EXPECT_EQ(ack->tcp.ack, host.client_seq(7));
    EXPECT_EQ(ack->tcp.options.tsecr, 180u);
    EXPECT_GT(static_cast<std::int32_t>(ack->tcp.options.tsval - primary_tsval), 0)
        << "or PAWS throws it away";
    EXPECT_EQ(ack->link_destination, client_link);
    const auto probe = host.sent();
    ASSERT_TRUE(probe);
    EXPECT_EQ(probe->tcp.seq, host.server_seq(0) - 1);
    EXPECT_FALSE(host.sent());
}

TEST_F(Promotion, UnacknowledgedBytesOfThePrimaryGoOutAgainAsItSentThem) {
    handshake();
    client(0, 0, "request");
    primary(0, 7, "answer");
    // The application lags: it has not written a byte yet.
    promote();
    const auto data = host.sent();
    ASSERT_TRUE(data);
    EXPECT_EQ(data->payload, "answer");
    EXPECT_EQ(data->tcp.seq, host.server_seq(0));
    host.stack.set_options(host.events.connection, {.nodelay = true}, host.now);
    host.send("answer");
    host.send(" and more");
    host.sent();  // the probe
    EXPECT_EQ(host.sent()->payload, " and more") << "what was there is swallowed";
}

TEST_F(Promotion, OnlyAnEchoOfOurOwnClockGivesARoundTrip) {
    handshake();
    primary(0, 0, "answer");
    promote();
    const auto resent = host.sent();
    ASSERT_TRUE(resent);
    const Duration before = host.snapshot().srtt;
    host.pass(5ms);
    Packet ack = client_packet(0, 3, TcpFlags::ack);
    ack.link_destination = replica_link;
    ack.tcp.options.tsecr = primary_tsval;
    host.inject(ack);
    EXPECT_EQ(host.snapshot().srtt, before);
    ack.tcp.ack = host.server_seq(6);
    ack.tcp.options.tsecr = resent->tcp.options.tsval;
    host.inject(ack);
    EXPECT_NE(host.snapshot().srtt, before);
}

TEST_F(Promotion, OutputThatWaitedIsSentAtOnce) {
    handshake();
    client(0, 0, "request");
    host.send("answer");
    promote();
    EXPECT_EQ(host.sent()->payload, "answer");
}

TEST_F(Promotion, TheConnectionLivesOn) {
    handshake();
    client(0, 0, "one");
    host.send("ONE");
    primary(0, 3, "ONE");
    client(3, 3, "");
    promote();
    while (host.sent()) {
    }
    to_replica(3, 3, "two");
    EXPECT_EQ(host.events.input, "onetwo");
    EXPECT_EQ(host.sent()->tcp.ack, host.client_seq(6)) << "the first is acknowledged at once";
    host.send("TWO");
    const auto answer = host.sent();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->payload, "TWO");
    EXPECT_EQ(answer->tcp.seq, host.server_seq(3));
    EXPECT_EQ(answer->tcp.ack, host.client_seq(6));
    EXPECT_TRUE(host.snapshot().verified);
}

TEST_F(Promotion, TheAdvertisedEdgeNeverMovesBack) {
    handshake();
    primary(0, 0, "");  // 400 << 7 bytes from the start
    promote();
    const auto ack = host.sent();
    ASSERT_TRUE(ack);
    EXPECT_GE(ack->tcp.ack + (std::uint32_t{ack->tcp.window} << 7), host.client_seq(400 << 7));
}

TEST_F(Promotion, TheCongestionWindowStartsAtTheFlightSeen) {
    handshake();
    for (std::uint32_t i = 0; i < 40; ++i)
        primary(i * 1000, 0, std::string(1000, 'b'));
    promote();
    EXPECT_EQ(host.snapshot().unacked_segments, 41u) << "timestamps take 12 of the 1000 bytes";
    EXPECT_EQ(host.snapshot().cwnd_segments, 41u);
}

TEST_F(Promotion, WhatIsNotCoveredIsResetWithTheClientsOwnNumber) {
    handshake();
    host.send("answer A");
    primary(0, 0, "answer B");
    client(0, 8, "");
    const auto report = promote();
    EXPECT_EQ(report.reset, 1u);
    const auto reset = host.sent();
    ASSERT_TRUE(reset && reset->has(TcpFlags::rst));
    EXPECT_EQ(reset->tcp.seq, host.server_seq(8));
    EXPECT_THAT(host.events.log, ElementsAre("accepted", "uncovered"));
}

TEST_F(Promotion, AnOlderConnectionIsReset) {
    client(50, 60, "mid-stream");
    EXPECT_EQ(promote().reset, 1u);
    const auto reset = host.sent();
    ASSERT_TRUE(reset && reset->has(TcpFlags::rst));
    EXPECT_EQ(reset->tcp.seq, host.server_seq(60));
}

TEST_F(Promotion, AHalfOpenHandshakeIsCompletedWithThePrimarysNumbers) {
    client_syn();
    primary_syn_ack();
    EXPECT_EQ(promote().half_open, 1u);
    const auto answer = host.sent();
    ASSERT_TRUE(answer && answer->is(TcpFlags::syn | TcpFlags::ack));
    EXPECT_EQ(answer->tcp.seq, Seq(host.server_isn));
    EXPECT_EQ(answer->tcp.options.window_scale, 7);
    to_replica(0, 0, "hello");
    EXPECT_THAT(host.events.log, ElementsAre("accepted"));
    EXPECT_EQ(host.events.input, "hello");
}

TEST_F(Promotion, ALoneSynIsAnsweredAndThePrimarysNumberAdopted) {
    client_syn();
    EXPECT_EQ(promote().half_open, 1u);
    const auto answer = host.sent();
    ASSERT_TRUE(answer && answer->is(TcpFlags::syn | TcpFlags::ack));
    EXPECT_NE(answer->tcp.seq, Seq(host.server_isn));
    to_replica(0, 0, "hello");  // the client had the primary's SYN/ACK already
    EXPECT_EQ(host.events.input, "hello");
    host.send("world");
    while (const auto data = host.sent()) {
        if (!data->payload.empty()) {
            EXPECT_EQ(data->tcp.seq, host.server_seq(0));
        }
    }
}

TEST_F(Promotion, AFinOfThePrimaryIsSentAgain) {
    handshake();
    host.send("end");
    primary(0, 0, "end", TcpFlags::fin);
    promote();
    const auto fin = host.sent();
    ASSERT_TRUE(fin);
    EXPECT_TRUE(fin->has(TcpFlags::fin));
    EXPECT_EQ(fin->payload, "end");
    to_replica(0, 4, "");
    EXPECT_EQ(host.snapshot().state, State::fin_wait_2);
}

TEST_F(Promotion, AnApplicationThatClosedEarlySendsItsFinNow) {
    handshake();
    host.stack.shutdown_send(host.events.connection, host.now);
    EXPECT_EQ(host.snapshot().state, State::established);
    promote();
    const auto fin = host.sent();
    ASSERT_TRUE(fin && fin->has(TcpFlags::fin));
    EXPECT_EQ(host.snapshot().state, State::fin_wait_1);
}

TEST_F(Promotion, AHalfClosedClientGetsItsAnswer) {
    handshake();
    client(0, 0, "last request", TcpFlags::fin);
    promote();
    EXPECT_EQ(host.sent()->tcp.ack, host.client_seq(13));
    host.send("last answer");
    host.stack.shutdown_send(host.events.connection, host.now);
    std::string got;
    bool fin = false;
    while (const auto packet = host.sent()) {
        got += packet->payload;
        fin = fin || packet->has(TcpFlags::fin);
    }
    EXPECT_EQ(got, "last answer");
    EXPECT_TRUE(fin);
    to_replica(13, 12, "");
    EXPECT_THAT(host.events.log, ElementsAre("accepted", "peer_closed", "finished"));
}

// rules.md 3: the last answer was on no mirror, but the client has it.
TEST_F(Promotion, AnAckAheadOfEverythingIsParkedAndTheBytesAreNeverSentAgain) {
    handshake();
    client(0, 0, "request");
    promote();
    while (host.sent()) {
    }
    to_replica(7, 6, "next");
    EXPECT_EQ(host.events.input, "requestnext");
    host.send("answer");
    host.send("second");
    while (const auto packet = host.sent()) {
        if (!packet->payload.empty()) {
            EXPECT_EQ(packet->payload, "second");
            EXPECT_EQ(packet->tcp.seq, host.server_seq(6));
        }
    }
}

// rules.md 18.
TEST_F(Promotion, MirroredCopiesFillHolesButDrawNothing) {
    handshake();
    promote();
    while (host.sent()) {
    }
    client(0, 0, "seen on the tap only");
    EXPECT_EQ(host.events.input, "seen on the tap only");
    host.pass(50ms);
    while (host.sent()) {
    }
    client(0, 0, "seen on the tap only");
    EXPECT_FALSE(host.sent());
    to_replica(29, 0, "service");  // overtakes what only the tap shows
    client(20, 0, "late copy");
    EXPECT_EQ(host.events.input, "seen on the tap onlylate copyservice");
    while (host.sent()) {
    }
    client(20, 0, "late copy");
    EXPECT_FALSE(host.sent());
}

TEST_F(Promotion, AnAcknowledgementAfterATimeOutStandsAtTheEndOfWhatWasSent) {
    handshake();
    host.stack.promote(host.now);
    host.send(std::string(3000, 'x'));
    host.pass(2s);  // timed out: snd_nxt went back, behind what the client has
    while (host.sent()) {
    }
    Packet later = client_packet(1, 0, TcpFlags::ack);
    later.link_destination = replica_link;
    later.payload = "out of order";
    host.inject(later);
    const auto ack = host.sent();
    ASSERT_TRUE(ack);
    EXPECT_TRUE(ack->payload.empty());
    EXPECT_EQ(ack->tcp.seq, host.server_seq(3000));
}

TEST_F(Promotion, ASecondPromotionDoesNothing) {
    handshake();
    promote();
    host.wire.frames.clear();
    EXPECT_EQ(promote().promoted, 0u);
    EXPECT_TRUE(host.wire.frames.empty());
}

TEST_F(Promotion, NewConnectionsAreServedAndUnknownOnesMetWithSilenceAtFirst) {
    Settings settings = settings_for(Mode::silent);
    settings.unknown_grace = 1s;
    Host replica(settings);
    replica.stack.promote(replica.now);
    replica.wire.frames.clear();
    replica.inject(client_packet(5, 5, TcpFlags::ack));
    EXPECT_TRUE(replica.wire.frames.size() == 0) << "a wrong destination, or the grace period";
    Packet unknown = client_packet(5, 5, TcpFlags::ack);
    unknown.link_destination = replica_link;
    replica.inject(unknown);
    EXPECT_FALSE(replica.sent());
    replica.pass(1100ms);
    replica.inject(unknown);
    EXPECT_TRUE(replica.sent()->has(TcpFlags::rst));
    Packet syn = client_packet(0, 0, TcpFlags::syn);
    syn.link_destination = replica_link;
    replica.inject(syn);
    EXPECT_TRUE(replica.sent()->is(TcpFlags::syn | TcpFlags::ack));
}

}  // namespace
}  // namespace understudy::stack::test
