// The host on its link: conflicts over its addresses, tags, listener queries, ICMP errors both ways (RFC
// 5227, 4862 5.4.4, 3810, IEEE 802.1Q, RFC 1122 3.2.2, 5927).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "stack/wire/icmp.hh"
#include "stack/wire/icmp6.hh"
#include "tests/unit/stack/master.hh"
#include "tests/unit/stack/udp_host.hh"

namespace understudy::stack {
namespace {

using namespace test;
using Frame = std::vector<std::byte>;

const LinkAddress stranger_link = *parse_link_address("02:00:00:00:00:66");

Frame arp_frame(wire::ArpOperation operation, const LinkAddress& link, const IpAddress& sender,
                const IpAddress& target) {
    Frame frame(wire::ethernet_header_length + wire::arp_length);
    wire::write_ethernet(frame, {LinkAddress::broadcast(), link, wire::EtherType::arp});
    wire::write_arp(std::span(frame).subspan(wire::ethernet_header_length),
                    {operation, link, sender, LinkAddress{}, target});
    return frame;
}

Frame ip_frame(const LinkAddress& from, const IpAddress& source, const IpAddress& destination,
               wire::IpProtocol protocol, std::span<const std::byte> payload, std::uint8_t ttl = 64,
               const LinkAddress& to = replica_link) {
    const std::size_t offset = wire::ethernet_header_length + wire::ip_header_length(source);
    Frame frame(offset + payload.size());
    wire::write_ethernet(frame, {to, from, wire::ether_type(source)});
    wire::IpHeader ip;
    ip.source = source;
    ip.destination = destination;
    ip.protocol = protocol;
    ip.ttl = ttl;
    ip.total_length = static_cast<std::uint32_t>(frame.size() - wire::ethernet_header_length);
    wire::write_ip(std::span(frame).subspan(wire::ethernet_header_length), ip);
    std::copy(payload.begin(), payload.end(), frame.begin() + static_cast<std::ptrdiff_t>(offset));
    return frame;
}

void inject(Host& host, const Frame& frame, Source source = Source::service) {
    const ReceivedFrame received{source, frame, static_cast<std::uint32_t>(frame.size())};
    host.stack.receive(std::span(&received, 1), host.now);
}

// --- Conflicts ---

class Conflict : public ::testing::Test {
  protected:
    void claim() {
        inject(*host, arp_frame(wire::ArpOperation::request, stranger_link, service_endpoint.address,
                                service_endpoint.address));
    }
    void begin(Mode mode) {
        Settings settings = settings_for(mode);
        settings.services.push_back(service6);
        host.emplace(settings);
    }
    std::optional<Host> host;
};

TEST_F(Conflict, IsMetWithAnAnnouncementAndReported) {
    begin(Mode::master);
    claim();
    ASSERT_EQ(host->wire.frames.size(), 2u) << "request and reply";
    const auto arp = wire::parse_arp(std::span(host->wire.frames[0]).subspan(wire::ethernet_header_length));
    ASSERT_TRUE(arp);
    EXPECT_EQ(arp->sender, service_endpoint.address);
    EXPECT_EQ(arp->sender_link, replica_link);
    EXPECT_EQ(host->events.log, std::vector<std::string>{"conflict over 10.77.0.1 with 02:00:00:00:00:66"});
}

TEST_F(Conflict, IsAnsweredOnceInAnInterval) {  // RFC 5227 2.4 (c)
    begin(Mode::master);
    for (int i = 0; i < 100; ++i)
        claim();
    EXPECT_EQ(host->wire.frames.size(), 2u);
    EXPECT_EQ(host->events.log.size(), 1u);
    EXPECT_EQ(host->stack.counters().address_conflicts, 100u);
    host->pass(10s);
    claim();
    EXPECT_EQ(host->wire.frames.size(), 4u);
    EXPECT_EQ(host->stack.counters().address_defences, 2u);
}

TEST_F(Conflict, OurOwnFramesAndOthersAddressesAreNone) {
    begin(Mode::master);
    inject(*host, arp_frame(wire::ArpOperation::reply, replica_link, service_endpoint.address,
                            service_endpoint.address));
    inject(*host, arp_frame(wire::ArpOperation::request, stranger_link, client_endpoint.address,
                            client_endpoint.address));
    EXPECT_EQ(host->stack.counters().address_conflicts, 0u);
    EXPECT_TRUE(host->wire.frames.empty());
}

// A host that keeps the address does not speak up when it hears an announcement.
TEST_F(Conflict, IsLookedForAtTheTakeover) {  // RFC 5227 2.1.1
    begin(Mode::silent);
    host->stack.promote(host->now);
    std::size_t questions = 0;
    for (const Frame& frame : host->wire.frames) {
        const auto arp = wire::parse_arp(std::span(frame).subspan(wire::ethernet_header_length));
        if (wire::parse_ethernet(frame)->type != wire::EtherType::arp || !arp) continue;
        if (arp->sender != IpAddress::from_v4(0)) continue;
        ++questions;
        EXPECT_EQ(arp->operation, wire::ArpOperation::request);
        EXPECT_EQ(arp->target, service_endpoint.address);
        EXPECT_TRUE(wire::parse_ethernet(frame)->destination.is_group());
    }
    EXPECT_EQ(questions, 1u);
    EXPECT_EQ(host->stack.counters().conflict_probes_sent, 2u) << "one for each address";
    const std::size_t before = host->wire.frames.size();
    inject(*host, arp_frame(wire::ArpOperation::reply, stranger_link, service_endpoint.address,
                            IpAddress::from_v4(0)));
    EXPECT_EQ(host->events.log, std::vector<std::string>{"conflict over 10.77.0.1 with 02:00:00:00:00:66"});
    EXPECT_EQ(host->wire.frames.size(), before + 2) << "defended, and not asked again at once";
}

TEST_F(Conflict, OfIpv6IsAnsweredToOurLinkLocalAddress) {
    begin(Mode::silent);
    host->stack.promote(host->now);
    Frame message(wire::neighbour_message_length);
    const IpAddress own = wire::link_local(replica_link);
    wire::write_advertisement(message, {service6.address, stranger_link, true});
    wire::finish_icmp6(message, service6.address, own);
    inject(*host, ip_frame(stranger_link, service6.address, own, wire::IpProtocol::icmp6, message, 255,
                           replica_link));
    EXPECT_EQ(host->events.log, std::vector<std::string>{"conflict over fd00:77::1 with 02:00:00:00:00:66"});
}

TEST_F(Conflict, IsNotLookedForWhereItIsNotWanted) {
    Settings settings = settings_for(Mode::silent);
    settings.conflict_probes = false;
    host.emplace(settings);
    host->stack.promote(host->now);
    EXPECT_EQ(host->stack.counters().conflict_probes_sent, 0u);
    EXPECT_EQ(host->wire.frames.size(), 2u);
}

TEST_F(Conflict, IsNobodysWhileSilent) {
    begin(Mode::silent);
    claim();
    EXPECT_EQ(host->stack.counters().address_conflicts, 0u);
    EXPECT_TRUE(host->wire.frames.empty());
    EXPECT_TRUE(host->events.log.empty());
}

TEST_F(Conflict, OfAnAdvertisement) {  // RFC 4862 5.4.4
    begin(Mode::master);
    Frame message(wire::neighbour_message_length);
    wire::write_advertisement(message, {service6.address, stranger_link, false});
    wire::finish_icmp6(message, service6.address, wire::all_nodes);
    const auto send = [&](std::uint8_t hop_limit) {
        inject(*host, ip_frame(stranger_link, service6.address, wire::all_nodes, wire::IpProtocol::icmp6,
                               message, hop_limit, wire::multicast_link(wire::all_nodes)));
    };
    send(254);
    EXPECT_EQ(host->stack.counters().drop_malformed_neighbour, 1u) << "from beyond a router";
    send(255);
    EXPECT_EQ(host->events.log, std::vector<std::string>{"conflict over fd00:77::1 with 02:00:00:00:00:66"});
    ASSERT_EQ(host->wire.frames.size(), 1u);
    EXPECT_EQ(host->stack.counters().neighbour_announcements_sent, 1u);
}

TEST_F(Conflict, AListenerQueryIsAnsweredWithOurGroups) {  // RFC 3810 6.2
    begin(Mode::master);
    const IpAddress router = *parse_ip_address("fe80::1");
    Frame message(28);
    message[0] = std::byte{wire::icmp6_listener_query};
    wire::finish_icmp6(message, router, wire::all_nodes);
    const auto query = ip_frame(stranger_link, router, wire::all_nodes, wire::IpProtocol::icmp6, message, 1,
                                wire::multicast_link(wire::all_nodes));
    inject(*host, query);
    ASSERT_EQ(host->wire.frames.size(), 1u);
    const auto report = std::span(host->wire.frames[0]).subspan(14 + 40 + wire::hop_by_hop_alert_length);
    EXPECT_EQ(report[0], std::byte{143});
    EXPECT_EQ(report[8], std::byte{2}) << "the present state";
    EXPECT_EQ(wire::detail::load_ipv6(report.data() + 12), wire::solicited_node(service6.address));
    begin(Mode::silent);
    inject(*host, query);
    EXPECT_TRUE(host->wire.frames.empty());
}

// --- The tag of the service port ---

Frame tagged(Frame frame, std::uint16_t vlan) {
    const std::uint8_t tag[] = {0x81, 0x00, static_cast<std::uint8_t>(vlan >> 8),
                                static_cast<std::uint8_t>(vlan)};
    const auto bytes = std::as_bytes(std::span(tag));
    frame.insert(frame.begin() + 12, bytes.begin(), bytes.end());
    return frame;
}

class Tagged : public Master {
  protected:
    static Settings tagged_settings() {
        Settings settings = settings_for(Mode::master);
        settings.vlan = 77;
        return settings;
    }
    Tagged() : Master(tagged_settings()) {}
};

TEST_F(Tagged, FramesGoBothWays) {
    inject(host, tagged(encode(opening()), 0xa000 | 77));
    ASSERT_EQ(host.wire.frames.size(), 1u);
    Frame answer = host.wire.frames[0];
    EXPECT_EQ(wire::load16(answer.data() + 12), 0x8100);
    EXPECT_EQ(wire::load16(answer.data() + 14), 77);
    answer.erase(answer.begin() + 12, answer.begin() + 16);
    const auto packet = decode(answer);
    ASSERT_TRUE(packet);
    EXPECT_TRUE(packet->is(TcpFlags::syn | TcpFlags::ack));
    inject(host, tagged(arp_frame(wire::ArpOperation::request, client_link, client_endpoint.address,
                                  service_endpoint.address),
                        77));
    ASSERT_EQ(host.wire.frames.size(), 2u);
    EXPECT_EQ(wire::load16(host.wire.frames[1].data() + 16), 0x0806);
}

TEST_F(Tagged, OtherFramesAreRefused) {
    inject(host, encode(opening()));
    inject(host, tagged(encode(opening()), 78));
    inject(host, tagged(encode(opening()), 0));
    EXPECT_EQ(host.stack.counters().drop_vlan, 3u);
    Frame cut = tagged(encode(opening()), 77);
    cut.resize(17);
    inject(host, cut);
    EXPECT_EQ(host.stack.counters().drop_malformed_ethernet, 1u);
    EXPECT_TRUE(host.wire.frames.empty());
}

using Untagged = Master;

TEST_F(Untagged, APriorityIsNoTag) {
    inject(host, tagged(encode(opening()), 0xe000));
    EXPECT_TRUE(host.sent());
    inject(host, tagged(encode(opening()), 5));
    EXPECT_EQ(host.stack.counters().drop_vlan, 1u);
}

// --- ICMP errors about our connections ---

// "Fragmentation needed" for what `quoted` holds.
Frame path_mtu_error(const Packet& quoted, std::uint16_t mtu, bool first_piece = true) {
    const Frame original = encode(quoted);
    Frame message(8 + 28);
    message[0] = std::byte{wire::icmp_unreachable};
    message[1] = std::byte{wire::icmp_fragmentation_needed};
    wire::store16(message.data() + 6, mtu);
    std::copy_n(original.begin() + 14, 28, message.begin() + 8);
    if (!first_piece) wire::store16(message.data() + 8 + 6, 100);
    wire::store16(message.data() + 2, wire::checksum_finish(wire::checksum_add(message)));
    return ip_frame(stranger_link, *parse_ip_address("10.77.0.254"), quoted.source.address,
                    wire::IpProtocol::icmp, message);
}

using PathError = Master;

TEST_F(PathError, FromTheWireCutsWhatIsInFlight) {
    establish();
    host.send(std::string(1000, 'x'));
    const auto sent = host.sent();
    ASSERT_TRUE(sent);
    inject(host, path_mtu_error(*sent, 600, false));
    EXPECT_FALSE(host.sent()) << "a later piece quotes no ports";
    inject(host, path_mtu_error(*sent, 600));
    const auto again = host.sent();
    ASSERT_TRUE(again);
    EXPECT_EQ(again->tcp.seq, sent->tcp.seq);
    EXPECT_EQ(again->payload.size(), 560u);
}

TEST_F(PathError, AFloodOfForgedOnesHarmsNobody) {
    establish();
    host.send(std::string(1000, 'x'));
    Packet quoted = *host.sent();
    quoted.tcp.seq = host.server_seq(0) + 100000;
    for (int i = 0; i < 10000; ++i)
        inject(host, path_mtu_error(quoted, 68));
    EXPECT_EQ(host.stack.counters().icmp_errors_received, 10000u);
    EXPECT_EQ(host.stack.counters().drop_icmp_unproven, 10000u);
    EXPECT_EQ(host.stack.counters().path_mtu_lowered, 0u);
    host.inject(from_client(0, 1000, TcpFlags::ack, "request"));
    EXPECT_EQ(host.events.input, "request");
}

class MirroredPathError : public Master {
  protected:
    MirroredPathError() : Master(settings_for(Mode::silent)) {}
    Packet from_primary(std::uint32_t seq, std::uint8_t flags, std::string payload = {}) {
        Packet packet = from_client(0, 0, flags, std::move(payload));
        std::swap(packet.source, packet.destination);
        packet.link_source = primary_link;
        packet.link_destination = client_link;
        packet.tcp.seq = host.server_seq(seq);
        packet.tcp.ack = host.client_seq(0);
        return packet;
    }
};

TEST_F(MirroredPathError, CountsForWhatIsSentAfterThePromotion) {
    host.inject(opening(), Source::tap_from_client);
    Packet answer = from_primary(0, TcpFlags::syn | TcpFlags::ack);
    answer.tcp.seq = Seq(host.server_isn);
    host.inject(answer, Source::tap_from_primary);
    host.inject(from_client(0, 0, TcpFlags::ack), Source::tap_from_client);
    host.send(std::string(1000, 'x'));
    const Packet data = from_primary(0, TcpFlags::ack, std::string(1000, 'x'));
    inject(host, path_mtu_error(data, 600), Source::tap_from_client);
    EXPECT_EQ(host.stack.counters().drop_icmp_unproven, 1u) << "the primary has not sent it";
    host.inject(data, Source::tap_from_primary);
    inject(host, path_mtu_error(data, 600), Source::tap_from_client);
    EXPECT_TRUE(host.wire.frames.empty());
    host.stack.promote(host.now);
    const auto first = host.sent();
    ASSERT_TRUE(first);
    EXPECT_EQ(first->tcp.seq, host.server_seq(0));
    EXPECT_EQ(first->payload.size(), 560u);
}

// --- ICMP errors that we send ---

class Unreachable : public UdpHost {
  protected:
    static Settings few_errors() {
        Settings settings = udp_settings(Mode::master);
        settings.icmp_errors_per_second = 10;
        return settings;
    }
    Unreachable() : UdpHost(few_errors()) {}

    Datagram to_nobody() {
        Datagram datagram = of_client("anyone?");
        datagram.link_destination = replica_link;
        datagram.destination.port = 9;
        return datagram;
    }
};

TEST_F(Unreachable, APortIsReported) {  // RFC 1122 4.1.3.1
    const Frame about = encode(to_nobody());
    inject(to_nobody(), Source::service);
    ASSERT_EQ(host.wire.frames.size(), 1u);
    const Frame& frame = host.wire.frames[0];
    const auto message = std::span(frame).subspan(14 + 20);
    EXPECT_TRUE(wire::is_valid_icmp(message));
    EXPECT_EQ(message[0], std::byte{3});
    EXPECT_EQ(message[1], std::byte{3});
    EXPECT_TRUE(std::equal(about.begin() + 14, about.end(), message.begin() + 8, message.end()));
    EXPECT_EQ(wire::parse_ethernet(frame)->destination, client_link);
}

TEST_F(Unreachable, AProtocolIsReported) {  // RFC 1122 3.2.2.1
    stack::inject(host, ip_frame(client_link, client_endpoint.address, service_endpoint.address,
                                 wire::IpProtocol{132}, as_bytes("12345678")));
    ASSERT_EQ(host.wire.frames.size(), 1u);
    EXPECT_EQ(host.wire.frames[0][14 + 20 + 1], std::byte{2});
}

TEST_F(Unreachable, OnlySoOftenInASecond) {
    for (int i = 0; i < 1000; ++i)
        inject(to_nobody(), Source::service);
    EXPECT_LE(host.wire.frames.size(), 20u);
    EXPECT_GT(counters().icmp_errors_withheld, 900u);
}

TEST_F(Unreachable, NothingIsSaidOfGroupsNorToThem) {  // RFC 1122 3.2.2
    Datagram datagram = to_nobody();
    datagram.link_destination = LinkAddress::broadcast();
    inject(datagram, Source::service);
    datagram = to_nobody();
    datagram.source.address = *parse_ip_address("224.0.0.1");
    inject(datagram, Source::service);
    EXPECT_TRUE(host.wire.frames.empty());
}

}  // namespace
}  // namespace understudy::stack
