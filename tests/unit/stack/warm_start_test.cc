// A promoted connection goes on at the rate that the primary had, without a burst (design.md 4).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/stack/mirror.hh"

namespace understudy::stack::test {
namespace {

class WarmStart : public Mirror {
  protected:
    static constexpr std::uint32_t segment = 988;
    static constexpr std::uint32_t flight = 100;

    // A download in flight: one round trip was timed, then `flight` segments left.
    void download() {
        handshake();
        primary(0, 0, std::string(segment, 'a'));
        host.pass(40ms);
        client(0, segment, "");
        for (std::uint32_t i = 1; i <= flight; ++i)
            primary(i * segment, 0, std::string(segment, 'a'));
    }
    // On the service port, after the promotion.
    Packet acknowledgement(std::uint32_t ack) const {
        Packet packet = client_packet(0, ack, TcpFlags::ack);
        packet.link_destination = replica_link;
        return packet;
    }
    std::uint32_t data_segments() {
        std::uint32_t count = 0;
        while (const auto packet = host.sent())
            count += packet->payload.empty() ? 0 : 1;
        return count;
    }
};

TEST_F(WarmStart, TheRoundTripIsThatOfThePrimarysDataAndTheClientsAnswer) {
    download();
    host.stack.promote(host.now);
    EXPECT_EQ(host.snapshot().srtt, 40ms);
}

TEST_F(WarmStart, TheWindowIsTheFlightAndSlowStartIsOver) {
    download();
    host.stack.promote(host.now);
    EXPECT_EQ(host.snapshot().cwnd_segments, flight);
    EXPECT_EQ(host.snapshot().ssthresh_segments, flight);
}

TEST_F(WarmStart, AnEarlierLargerFlightIsForgotten) {
    download();
    client(0, (flight + 1) * segment, "");
    for (std::uint32_t round = 0; round < 3; ++round) {
        const std::uint32_t begin = (flight + 1 + round * 20) * segment;
        for (std::uint32_t i = 0; i < 20; ++i)
            primary(begin + i * segment, 0, std::string(segment, 'a'));
        client(0, begin + 20 * segment, "");
    }
    host.stack.promote(host.now);
    EXPECT_EQ(host.snapshot().cwnd_segments, 20u);
}

TEST_F(WarmStart, WhatMayStillBeOnItsWayIsNotSentAgain) {
    download();
    host.pass(30ms);
    host.stack.promote(host.now);
    EXPECT_EQ(data_segments(), 0u);
    host.pass(15ms);
    host.inject(acknowledgement((flight + 1) * segment));
    EXPECT_EQ(data_segments(), 0u);
    EXPECT_EQ(host.snapshot().unacked_segments, 0u);
    EXPECT_EQ(host.snapshot().min_rtt, 40ms) << "most was sent earlier than what is known";
}

TEST_F(WarmStart, WhatDoesNotArriveAfterAllIsProbedFor) {
    download();
    host.stack.promote(host.now);
    host.pass(90ms);
    EXPECT_GE(data_segments(), 1u);
}

TEST_F(WarmStart, WhatIsSentAgainIsSpreadOverTheRoundTrip) {
    download();
    host.pass(60ms);  // more than a round trip
    host.stack.promote(host.now);
    EXPECT_LE(data_segments(), 12u) << "a new connection's burst";
    host.pass(10ms);
    const std::uint32_t quarter = data_segments();
    EXPECT_GE(quarter, 20u);
    EXPECT_LE(quarter, 40u);
    host.pass(35ms);
    EXPECT_GE(quarter + data_segments() + 12, flight);
}

TEST_F(WarmStart, WhatTheClientHasReportedIsNotSentAgain) {
    download();
    Packet report = client_packet(0, segment, TcpFlags::ack);
    report.tcp.options.sack_count = 1;
    report.tcp.options.sack[0] = {host.server_seq(2 * segment), host.server_seq((flight + 1) * segment)};
    host.inject(report, Source::tap_from_client);
    host.stack.promote(host.now);
    EXPECT_EQ(host.snapshot().sacked_segments, flight - 1);
    host.pass(100ms);
    EXPECT_LE(data_segments(), 3u) << "the first segment, and what timers may add";
}

TEST_F(WarmStart, TheControlRunBeginsAsANewConnection) {
    Settings settings = settings_for(Mode::silent);
    settings.shadow.warm_start = false;
    Host cold(settings);
    handshake_on(cold);
    for (std::uint32_t i = 0; i < flight; ++i) {
        Packet packet = primary_packet(i * segment, 0, TcpFlags::ack);
        packet.payload = std::string(segment, 'a');
        cold.inject(packet, Source::tap_from_primary);
    }
    cold.stack.promote(cold.now);
    EXPECT_EQ(cold.snapshot().cwnd_segments, 10u);
    cold.inject(acknowledgement(flight / 2 * segment));
    EXPECT_EQ(cold.snapshot().unacked_segments, flight / 2);
    EXPECT_EQ(cold.snapshot().cwnd_segments, 10u) << "what the primary sent opens no window";
}

}  // namespace
}  // namespace understudy::stack::test
