// The stack as an ordinary endpoint, by state (RFC 9293 3.10.7).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/stack/master.hh"

namespace understudy::stack::test {
namespace {

using ::testing::ElementsAre;

TEST_F(Master, ListenAnswersASynWithTheNegotiatedOptions) {
    timestamps = true;
    syn();
    const auto answer = host.sent();
    ASSERT_TRUE(answer);
    EXPECT_TRUE(answer->is(TcpFlags::syn | TcpFlags::ack));
    EXPECT_EQ(answer->tcp.ack, host.client_seq(0));
    EXPECT_EQ(answer->tcp.options.mss, 1460);
    EXPECT_TRUE(answer->tcp.options.sack_permitted);
    EXPECT_FALSE(answer->tcp.options.window_scale_present) << "the client did not offer it";
    EXPECT_TRUE(answer->tcp.options.timestamps_present);
    EXPECT_EQ(answer->tcp.options.tsecr, 100u);
    EXPECT_EQ(answer->link_destination, client_link);
}

TEST_F(Master, ListenResetsAnAcknowledgementOfNothing) {
    host.inject(from_client(5, 9, TcpFlags::ack));
    const auto answer = host.sent();
    ASSERT_TRUE(answer && answer->is(TcpFlags::rst));
    EXPECT_EQ(answer->tcp.seq, host.server_seq(9));
}

TEST_F(Master, SynReceivedRepeatsItsAnswerUntilItGivesUp) {
    syn();
    host.sent();
    host.pass(1100ms);
    const auto again = host.sent();
    ASSERT_TRUE(again && again->is(TcpFlags::syn | TcpFlags::ack));
    host.pass(400s);
    EXPECT_EQ(host.stack.connection_count(), 0u);
    EXPECT_TRUE(host.events.log.empty()) << "the application never heard of it";
}

TEST_F(Master, DataIsDeliveredAndAcknowledgedWithTheAnswer) {
    establish();
    host.inject(from_client(0, 0, TcpFlags::ack | TcpFlags::psh, "ping"));
    EXPECT_EQ(host.events.input, "ping");
    EXPECT_EQ(host.sent()->tcp.ack, host.client_seq(4)) << "the first data is acknowledged at once";
    host.send("pong");
    EXPECT_EQ(host.sent()->payload, "pong");
    host.inject(from_client(4, 4, TcpFlags::ack | TcpFlags::psh, "ping"));
    EXPECT_FALSE(host.sent()) << "the acknowledgement waits for an answer";
    host.send("pong");
    const auto answer = host.sent();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->payload, "pong");
    EXPECT_EQ(answer->tcp.ack, host.client_seq(8));
    host.pass(201ms);
    EXPECT_TRUE(host.sent()->payload == "pong") << "only the retransmission follows";
}

TEST_F(Master, AnUnansweredSegmentIsAcknowledgedAfterTheDelay) {
    establish();
    host.inject(from_client(0, 0, TcpFlags::ack, "x"));
    host.pass(45ms);
    const auto ack = host.sent();
    ASSERT_TRUE(ack && ack->is(TcpFlags::ack));
    EXPECT_EQ(ack->tcp.ack, host.client_seq(1));
}

TEST_F(Master, EverySecondSegmentIsAcknowledgedAtOnce) {
    establish();
    host.inject(from_client(0, 0, TcpFlags::ack, "a"));
    host.inject(from_client(1, 0, TcpFlags::ack, "b"));
    ASSERT_TRUE(host.sent());
}

TEST_F(Master, OutOfOrderDataDrawsDuplicateAcksWithSackAndIsDeliveredInOrder) {
    establish();
    host.inject(from_client(3, 0, TcpFlags::ack, "def"));
    const auto duplicate = host.sent();
    ASSERT_TRUE(duplicate);
    EXPECT_EQ(duplicate->tcp.ack, host.client_seq(0));
    ASSERT_EQ(duplicate->tcp.options.sack_count, 1);
    EXPECT_EQ(duplicate->tcp.options.sack[0], (wire::SeqRange{host.client_seq(3), host.client_seq(6)}));
    host.inject(from_client(0, 0, TcpFlags::ack, "abc"));
    EXPECT_EQ(host.events.input, "abcdef");
    EXPECT_EQ(host.sent()->tcp.ack, host.client_seq(6)) << "a filled gap is acknowledged at once";
}

TEST_F(Master, ADuplicateSegmentDrawsAnAck) {
    establish();
    host.inject(from_client(0, 0, TcpFlags::ack, "abc"));
    host.pass(50ms);
    host.sent();
    host.inject(from_client(0, 0, TcpFlags::ack, "abc"));
    EXPECT_EQ(host.events.input, "abc");
    EXPECT_EQ(host.sent()->tcp.ack, host.client_seq(3));
}

TEST_F(Master, TheInitialWindowIsTenSegments) {
    window = 60000;
    establish();
    host.send(std::string(50000, 'b'));
    std::size_t bytes = 0;
    while (const auto segment = host.sent())
        bytes += segment->payload.size();
    EXPECT_EQ(bytes, 10000u);
}

TEST_F(Master, AClosedWindowIsProbedAndItsOpeningSendsAtOnce) {
    establish();
    host.inject([&] {
        window = 0;
        return from_client(0, 0, TcpFlags::ack, "x");
    }());
    host.pass(50ms);
    host.sent();  // the delayed acknowledgement
    host.send("hello");
    EXPECT_FALSE(host.sent());
    host.pass(1001ms);
    const auto probe = host.sent();
    ASSERT_TRUE(probe);
    EXPECT_EQ(probe->payload, "");
    EXPECT_EQ(probe->tcp.seq, host.server_seq(0) - 1) << "below the window: it must be answered";
    for (int i = 0; i < 4; ++i) {
        host.pass(400s);
        host.inject(from_client(1, 0, TcpFlags::ack));  // still closed
    }
    EXPECT_THAT(host.events.log, ElementsAre("accepted")) << "a peer that answers probes is never given up";
    while (host.sent()) {
    }
    window = 1000;
    host.inject(from_client(1, 0, TcpFlags::ack));
    EXPECT_EQ(host.sent()->payload, "hello");
}

TEST_F(Master, UnreadInputClosesTheWindowAndReadingOpensIt) {
    host.events.appetite = 0;
    establish();
    std::uint32_t at = 0;
    const std::uint32_t limit = TcpSettings{}.receive_buffer_bytes;
    std::uint16_t last_window = 1;
    while (at < limit && last_window != 0) {
        host.inject(from_client(at, 0, TcpFlags::ack, std::string(1000, 'd')));
        at += 1000;
        while (const auto ack = host.sent())
            last_window = ack->tcp.window;
    }
    host.pass(50ms);
    EXPECT_EQ(host.sent()->tcp.window, 0);
    const std::uint32_t waiting = host.snapshot().unread_bytes;
    EXPECT_LE(waiting, limit / 2);
    EXPECT_GT(waiting, limit / 2 - 1000) << "up to the last whole segment";
    host.events.appetite = SIZE_MAX;
    host.stack.resume_receive(host.events.connection, host.now);
    EXPECT_EQ(host.events.input.size(), waiting);
    const auto update = host.sent();
    ASSERT_TRUE(update);
    EXPECT_GT(update->tcp.window, 0);
}

TEST_F(Master, ReadingAfterThePeersFinTellsOfNoWindow) {
    establish();
    host.events.appetite = 0;
    std::uint32_t end = 0;
    std::uint32_t window_left = 0xffff;
    while (window_left > 2000) {
        host.inject(from_client(end, 0, TcpFlags::ack, std::string(1000, 'd')));
        end += 1000;
        host.pass(50ms);
        while (const auto ack = host.sent())
            window_left = ack->tcp.window;
    }
    host.inject(from_client(end, 0, TcpFlags::ack | TcpFlags::fin));
    host.pass(50ms);
    while (host.sent()) {
    }
    // The peer's kernel may have forgotten the connection: whatever we said now would draw a RST.
    host.events.appetite = SIZE_MAX;
    host.stack.resume_receive(host.events.connection, host.now);
    EXPECT_EQ(host.events.input.size(), end);
    EXPECT_EQ(host.events.log.back(), "peer_closed");
    EXPECT_FALSE(host.sent());
}

TEST_F(Master, PassiveCloseEndsInLastAck) {
    establish();
    host.inject(from_client(0, 0, TcpFlags::ack | TcpFlags::fin, "bye"));
    host.pass(41ms);
    EXPECT_EQ(host.sent()->tcp.ack, host.client_seq(4));
    EXPECT_EQ(host.snapshot().state, State::close_wait);
    host.stack.shutdown_send(host.events.connection, host.now);
    const auto fin = host.sent();
    ASSERT_TRUE(fin && fin->has(TcpFlags::fin));
    host.inject(from_client(4, 1, TcpFlags::ack));
    EXPECT_THAT(host.events.log, ElementsAre("accepted", "peer_closed", "finished"));
    EXPECT_EQ(host.stack.connection_count(), 0u);
}

TEST_F(Master, ActiveCloseWaitsInTimeWait) {
    establish();
    host.stack.shutdown_send(host.events.connection, host.now);
    ASSERT_TRUE(host.sent()->has(TcpFlags::fin));
    host.inject(from_client(0, 1, TcpFlags::ack));
    EXPECT_EQ(host.snapshot().state, State::fin_wait_2);
    host.inject(from_client(0, 1, TcpFlags::ack | TcpFlags::fin));
    EXPECT_EQ(host.sent()->tcp.ack, host.client_seq(1));
    EXPECT_THAT(host.events.log, ElementsAre("accepted", "peer_closed", "finished"));
    EXPECT_EQ(host.stack.connection_count(), 0u);
    EXPECT_EQ(host.stack.time_wait_count(), 1u);
    host.inject(from_client(0, 1, TcpFlags::ack | TcpFlags::fin));
    EXPECT_TRUE(host.sent()) << "a repeated FIN is acknowledged again";
    host.pass(61s);
    EXPECT_EQ(host.stack.time_wait_count(), 0u);
}

TEST_F(Master, SimultaneousCloseGoesThroughClosing) {
    establish();
    host.stack.shutdown_send(host.events.connection, host.now);
    host.sent();
    host.inject(from_client(0, 0, TcpFlags::ack | TcpFlags::fin));
    EXPECT_EQ(host.snapshot().state, State::closing);
    host.inject(from_client(1, 1, TcpFlags::ack));
    EXPECT_EQ(host.stack.time_wait_count(), 1u);
}

TEST_F(Master, HalfCloseStillCarriesOurData) {
    establish();
    host.inject(from_client(0, 0, TcpFlags::ack | TcpFlags::fin));
    host.sent();
    host.send("late");
    EXPECT_EQ(host.sent()->payload, "late");
}

// RFC 5961 3.2: exact number resets, in-window number is challenged, anything else is dropped.
TEST_F(Master, OnlyAnExactResetEndsTheConnection) {
    establish();
    host.inject(from_client(100, 0, TcpFlags::rst));
    ASSERT_TRUE(host.sent()->is(TcpFlags::ack));
    host.inject(from_client(0x40000000, 0, TcpFlags::rst));
    EXPECT_FALSE(host.sent());
    EXPECT_THAT(host.events.log, ElementsAre("accepted"));
    host.inject(from_client(0, 0, TcpFlags::rst));
    EXPECT_THAT(host.events.log, ElementsAre("accepted", "reset_by_peer"));
}

TEST_F(Master, ASynInsideAConnectionIsChallenged) {
    establish();
    host.inject(from_client(10, 0, TcpFlags::syn));
    ASSERT_TRUE(host.sent()->is(TcpFlags::ack));
    EXPECT_THAT(host.events.log, ElementsAre("accepted"));
}

TEST_F(Master, AnOldTimestampIsRefused) {
    timestamps = true;
    establish();
    tsval = 200;
    host.inject(from_client(0, 0, TcpFlags::ack, "new"));
    tsval = 150;
    host.inject(from_client(3, 0, TcpFlags::ack, "old"));
    EXPECT_EQ(host.events.input, "new");
    EXPECT_EQ(host.stack.counters().drop_paws, 1u);
}

TEST_F(Master, AbortSendsReset) {
    establish();
    host.stack.abort(host.events.connection, host.now);
    ASSERT_TRUE(host.sent()->has(TcpFlags::rst));
    EXPECT_THAT(host.events.log, ElementsAre("accepted", "aborted"));
    EXPECT_EQ(host.stack.connection_count(), 0u);
}

TEST_F(Master, AnswersArpAndEchoForItsAddressOnly) {
    std::vector<std::byte> frame(42);
    wire::write_ethernet(frame, {LinkAddress::broadcast(), client_link, wire::EtherType::arp});
    wire::ArpPacket request{
        wire::ArpOperation::request, client_link, client_endpoint.address, {}, service_endpoint.address};
    wire::write_arp(std::span(frame).subspan(14), request);
    ReceivedFrame received{Source::service, frame, 42};
    host.stack.receive(std::span(&received, 1), host.now);
    ASSERT_EQ(host.wire.frames.size(), 1u);
    const auto reply = wire::parse_arp(std::span(host.wire.frames[0]).subspan(14));
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->operation, wire::ArpOperation::reply);
    EXPECT_EQ(reply->sender_link, replica_link);
    request.target = client_endpoint.address;
    wire::write_arp(std::span(frame).subspan(14), request);
    host.stack.receive(std::span(&received, 1), host.now);
    EXPECT_EQ(host.wire.frames.size(), 1u);
}

TEST_F(Master, ActiveOpenCompletesAgainstAListener) {
    const Endpoint local{service_endpoint.address, 50000};
    const auto id = host.stack.connect(local, client_endpoint, client_link, host.now);
    ASSERT_TRUE(id);
    const auto opening = host.sent();
    ASSERT_TRUE(opening && opening->is(TcpFlags::syn));
    Packet answer;
    answer.destination = local;
    answer.tcp.seq = Seq(77);
    answer.tcp.ack = opening->tcp.seq + 1;
    answer.tcp.flags.bits = TcpFlags::syn | TcpFlags::ack;
    answer.tcp.window = 1000;
    host.inject(answer);
    EXPECT_THAT(host.events.log, ElementsAre("connected"));
    EXPECT_EQ(host.sent()->tcp.ack, Seq(78));
}

TEST_F(Master, AFullTableRefusesFurtherConnections) {
    Settings settings = settings_for(Mode::master);
    settings.max_connections = 1;
    Host small(settings);
    Packet packet = from_client(0, 0, TcpFlags::syn);
    small.inject(packet);
    packet.source.port = 40001;
    small.inject(packet);
    EXPECT_EQ(small.stack.connection_count(), 1u);
    EXPECT_EQ(small.stack.counters().drop_table_full, 1u);
}

TEST_F(Master, DamagedFramesAreCountedNotBelieved) {
    establish();
    auto frame = encode(from_client(0, 0, TcpFlags::ack, "data"));
    frame.back() ^= std::byte{1};
    ReceivedFrame received{Source::service, frame, static_cast<std::uint32_t>(frame.size())};
    host.stack.receive(std::span(&received, 1), host.now);
    EXPECT_EQ(host.stack.counters().drop_tcp_checksum, 1u);
    frame = encode(from_client(0, 0, TcpFlags::ack, "data"));
    for (std::size_t cut = 0; cut < frame.size(); ++cut) {
        received.bytes = std::span(frame).first(cut);
        host.stack.receive(std::span(&received, 1), host.now);
    }
    EXPECT_EQ(host.events.input, "");
    EXPECT_GT(host.stack.counters().drop_truncated, 0u);
    frame.resize(frame.size() + 6);  // Ethernet padding is not data
    received.bytes = frame;
    host.stack.receive(std::span(&received, 1), host.now);
    EXPECT_EQ(host.events.input, "data");
}

}  // namespace
}  // namespace understudy::stack::test
