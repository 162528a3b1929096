// Who serves, as the frames tell it: the probe of the primary, unanswered requests, a primary that speaks after
// the takeover, and giving up (rules.md 13, 15, 19, 22).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "stack/wire/icmp6.hh"
#include "tests/unit/stack/mirror.hh"

namespace understudy::stack::test {
namespace {

using ::testing::Contains;

class ServiceWatching : public Mirror {
  protected:
    void promote() {
        host.stack.promote(host.now);
        host.wire.frames.clear();
    }
    void to_replica(std::uint32_t seq, std::uint32_t ack, std::string payload) {
        Packet packet = client_packet(seq, ack, TcpFlags::ack);
        packet.link_destination = replica_link;
        packet.payload = std::move(payload);
        host.inject(packet);
    }
    void on_service_port(std::span<const std::byte> frame) {
        const ReceivedFrame received{Source::service, frame, static_cast<std::uint32_t>(frame.size())};
        host.stack.receive(std::span(&received, 1), host.now);
    }
    const ServiceWatch& watch() { return host.stack.service_watch(); }
};

std::vector<std::byte> arp_reply(const LinkAddress& from, const IpAddress& address) {
    std::vector<std::byte> frame(wire::ethernet_header_length + wire::arp_length);
    wire::write_ethernet(frame, {replica_link, from, wire::EtherType::arp});
    wire::write_arp(std::span(frame).subspan(wire::ethernet_header_length),
                    {wire::ArpOperation::reply, from, address, replica_link, IpAddress::from_v4(0)});
    return frame;
}

TEST_F(ServiceWatching, TheProbeAsksThePrimaryAloneAndTeachesNobody) {
    host.stack.probe_primary(service_endpoint.address, primary_link, host.now);
    ASSERT_EQ(host.wire.frames.size(), 1u);
    const auto link = wire::parse_ethernet(host.wire.frames[0]);
    EXPECT_EQ(link->destination, primary_link);
    EXPECT_EQ(link->source, replica_link);
    const auto arp = wire::parse_arp(std::span(host.wire.frames[0]).subspan(wire::ethernet_header_length));
    ASSERT_TRUE(arp);
    EXPECT_EQ(arp->operation, wire::ArpOperation::request);
    EXPECT_EQ(arp->sender, IpAddress::from_v4(0));
    EXPECT_EQ(arp->target, service_endpoint.address);
    EXPECT_EQ(host.stack.counters().primary_probes_sent, 1u);
    EXPECT_EQ(host.stack.counters().withheld_frames, 0u);
}

TEST_F(ServiceWatching, OnlyThePrimaryAnswersTheProbe) {
    on_service_port(arp_reply(primary_link, service_endpoint.address));
    EXPECT_EQ(host.stack.counters().primary_probes_answered, 0u) << "nothing was asked";
    host.stack.probe_primary(service_endpoint.address, primary_link, host.now);
    on_service_port(arp_reply(client_link, service_endpoint.address));
    on_service_port(arp_reply(primary_link, client_endpoint.address));
    EXPECT_EQ(host.stack.counters().primary_probes_answered, 0u);
    EXPECT_EQ(host.stack.counters().drop_silent, 3u);
    on_service_port(arp_reply(primary_link, service_endpoint.address));
    EXPECT_EQ(host.stack.counters().primary_probes_answered, 1u);
}

TEST_F(ServiceWatching, TheProbeForIpv6IsASolicitationFromALinkLocalAddress) {
    const auto service = parse_endpoint("[fd77::1]:7000");
    Settings settings = settings_for(Mode::silent);
    settings.services = {*service};
    Host v6(settings);
    v6.stack.probe_primary(service->address, primary_link, v6.now);
    ASSERT_EQ(v6.wire.frames.size(), 1u);
    const auto packet = std::span<const std::byte>(v6.wire.frames[0]).subspan(wire::ethernet_header_length);
    wire::IpHeader header;
    ASSERT_EQ(wire::parse_ipv6(packet, header), wire::IpError::none);
    EXPECT_EQ(header.source, wire::link_local(replica_link));
    EXPECT_EQ(header.destination, service->address);
    const auto message = packet.subspan(header.header_length);
    EXPECT_TRUE(wire::is_valid_icmp6(message, header.source, header.destination));
    EXPECT_EQ(wire::load8(message.data()), wire::icmp6_neighbour_solicitation);
    EXPECT_EQ(wire::neighbour_target(message), service->address);
}

TEST_F(ServiceWatching, AnAnswerThatThePrimaryDoesNotGiveIsNoticed) {
    handshake();
    client(0, 0, "request");
    EXPECT_FALSE(watch().unanswered_since());
    host.send("answer");
    EXPECT_EQ(watch().unanswered_since(), host.now);
    primary(0, 7, "");  // a live kernel
    EXPECT_TRUE(watch().unanswered_since());
    primary(0, 7, "answer");
    EXPECT_FALSE(watch().unanswered_since());
}

TEST_F(ServiceWatching, WhatThePrimaryRepeatsAfterTheTakeoverIsNoNews) {
    handshake();
    client(0, 0, "request");
    host.send("answer");
    primary(0, 7, "answer");
    promote();
    primary(0, 7, "answer");  // a late copy
    primary(6, 7, "");
    EXPECT_EQ(watch().primary_news(), 0u);
    primary(6, 7, "more");
    EXPECT_EQ(watch().primary_news(), 1u);
}

TEST_F(ServiceWatching, ResetsAndNewHandshakesOfThePrimaryAreNews) {
    handshake();
    promote();
    host.inject(primary_packet(0, 0, TcpFlags::rst), Source::tap_from_primary);
    EXPECT_EQ(watch().primary_news(), 1u);
    Packet other = primary_packet(0, 0, TcpFlags::syn | TcpFlags::ack);
    other.destination.port = 41000;
    host.inject(other, Source::tap_from_primary);
    EXPECT_EQ(watch().primary_news(), 2u);
}

TEST_F(ServiceWatching, AClientKnowsUsOnceItAcknowledgesAByteThatOnlyWeSent) {
    handshake();
    client(0, 0, "request");
    host.send("answer");
    primary(0, 7, "answer");
    promote();
    to_replica(7, 6, "");
    EXPECT_FALSE(watch().client_knows_us()) << "the primary's bytes";
    to_replica(7, 6, "again");
    host.send("ours");
    EXPECT_FALSE(watch().client_knows_us());
    to_replica(12, 10, "");
    EXPECT_TRUE(watch().client_knows_us());
}

TEST_F(ServiceWatching, MutingSaysNothingToAnybodyAndForgetsEveryConnection) {
    handshake();
    client(0, 0, "request");
    promote();
    host.stack.mute(host.now);
    EXPECT_EQ(host.stack.mode(), Mode::silent);
    EXPECT_EQ(host.stack.connection_count(), 0u);
    EXPECT_THAT(host.events.log, Contains("muted"));
    to_replica(7, 0, "more");
    host.pass(10s);
    EXPECT_TRUE(host.wire.frames.empty());
}

TEST_F(ServiceWatching, AMutedStackShadowsNewConnectionsAndTakesOverAgain) {
    handshake();
    promote();
    host.stack.mute(host.now);
    handshake();
    client(0, 0, "request");
    EXPECT_EQ(host.events.input, "request");
    EXPECT_EQ(host.stack.promote(host.now).promoted, 1u);
    EXPECT_FALSE(host.wire.frames.empty());
}

TEST_F(ServiceWatching, IsSettledWhenNothingIsLeftToFollow) {
    handshake();
    EXPECT_TRUE(host.stack.is_settled());
    client(0, 0, "request");
    primary(0, 7, "answer");
    EXPECT_FALSE(host.stack.is_settled()) << "the application has not answered";
    host.send("answer");
    EXPECT_TRUE(host.stack.is_settled());
    primary(6, 12, "");
    EXPECT_FALSE(host.stack.is_settled()) << "the primary has bytes that the mirror has not shown";
    client(7, 6, "again");
    EXPECT_TRUE(host.stack.is_settled());
}

}  // namespace
}  // namespace understudy::stack::test
