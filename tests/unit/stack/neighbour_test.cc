// Where frames go when no frame has shown it: routes, ARP and neighbour discovery (RFC 1122 2.3.2 and 3.3.1,
// RFC 4861 5 and 7, rules.md 26).
#include <gtest/gtest.h>

#include "stack/ip/neighbours.hh"
#include "stack/ip/routes.hh"
#include "stack/wire/icmp6.hh"
#include "tests/unit/stack/harness.hh"

namespace understudy::stack {
namespace {

using namespace test;
using Frame = std::vector<std::byte>;

IpAddress address(const char* text) {
    return *parse_ip_address(text);
}
const LinkAddress peer_link = *parse_link_address("02:00:00:00:00:77");
const LinkAddress other_link = *parse_link_address("02:00:00:00:00:78");

TEST(Routes, TheMostSpecificDecides) {
    const std::vector<Route> routes = {{address("0.0.0.0"), 0, address("10.77.0.254")},
                                       {address("10.77.0.0"), 16, {}},
                                       {address("10.77.8.0"), 21, address("10.77.0.9")},
                                       {address("fd00::"), 8, address("fe80::1")},
                                       {address("fd00:77::"), 64, {}}};
    const auto hop = [&](const char* to) { return to_string(ip::next_hop(routes, address(to))); };
    EXPECT_EQ(hop("192.0.2.1"), "10.77.0.254");
    EXPECT_EQ(hop("10.77.1.1"), "10.77.1.1");
    EXPECT_EQ(hop("10.77.15.255"), "10.77.0.9");
    EXPECT_EQ(hop("10.77.16.0"), "10.77.16.0");
    EXPECT_EQ(hop("fd12::1"), "fe80::1");
    EXPECT_EQ(hop("fd00:77::5"), "fd00:77::5");
    EXPECT_EQ(hop("2001:db8::1"), "2001:db8::1") << "no route: on the link";
    EXPECT_EQ(hop("fe80::5"), "fe80::5");
}

// A master that opens connections to peers of which no frame was seen.
class Resolving : public ::testing::Test {
  protected:
    void begin(const std::vector<Route>& routes = {}, std::uint32_t queue = 32) {
        Settings settings = settings_for(Mode::master);
        settings.services.push_back(*parse_endpoint("[fd00:77::1]:7000"));
        settings.routes = routes;
        settings.neighbours.queue_frames = queue;
        host.emplace(settings);
    }
    bool connect(const char* to) {
        const auto remote = *parse_endpoint(to);
        const Endpoint local{remote.address.is_v4() ? service_endpoint.address : address("fd00:77::1"), 0};
        const bool opened = host->stack.connect(local, remote, LinkAddress{}, host->now).has_value();
        host->pass(0s);
        return opened;
    }
    std::vector<wire::ArpPacket> sent_arp() {
        std::vector<wire::ArpPacket> all;
        for (const Frame& frame : host->wire.frames)
            if (wire::parse_ethernet(frame)->type == wire::EtherType::arp) {
                all.push_back(*wire::parse_arp(std::span(frame).subspan(wire::ethernet_header_length)));
                destinations.push_back(wire::parse_ethernet(frame)->destination);
            }
        std::erase_if(host->wire.frames, [](const Frame& frame) {
            return wire::parse_ethernet(frame)->type == wire::EtherType::arp;
        });
        return all;
    }
    void inject(const Frame& frame) {
        const ReceivedFrame received{Source::service, frame, static_cast<std::uint32_t>(frame.size())};
        host->stack.receive(std::span(&received, 1), host->now);
    }
    void arp_reply(const char* who, const LinkAddress& link) {
        Frame frame(wire::ethernet_header_length + wire::arp_length);
        wire::write_ethernet(frame, {replica_link, link, wire::EtherType::arp});
        wire::write_arp(
            std::span(frame).subspan(wire::ethernet_header_length),
            {wire::ArpOperation::reply, link, address(who), replica_link, service_endpoint.address});
        inject(frame);
    }
    void advertise(const char* who, const LinkAddress& link) {
        Frame frame(14 + 40 + wire::neighbour_message_length);
        const IpAddress to = address("fd00:77::1");
        wire::write_ethernet(frame, {replica_link, link, wire::EtherType::ipv6});
        wire::IpHeader ip;
        ip.source = address(who);
        ip.destination = to;
        ip.protocol = wire::IpProtocol::icmp6;
        ip.ttl = 255;
        ip.total_length = static_cast<std::uint32_t>(frame.size() - 14);
        wire::write_ip(std::span(frame).subspan(14), ip);
        const auto message = std::span(frame).subspan(54);
        wire::write_advertisement(message, {address(who), link, true});
        wire::finish_icmp6(message, ip.source, to);
        inject(frame);
    }
    const Counters& counters() const { return host->stack.counters(); }

    std::optional<Host> host;
    std::vector<LinkAddress> destinations;  // of the ARP packets
};

TEST_F(Resolving, ASynWaitsForTheAnswer) {  // RFC 1122 2.3.2.2
    begin();
    ASSERT_TRUE(connect("10.77.0.50:80"));
    const auto asked = sent_arp();
    ASSERT_EQ(asked.size(), 1u);
    EXPECT_EQ(asked[0].operation, wire::ArpOperation::request);
    EXPECT_EQ(asked[0].target, address("10.77.0.50"));
    EXPECT_EQ(asked[0].sender, service_endpoint.address);
    EXPECT_EQ(destinations[0], LinkAddress::broadcast());
    EXPECT_FALSE(host->sent());
    arp_reply("10.77.0.50", peer_link);
    const auto syn = host->sent();
    ASSERT_TRUE(syn && syn->is(TcpFlags::syn));
    EXPECT_EQ(syn->link_destination, peer_link);
    ASSERT_TRUE(connect("10.77.0.50:81"));
    EXPECT_TRUE(sent_arp().empty()) << "known";
    EXPECT_TRUE(host->sent());
}

TEST_F(Resolving, TheGatewayIsAskedForInsteadOfWhoIsBehindIt) {
    begin({{address("10.77.0.0"), 24, {}}, {address("0.0.0.0"), 0, address("10.77.0.254")}});
    ASSERT_TRUE(connect("192.0.2.7:80"));
    const auto asked = sent_arp();
    ASSERT_EQ(asked.size(), 1u);
    EXPECT_EQ(asked[0].target, address("10.77.0.254"));
    arp_reply("10.77.0.254", peer_link);
    const auto syn = host->sent();
    ASSERT_TRUE(syn);
    EXPECT_EQ(syn->destination.address, address("192.0.2.7"));
    EXPECT_EQ(syn->link_destination, peer_link);
}

TEST_F(Resolving, ByNeighbourDiscovery) {  // RFC 4861 7.2
    begin();
    ASSERT_TRUE(connect("[fd00:77::50]:80"));
    ASSERT_EQ(host->wire.frames.size(), 1u);
    const Frame asked = host->wire.frames[0];
    host->wire.frames.clear();
    const IpAddress group = wire::solicited_node(address("fd00:77::50"));
    EXPECT_EQ(wire::parse_ethernet(asked)->destination, wire::multicast_link(group));
    EXPECT_EQ(wire::detail::load_ipv6(asked.data() + 14 + 24), group);
    EXPECT_EQ(asked[54], std::byte{wire::icmp6_neighbour_solicitation});
    EXPECT_EQ(wire::neighbour_target(std::span(asked).subspan(54)), address("fd00:77::50"));
    advertise("fd00:77::50", peer_link);
    const auto syn = host->sent();
    ASSERT_TRUE(syn);
    EXPECT_EQ(syn->link_destination, peer_link);
}

TEST_F(Resolving, WhoDoesNotAnswerIsUnreachable) {
    begin();
    ASSERT_TRUE(connect("10.77.0.50:80"));
    host->pass(10s);
    EXPECT_GE(sent_arp().size(), 3u);
    EXPECT_GE(counters().neighbours_unreachable, 1u);
    EXPECT_FALSE(host->sent());
    host->pass(300s);
    ASSERT_FALSE(host->events.log.empty());
    EXPECT_EQ(host->events.log.back(), "unreachable");
}

TEST_F(Resolving, FewFramesWait) {
    begin({}, 2);
    for (int port = 80; port < 90; ++port)
        ASSERT_TRUE(connect(("10.77.0.50:" + std::to_string(port)).c_str()));
    EXPECT_EQ(sent_arp().size(), 1u) << "asked once, whoever waits";
    EXPECT_EQ(counters().drop_neighbour_queue, 8u);
    arp_reply("10.77.0.50", peer_link);
    EXPECT_EQ(host->wire.frames.size(), 2u);
}

TEST_F(Resolving, NobodyEntersUnasked) {
    begin();
    arp_reply("10.77.0.50", other_link);
    ASSERT_TRUE(connect("10.77.0.50:80"));
    EXPECT_EQ(sent_arp().size(), 1u);
    EXPECT_FALSE(host->sent());
}

TEST_F(Resolving, WhatIsNoLongerConfirmedIsVerifiedAndGivenUp) {  // RFC 4861 7.3
    begin();
    connect("10.77.0.50:80");
    sent_arp();
    arp_reply("10.77.0.50", peer_link);
    host->pass(31s);
    sent_arp();
    host->wire.frames.clear();
    destinations.clear();
    connect("10.77.0.50:81");
    EXPECT_TRUE(host->sent()) << "used while it is verified";
    host->pass(6s);
    ASSERT_GE(sent_arp().size(), 1u);
    EXPECT_EQ(destinations[0], peer_link) << "asked alone";
    host->pass(3s);
    EXPECT_EQ(counters().neighbours_unreachable, 1u);
}

TEST(Neighbours, TableIsBounded) {
    NeighbourSettings settings;
    settings.max_entries = 4;
    Counters counters;
    ip::Neighbours neighbours(settings, counters);
    for (std::uint32_t i = 0; i < 100; ++i) {
        FrameSink& queue = neighbours.resolve(IpAddress::from_v4(i), {}, Instant(1s * i));
        ASSERT_FALSE(queue.reserve(60).empty());
        queue.commit();
        EXPECT_LE(neighbours.size(), 4u);
    }
    EXPECT_EQ(counters.drop_neighbour_queue, 96u);
}

TEST(Neighbours, AWordThatDoesNotOverrideOnlyRaisesDoubt) {  // RFC 4861 7.2.5
    const NeighbourSettings settings;
    Counters counters;
    ip::Neighbours neighbours(settings, counters);
    const IpAddress who = address("fd00:77::50");
    const Instant now(1h);
    neighbours.resolve(who, {}, now);
    neighbours.learn(who, peer_link, {.solicited = true}, now);
    neighbours.learn(who, other_link, {.solicited = true, .overrides = false}, now);
    EXPECT_EQ(neighbours.find(who, now), peer_link);
    EXPECT_EQ(neighbours.next_deadline(), now) << "the first question, still due";
    neighbours.advance(now);
    const auto due = neighbours.advance(now + 5s);
    ASSERT_EQ(due.ask.size(), 1u);
    EXPECT_EQ(due.ask[0].link, peer_link);
    neighbours.learn(who, other_link, {}, now + 5s);
    EXPECT_EQ(neighbours.find(who, now + 5s), other_link);
}

// rules.md 26: only the client's SYN was seen, by a way that need not lead back.
TEST(WayBack, IsResolvedWhereRoutesAreKnown) {
    Settings settings = settings_for(Mode::silent);
    settings.routes = {{address("10.77.0.0"), 24, {}}};
    Host host(settings);
    Packet syn;
    syn.tcp.seq = Seq(Host::client_isn);
    syn.tcp.flags.bits = TcpFlags::syn;
    syn.tcp.window = 1000;
    host.inject(syn, Source::tap_from_client);
    host.pass(1s);
    EXPECT_TRUE(host.wire.frames.empty()) << "nobody is asked before the gate opens";
    host.stack.promote(host.now);
    EXPECT_FALSE(host.sent());
    host.pass(0s);
    bool asked = false;
    for (const Frame& frame : host.wire.frames) {
        const auto arp = wire::parse_arp(std::span(frame).subspan(wire::ethernet_header_length));
        asked = asked || (arp && arp->target == client_endpoint.address);
    }
    EXPECT_TRUE(asked);
}

}  // namespace
}  // namespace understudy::stack
