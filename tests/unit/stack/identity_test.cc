// The primary's identity, learned off its segments and kept after the takeover (design.md 4, rules.md 4 and
// 11).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "stack/tcp/primary_clock.hh"
#include "tests/unit/stack/mirror.hh"

namespace understudy::stack::test {
namespace {

using tcp::PrimaryClock;
using tcp::TickLength;

// A host's clock, as segments that reach the mirror a little late show it.
class ClockOfAHost : public ::testing::TestWithParam<TickLength> {
  protected:
    static constexpr std::uint32_t offset = 0xffff'0000;  // it wraps meanwhile
    std::uint32_t truth(Instant at) const { return offset + tcp::ticks_at(at, GetParam()); }
    PrimaryClock clock;
};

TEST_P(ClockOfAHost, IsContinuedAtItsPace) {
    const Instant start(1h);
    clock.begin(truth(start), start);
    Instant at = start;
    for (int i = 0; i < 500; ++i) {
        at += 37ms;
        clock.sample(truth(at), at + std::chrono::microseconds(i * 7919 % 4000));
    }
    EXPECT_EQ(clock.tick(), GetParam());
    const Instant takeover = at + 20s;
    const auto ahead =
        static_cast<std::int32_t>(clock.continued(takeover, tcp::default_tick) - truth(takeover));
    EXPECT_LE(Duration(std::int64_t{std::abs(ahead)} * GetParam()),
              std::max<Duration>(6ms, Duration(GetParam())));
}

INSTANTIATE_TEST_SUITE_P(Identity, ClockOfAHost,
                         ::testing::Values(1'000u, 1'000'000u, 4'000'000u, 10'000'000u, 100'000'000u));

TEST(PrimaryClocks, OneSegmentHeldUpForSecondsBendsNothing) {
    PrimaryClock clock;
    const Instant start(1h);
    clock.begin(5000, start);
    for (std::uint32_t ms = 10; ms <= 10'000; ms += 10)
        clock.sample(5000 + ms, start + std::chrono::milliseconds(ms) + (ms == 9'990 ? 3s : 0s));
    EXPECT_EQ(clock.tick(), 1'000'000u);
    EXPECT_EQ(clock.continued(start + 20s, tcp::default_tick), 25'000u);
}

TEST(PrimaryClocks, NeverFallBackBehindWhatTheClientSaw) {
    PrimaryClock clock;
    const Instant start(1h);
    clock.begin(5000, start);
    clock.sample(5010, start + 10ms);
    clock.sample(9000, start + 20ms);  // a jump
    EXPECT_GT(clock.continued(start + 20ms, tcp::default_tick), 9000u);
    clock.sample(100, start + 30ms);  // an old copy
    EXPECT_EQ(clock.newest(), 9000u);
}

TEST(PrimaryClocks, ASynAckAloneMayHaveBeenACookie) {
    PrimaryClock clock;
    const Instant start(1h);
    clock.begin(5000, start);
    EXPECT_EQ(clock.continued(start + 500ms, 1'000'000), 5000u + 64 + 500);
    EXPECT_EQ(clock.continued(start + 500ms, 10'000'000), 5000u + 64 + 50) << "at the pace of this primary";
}

TEST(PrimaryClocks, ACookiesLowBitsAreNoSample) {
    PrimaryClock clock;
    const Instant start(1h);
    clock.begin(5063, start);  // up to 63 ticks ahead of the clock or behind it
    clock.sample(5070, start + 40ms);
    EXPECT_EQ(clock.continued(start + 140ms, tcp::default_tick), 5170u);
}

class Identity : public Mirror {
  protected:
    std::optional<Packet> first_sent_after_promotion() {
        host.stack.promote(host.now);
        return host.sent();
    }
    // Adds an option that the stack itself never writes, and keeps the checksum right.
    void inject_with_option(Packet packet, Source source, const std::vector<std::uint8_t>& option) {
        packet.payload.insert(packet.payload.begin(), option.begin(), option.end());
        auto frame = encode(packet);
        std::byte* const tcp = frame.data() + 14 + 20;
        const std::size_t length = frame.size() - 14 - 20;
        tcp[12] = static_cast<std::byte>(std::to_integer<unsigned>(tcp[12]) +
                                         (static_cast<unsigned>(option.size()) / 4 << 4));
        wire::store16(tcp + wire::tcp_checksum_offset, 0);
        const auto pseudo = wire::pseudo_header_sum(packet.source.address, packet.destination.address, 6,
                                                    static_cast<std::uint32_t>(length));
        wire::store16(tcp + wire::tcp_checksum_offset,
                      wire::checksum_finish(wire::checksum_add(std::span(tcp, length), pseudo)));
        const ReceivedFrame received{source, frame, static_cast<std::uint32_t>(frame.size())};
        host.stack.receive(std::span(&received, 1), host.now);
    }
    ConnectionSnapshot only_connection() {
        std::uint32_t cursor = 0;
        const auto all = host.stack.snapshots(cursor, 10);
        EXPECT_EQ(all.size(), 1u);
        return all.empty() ? ConnectionSnapshot{} : all[0];
    }
};

TEST_F(Identity, TheTimestampClockRunsOnAtThePrimarysPace) {
    handshake();
    for (int i = 1; i <= 20; ++i) {
        host.pass(100ms);
        primary_tsval = 900000 + static_cast<std::uint32_t>(i) * 10;  // 100 ticks a second
        primary(0, 0, "");
    }
    host.pass(1s);
    const auto first = first_sent_after_promotion();
    ASSERT_TRUE(first);
    EXPECT_EQ(first->tcp.options.tsval, primary_tsval + 100);
    while (host.sent()) {
    }
    host.pass(500ms);
    host.send("later");
    const auto later = host.sent();
    ASSERT_TRUE(later);
    EXPECT_EQ(later->tcp.options.tsval, primary_tsval + 150);
}

TEST_F(Identity, SegmentsAreNoLargerThanThePrimarysWere) {
    handshake();
    primary(0, 0, std::string(800, 'a'));                   // not pushed: cut by what the path takes
    primary(800, 0, std::string(100, 'b'), TcpFlags::psh);  // the end of a write
    host.send(std::string(800, 'a') + std::string(100, 'b') + std::string(2000, 'c'));
    client(0, 900, "");
    const auto data = first_sent_after_promotion();
    ASSERT_TRUE(data);
    EXPECT_EQ(data->payload, std::string(800, 'c'));
}

TEST_F(Identity, AnUnknownClientMssIsTheLargestSegmentSeen) {
    primary_syn_ack();
    client(0, 0, "hello");
    primary(0, 5, std::string(900, 'a'), TcpFlags::psh);
    EXPECT_EQ(host.snapshot().coverage, Coverage::inferred);
    Settings settings = settings_for(Mode::silent);
    settings.shadow.cover_inferred = true;
    Host trusting(settings);
    trusting.inject(primary_packet(0, 0, TcpFlags::syn | TcpFlags::ack), Source::tap_from_primary);
    trusting.inject(client_packet(0, 0, TcpFlags::ack), Source::tap_from_client);
    Packet answer = primary_packet(0, 0, TcpFlags::ack | TcpFlags::psh);
    answer.payload.assign(900, 'a');
    trusting.inject(answer, Source::tap_from_primary);
    trusting.send(std::string(900, 'a'));
    trusting.inject(client_packet(0, 900, TcpFlags::ack), Source::tap_from_client);
    trusting.stack.promote(trusting.now);
    EXPECT_EQ(trusting.snapshot().mss, 900u);
}

TEST_F(Identity, TheTtlIsThePrimarys) {
    handshake();
    Packet packet = primary_packet(0, 0, TcpFlags::ack);
    auto frame = encode(packet);
    frame[14 + 8] = std::byte{37};
    wire::store16(frame.data() + 14 + 10, 0);
    wire::store16(frame.data() + 14 + 10,
                  wire::checksum_finish(wire::checksum_add(std::span(frame).subspan(14, 20), 0)));
    const ReceivedFrame received{Source::tap_from_primary, frame, static_cast<std::uint32_t>(frame.size())};
    host.stack.receive(std::span(&received, 1), host.now);
    host.stack.promote(host.now);
    while (!host.wire.frames.empty() && !decode(host.wire.frames.front()))
        host.wire.frames.pop_front();  // what tells the link
    ASSERT_FALSE(host.wire.frames.empty());
    EXPECT_EQ(host.wire.frames.front()[14 + 8], std::byte{37});
}

TEST_F(Identity, SignedSegmentsCannotBeContinued) {
    handshake();
    inject_with_option(primary_packet(0, 0, TcpFlags::ack), Source::tap_from_primary,
                       {29, 16, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
    EXPECT_EQ(only_connection().coverage, Coverage::not_continuable);
    EXPECT_EQ(only_connection().hindrance, Hindrance::authentication);
    EXPECT_THAT(host.events.log, ::testing::ElementsAre("accepted", "uncovered"));
    EXPECT_EQ(host.stack.counters().connections_not_continuable, 1u);
    EXPECT_EQ(host.stack.promote(host.now).reset, 1u);
}

TEST_F(Identity, MultipathCannotBeContinued) {
    client_syn();
    inject_with_option(primary_packet(0, 0, TcpFlags::syn | TcpFlags::ack), Source::tap_from_primary,
                       {30, 4, 0, 0});
    EXPECT_EQ(only_connection().coverage, Coverage::not_continuable);
    EXPECT_EQ(only_connection().hindrance, Hindrance::multipath);
    client(0, 0, "data");
    EXPECT_TRUE(host.events.log.empty()) << "the application need not hear of it";
    EXPECT_EQ(host.stack.promote(host.now).reset, 1u);
}

TEST_F(Identity, DataAcceptedInTheSynCannotBeContinued) {
    Packet syn = client_packet(0, 0, TcpFlags::syn);
    syn.payload = "GET /";
    host.inject(syn, Source::tap_from_client);
    primary(0, 5, "");  // behind on the mirror, before the seed: nothing to say
    Packet answer = primary_packet(0, 5, TcpFlags::syn | TcpFlags::ack);
    host.inject(answer, Source::tap_from_primary);
    EXPECT_EQ(only_connection().hindrance, Hindrance::fast_open);
    EXPECT_EQ(host.stack.promote(host.now).reset, 1u);
}

TEST_F(Identity, DataInTheSynThatThePrimaryRefusedIsSentAgain) {
    Packet syn = client_packet(0, 0, TcpFlags::syn);
    syn.payload = "GET /";
    host.inject(syn, Source::tap_from_client);
    primary_syn_ack();
    client(0, 0, "GET /");
    EXPECT_EQ(host.events.input, "GET /");
    EXPECT_EQ(host.snapshot().coverage, Coverage::covered);
}

TEST_F(Identity, AnAbandonedConnectionHoldsNothingAndIsForgotten) {
    Settings settings = settings_for(Mode::silent);
    settings.shadow.lag_budget_bytes = 1000;
    Host slow(settings);
    slow.events.appetite = 0;
    Mirror::handshake_on(slow);
    Packet data = client_packet(0, 0, TcpFlags::ack);
    data.payload.assign(900, 'd');
    slow.inject(data, Source::tap_from_client);
    data.tcp.seq = host.client_seq(900);
    slow.inject(data, Source::tap_from_client);
    EXPECT_EQ(slow.snapshot().coverage, Coverage::over_budget);
    EXPECT_THAT(slow.events.log, ::testing::ElementsAre("accepted", "uncovered"));
    EXPECT_EQ(slow.stack.counters().lag_budget_exceeded, 1u);
    slow.inject(client_packet(1800, 0, TcpFlags::ack | TcpFlags::fin), Source::tap_from_client);
    slow.pass(3s);
    EXPECT_EQ(slow.stack.connection_count(), 0u);
}

TEST_F(Identity, AllConnectionsTogetherHaveABudget) {
    Settings settings = settings_for(Mode::silent);
    settings.shadow.total_budget_bytes = 1000;
    Host slow(settings);
    slow.events.appetite = 0;
    Mirror::handshake_on(slow);
    Packet data = client_packet(0, 0, TcpFlags::ack);
    data.payload.assign(400, 'd');  // counted twice: unread, and not acknowledged by the primary
    slow.inject(data, Source::tap_from_client);
    EXPECT_EQ(slow.snapshot().coverage, Coverage::covered);
    data.tcp.seq = host.client_seq(400);
    slow.inject(data, Source::tap_from_client);
    EXPECT_EQ(slow.snapshot().coverage, Coverage::over_budget);
    // What it held is free again.
    Packet other = client_packet(0, 0, TcpFlags::syn);
    other.source.port = 40001;
    slow.inject(other, Source::tap_from_client);
    Packet answer = primary_packet(0, 0, TcpFlags::syn | TcpFlags::ack);
    answer.destination.port = 40001;
    slow.inject(answer, Source::tap_from_primary);
    data.source.port = 40001;
    data.tcp.seq = host.client_seq(0);
    slow.inject(data, Source::tap_from_client);
    EXPECT_EQ(slow.snapshot().coverage, Coverage::covered);
}

}  // namespace
}  // namespace understudy::stack::test
