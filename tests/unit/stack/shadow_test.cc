// What the mirror shows while silent, row by row of design.md 4.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/stack/mirror.hh"

namespace understudy::stack::test {
namespace {

using ::testing::ElementsAre;

class Shadowing : public Mirror {};

TEST_F(Shadowing, SeedsFromTheSynAckNumberForNumber) {
    handshake();
    ASSERT_THAT(host.events.log, ElementsAre("accepted"));
    const auto s = host.snapshot();
    EXPECT_EQ(s.iss, host.server_isn);
    EXPECT_EQ(s.irs, Host::client_isn);
    EXPECT_EQ(s.coverage, Coverage::covered);
    EXPECT_EQ(s.state, State::established);
    ASSERT_EQ(host.events.seeds.size(), 1u);
    const SeedRecord& seed = host.events.seeds[0];
    EXPECT_EQ(seed.primary_isn, host.server_isn);
    EXPECT_EQ(seed.primary_window_scale, 7);
    EXPECT_EQ(seed.client_window_scale, 9);
    EXPECT_FALSE(seed.inferred);
}

TEST_F(Shadowing, NothingEverLeaves) {
    handshake();
    client(0, 0, "request");
    host.send("answer");
    host.pass(100s);
    EXPECT_TRUE(host.wire.frames.empty());
    EXPECT_EQ(host.stack.counters().withheld_frames, 0u) << "no segment is built only to be dropped";
}

TEST_F(Shadowing, TheServicePortIsDeafWhileSilent) {
    std::vector<std::byte> frame(42);
    wire::write_ethernet(frame, {LinkAddress::broadcast(), client_link, wire::EtherType::arp});
    wire::write_arp(
        std::span(frame).subspan(14),
        {wire::ArpOperation::request, client_link, client_endpoint.address, {}, service_endpoint.address});
    const ReceivedFrame received{Source::service, frame, 42};
    host.stack.receive(std::span(&received, 1), host.now);
    EXPECT_TRUE(host.wire.frames.empty());
    EXPECT_EQ(host.stack.counters().drop_silent, 1u);
}

TEST_F(Shadowing, ClientSegmentsThatOvertakeTheSynAckWait) {
    client_syn();
    client(0, 0, "early");
    EXPECT_TRUE(host.events.log.empty());
    primary_syn_ack();
    EXPECT_THAT(host.events.log, ElementsAre("accepted"));
    EXPECT_EQ(host.events.input, "early");
    EXPECT_EQ(host.snapshot().coverage, Coverage::covered);
}

TEST_F(Shadowing, PrimarySegmentsThatOvertakeTheSynAckWait) {
    client_syn();
    primary(4, 0, "er", TcpFlags::fin);
    primary(0, 0, "bann");
    client(0, 7, "");
    EXPECT_TRUE(host.events.log.empty());
    primary_syn_ack();
    EXPECT_EQ(host.events.primary_output, "banner");
    host.send("banner");
    EXPECT_EQ(host.snapshot().coverage, Coverage::covered);
    EXPECT_EQ(host.snapshot().state, State::fin_wait_2);
}

TEST_F(Shadowing, WithoutTheSynTheConnectionIsInferred) {
    primary_syn_ack();
    client(0, 0, "hello");
    EXPECT_EQ(host.events.input, "hello");
    EXPECT_EQ(host.snapshot().coverage, Coverage::inferred);
    EXPECT_TRUE(host.events.seeds.at(0).inferred);
}

TEST_F(Shadowing, ASynBehindItsSynAckProvesTheOptionsAfterAll) {
    primary_syn_ack();
    client(0, 0, "hello");
    client_syn();
    EXPECT_EQ(host.snapshot().coverage, Coverage::covered);
    EXPECT_EQ(host.snapshot().snd_wnd, 500u << 9) << "the window read before its scale was known";
    ASSERT_EQ(host.events.seeds.size(), 2u);
    EXPECT_FALSE(host.events.seeds[1].inferred);
    EXPECT_EQ(host.events.seeds[1].client_window_scale, 9);
    EXPECT_EQ(host.events.seeds[1].client_mss, 1000);
}

TEST_F(Shadowing, ASynBehindItsSynAckLeavesTheHandshakeHalfOpen) {
    primary_syn_ack();
    client_syn();
    client(0, 0, "hello");
    EXPECT_EQ(host.events.input, "hello");
    EXPECT_EQ(host.snapshot().coverage, Coverage::covered);
}

TEST_F(Shadowing, ARepeatedSynAckChangesNothing) {
    handshake();
    client(0, 0, "abc");
    primary_syn_ack();
    EXPECT_EQ(host.stack.counters().seeds_retransmitted, 1u);
    EXPECT_EQ(host.events.input, "abc");
    EXPECT_EQ(host.stack.connection_count(), 1u);
}

TEST_F(Shadowing, AReusedPortBeginsAnew) {
    handshake();
    const ConnectionId old = host.events.connection;
    Packet syn = client_packet(0, 0, TcpFlags::syn);
    syn.tcp.seq = Seq(777000);
    host.inject(syn, Source::tap_from_client);
    ASSERT_TRUE(host.stack.snapshot(old)) << "the primary decides, not the SYN";
    Packet answer = primary_packet(0, 0, TcpFlags::syn | TcpFlags::ack);
    answer.tcp.seq = Seq(888000);
    answer.tcp.ack = Seq(777001);
    host.inject(answer, Source::tap_from_primary);
    EXPECT_FALSE(host.stack.snapshot(old));
    EXPECT_THAT(host.events.log, ElementsAre("accepted", "evicted"));
}

TEST_F(Shadowing, EqualOutputIsComparedAndReleased) {
    handshake();
    client(0, 0, "request");
    host.send("answer");
    primary(0, 7, "answer");
    EXPECT_EQ(host.snapshot().coverage, Coverage::covered);
    client(7, 6, "");
    EXPECT_EQ(host.snapshot().snd_una, host.server_seq(6).raw());
    host.pass(1s);
    EXPECT_EQ(host.snapshot().coverage, Coverage::covered);
}

TEST_F(Shadowing, AClientAckAheadOfTheApplicationIsRemembered) {
    handshake();
    client(0, 0, "request");
    primary(0, 7, "answer");
    client(7, 6, "next");
    EXPECT_EQ(host.events.input, "requestnext") << "the payload of such a segment is never lost";
    EXPECT_EQ(host.send("answer"), 6u);
    EXPECT_EQ(host.snapshot().snd_una, host.server_seq(6).raw());
    EXPECT_EQ(host.snapshot().coverage, Coverage::covered);
}

TEST_F(Shadowing, InputAheadOfThePrimaryWaitsForIt) {
    handshake();
    client(0, 0, "one");
    client(3, 6, "two", TcpFlags::fin);
    EXPECT_EQ(host.events.input, "one") << "the primary refuses an acknowledgement of what it did not send";
    primary(0, 3, "an");
    EXPECT_EQ(host.events.input, "one");
    primary(2, 3, "swer");
    EXPECT_EQ(host.events.input, "onetwo");
    EXPECT_EQ(host.events.log.back(), "peer_closed");
}

TEST_F(Shadowing, InputAheadOfThePrimaryIsTakenOnceThePrimaryHasAcknowledgedIt) {
    handshake();
    client(0, 6, "onetwo");
    primary(6, 3, "");
    EXPECT_EQ(host.events.input, "onetwo") << "the primary's own number says that it has sent six bytes";
    client(6, 9, "three", TcpFlags::fin);
    primary(6, 9, "");
    EXPECT_EQ(host.events.input, "onetwothr");
    primary(6, 12, "");
    EXPECT_EQ(host.events.input, "onetwothree");
    EXPECT_EQ(host.events.log.back(), "peer_closed");
}

TEST_F(Shadowing, DifferentOutputIsFoundAtItsByte) {
    handshake();
    host.send("answer A");
    primary(0, 0, "answer B");
    EXPECT_EQ(host.snapshot().coverage, Coverage::diverged);
    EXPECT_EQ(host.snapshot().detail, 7u);
    EXPECT_EQ(host.stack.counters().divergences, 1u);
}

TEST_F(Shadowing, AHoleUncoversAfterTheGraceTime) {
    handshake();
    client(5, 0, "later");
    primary(0, 10, "");
    EXPECT_EQ(host.snapshot().coverage, Coverage::hole) << "not known to be identical at this moment";
    host.pass(20ms);
    EXPECT_EQ(host.stack.counters().holes, 0u);
    client(0, 0, "first");
    EXPECT_EQ(host.events.input, "firstlater");
    EXPECT_EQ(host.snapshot().coverage, Coverage::covered);
    client(15, 0, "x");
    primary(0, 16, "");
    host.pass(60ms);
    EXPECT_EQ(host.snapshot().coverage, Coverage::hole);
    EXPECT_EQ(host.snapshot().detail, 10u);
    EXPECT_EQ(host.stack.counters().holes, 1u);
}

TEST_F(Shadowing, PrimaryBytesThatTheMirrorMissedAreUncompared) {
    handshake();
    host.send("answer");
    client(0, 6, "");  // the client has six bytes that the mirror never showed
    host.pass(60ms);
    EXPECT_EQ(host.snapshot().coverage, Coverage::uncompared);
}

TEST_F(Shadowing, ReorderedPrimarySegmentsAreComparedInOrder) {
    handshake();
    host.send("abcdef");
    primary(3, 0, "def");
    primary(0, 0, "abc");
    host.pass(60ms);
    EXPECT_EQ(host.snapshot().coverage, Coverage::covered);
    EXPECT_EQ(host.stack.counters().mirror_reordered, 1u);
}

TEST_F(Shadowing, AConnectionOlderThanTheReplicaIsListed) {
    client(0, 0, "middle of something");
    std::uint32_t cursor = 0;
    const auto all = host.stack.snapshots(cursor, 10);
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].coverage, Coverage::too_old);
    EXPECT_TRUE(host.events.log.empty());
}

TEST_F(Shadowing, AConnectionOlderThanTheReplicaIsForgottenWhenItsClientIsGone) {
    client(0, 0, "middle of something");
    host.pass(9min);
    client(19, 0, "still there");
    host.pass(9min);
    EXPECT_EQ(host.stack.connection_count(), 1u);
    host.pass(2min);
    EXPECT_EQ(host.stack.connection_count(), 0u);
}

TEST_F(Shadowing, BothFinsEndTheConnectionWithoutAWord) {
    handshake();
    client(0, 0, "bye", TcpFlags::fin);
    EXPECT_THAT(host.events.log, ElementsAre("accepted", "peer_closed"));
    host.stack.shutdown_send(host.events.connection, host.now);
    primary(0, 4, "", TcpFlags::fin);
    client(4, 1, "");
    EXPECT_THAT(host.events.log, ElementsAre("accepted", "peer_closed", "finished"));
    client(4, 1, "");  // a straggler
    host.pass(3s);
    EXPECT_EQ(host.stack.connection_count(), 0u);
    EXPECT_EQ(host.stack.counters().connections_too_old, 0u);
    EXPECT_TRUE(host.wire.frames.empty());
}

TEST_F(Shadowing, AnAckThatOvertakesTheFinItAcknowledgesLeavesNoGap) {
    handshake();
    client(0, 0, "", TcpFlags::fin);
    host.stack.shutdown_send(host.events.connection, host.now);
    const ConnectionId id = host.events.connection;
    client(1, 1, "");
    ASSERT_EQ(host.snapshot().coverage, Coverage::uncompared);
    primary(0, 1, "", TcpFlags::fin);
    ASSERT_EQ(host.stack.snapshot(id)->state, State::time_wait);
    EXPECT_EQ(host.stack.snapshot(id)->coverage, Coverage::covered);
    EXPECT_EQ(host.stack.promote(host.now).reset, 0u);
}

TEST_F(Shadowing, ANewerAckOnOldSequenceNumbersStillSetsTheWindow) {
    handshake();
    client(100, 0, "sent ahead of what is missing");
    primary(0, 0, "abc");
    Packet again = client_packet(0, 3, TcpFlags::ack);
    again.tcp.window = 10;
    host.inject(again, Source::tap_from_client);
    EXPECT_EQ(host.snapshot().snd_wnd, 10u << 9);
    again.tcp.window = 20;
    host.inject(again, Source::tap_from_client);
    EXPECT_EQ(host.snapshot().snd_wnd, 20u << 9) << "wider for the same acknowledgement";
}

TEST_F(Shadowing, ThePrimarysResetWaitsForTheApplicationToCatchUp) {
    handshake();
    primary(0, 0, "partial answer");
    primary(14, 0, "", TcpFlags::rst);
    host.pass(100ms);
    EXPECT_THAT(host.events.log, ElementsAre("accepted"));
    host.send("partial answer");
    EXPECT_THAT(host.events.log, ElementsAre("accepted", "reset_by_primary"));
}

TEST_F(Shadowing, StragglersOfAResetConnectionBeginNoOther) {
    handshake();
    primary(0, 0, "", TcpFlags::rst);
    host.pass(100ms);
    ASSERT_THAT(host.events.log, ElementsAre("accepted", "reset_by_primary"));
    client(0, 0, "behind on the mirror");
    EXPECT_EQ(host.stack.connection_count(), 1u);
    EXPECT_EQ(host.stack.counters().connections_too_old, 0u);
    EXPECT_EQ(host.events.log.size(), 2u);
    host.pass(3s);
    EXPECT_EQ(host.stack.connection_count(), 0u);
}

TEST_F(Shadowing, PrimaryBytesBehindTheClientsResetAreNoDivergence) {
    handshake();
    client(0, 0, "", TcpFlags::rst);
    host.pass(100ms);
    ASSERT_THAT(host.events.log, ElementsAre("accepted", "reset_by_peer"));
    primary(0, 0, "under way");
    EXPECT_EQ(host.stack.counters().divergences, 0u);
    EXPECT_EQ(host.stack.promote(host.now).reset, 0u);
    EXPECT_EQ(host.stack.connection_count(), 0u);
}

TEST_F(Shadowing, BytesAcknowledgedWithinALaterSegmentCameInAnother) {
    handshake();
    client(0, 4, "");
    primary(0, 0, "answer");
    EXPECT_EQ(host.snapshot().coverage, Coverage::uncompared);
}

TEST_F(Shadowing, AnAckOfAWholeSegmentMayOvertakeIt) {
    handshake();
    client(0, 6, "");
    primary(0, 0, "answer");
    host.send("answer");
    EXPECT_EQ(host.snapshot().coverage, Coverage::covered);
}

TEST_F(Shadowing, AnAckOfASegmentMayOvertakeItAndTheNext) {
    handshake();
    client(0, 3, "");
    primary(3, 0, "wer");
    primary(0, 0, "ans");
    host.send("answer");
    EXPECT_EQ(host.snapshot().coverage, Coverage::covered);
}

TEST_F(Shadowing, AnAckWithinASuperFrameMayOvertakeIt) {
    handshake();
    client(0, 1000, "");
    primary(0, 0, std::string(3000, 'x'));
    host.send(std::string(3000, 'x'));
    EXPECT_EQ(host.snapshot().coverage, Coverage::covered);
}

TEST_F(Shadowing, AnEarlyEndOfTheApplicationIsADivergence) {
    handshake();
    host.send("short");
    host.stack.shutdown_send(host.events.connection, host.now);
    primary(0, 0, "short and more");
    EXPECT_EQ(host.snapshot().coverage, Coverage::diverged);
    EXPECT_EQ(host.snapshot().detail, 5u);
}

TEST_F(Shadowing, ASlowApplicationHasABudget) {
    Settings settings = settings_for(Mode::silent);
    settings.shadow.lag_budget_bytes = 1000;
    Host slow(settings);
    slow.events.appetite = 0;
    slow.server_isn = host.server_isn;
    Mirror::handshake_on(slow);
    Packet data = client_packet(0, 0, TcpFlags::ack);
    data.payload.assign(900, 'd');
    slow.inject(data, Source::tap_from_client);
    EXPECT_EQ(slow.snapshot().coverage, Coverage::covered);
    data.tcp.seq = host.client_seq(900);
    slow.inject(data, Source::tap_from_client);
    EXPECT_EQ(slow.snapshot().coverage, Coverage::over_budget);
    EXPECT_EQ(slow.snapshot().unread_bytes, 0u);
}

TEST_F(Shadowing, UnfilledChecksumsPassOnlyWithTheSetting) {
    Packet syn = client_packet(0, 0, TcpFlags::syn);
    auto frame = encode(syn);
    const std::size_t at = 14 + 20;
    const auto pseudo = wire::pseudo_header_sum(client_endpoint.address, service_endpoint.address, 6,
                                                static_cast<std::uint32_t>(frame.size() - at));
    wire::store16(frame.data() + at + wire::tcp_checksum_offset, wire::checksum_fold(pseudo));
    const ReceivedFrame received{Source::tap_from_client, frame, static_cast<std::uint32_t>(frame.size())};
    host.stack.receive(std::span(&received, 1), host.now);
    EXPECT_EQ(host.stack.counters().drop_unfilled_checksum, 1u);
    Settings settings = settings_for(Mode::silent);
    settings.shadow.accept_unfilled_checksums = true;
    Host tolerant(settings);
    tolerant.stack.receive(std::span(&received, 1), tolerant.now);
    EXPECT_EQ(tolerant.stack.connection_count(), 1u);
}

TEST_F(Shadowing, UnfilledHeaderChecksumsPassOnlyWithTheSetting) {
    auto frame = encode(client_packet(0, 0, TcpFlags::syn));
    wire::store16(frame.data() + 14 + 10, 0);
    const ReceivedFrame received{Source::tap_from_client, frame, static_cast<std::uint32_t>(frame.size())};
    host.stack.receive(std::span(&received, 1), host.now);
    EXPECT_EQ(host.stack.counters().drop_unfilled_ip_checksum, 1u);
    Settings settings = settings_for(Mode::silent);
    settings.shadow.accept_unfilled_checksums = true;
    Host tolerant(settings);
    tolerant.stack.receive(std::span(&received, 1), tolerant.now);
    EXPECT_EQ(tolerant.stack.connection_count(), 1u);
    frame[14 + 10] = std::byte{1};
    tolerant.stack.receive(std::span(&received, 1), tolerant.now);
    EXPECT_EQ(tolerant.stack.counters().drop_ip_checksum, 1u) << "any other mismatch is loss";
}

}  // namespace
}  // namespace understudy::stack::test
