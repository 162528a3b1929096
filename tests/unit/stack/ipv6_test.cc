// TCP over IPv6, and what a host says for itself there (RFC 8200, 4861, 4443, 3810).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "stack/wire/icmp6.hh"
#include "stack/wire/ip_packet.hh"
#include "tests/unit/stack/master.hh"

namespace understudy::stack {
namespace {

using namespace test;
using wire::Bytes;

Settings settings6(Mode mode) {
    Settings settings = settings_for(mode);
    settings.services = {service6};
    return settings;
}

std::vector<std::byte> bytes_of(std::initializer_list<int> values) {
    std::vector<std::byte> bytes;
    for (const int value : values)
        bytes.push_back(static_cast<std::byte>(value));
    return bytes;
}

// An IPv6 packet around any payload, behind the given extension headers.
std::vector<std::byte> ipv6_frame(const IpAddress& source, const IpAddress& destination, std::uint8_t next,
                                  Bytes payload, std::uint8_t hop_limit = 64, LinkAddress to = replica_link) {
    std::vector<std::byte> frame(wire::ethernet_header_length + wire::ipv6_header_length + payload.size());
    wire::write_ethernet(frame, {to, client_link, wire::EtherType::ipv6});
    wire::IpHeader ip;
    ip.source = source;
    ip.destination = destination;
    ip.protocol = wire::IpProtocol{next};
    ip.ttl = hop_limit;
    ip.total_length = static_cast<std::uint32_t>(frame.size() - wire::ethernet_header_length);
    const auto packet = std::span(frame).subspan(wire::ethernet_header_length);
    wire::write_ipv6(packet, ip);
    std::copy(payload.begin(), payload.end(), packet.begin() + wire::ipv6_header_length);
    return frame;
}

class Ipv6 : public ::testing::Test {
  protected:
    void begin(Mode mode) { host.emplace(settings6(mode)); }
    void inject(const std::vector<std::byte>& frame, Source source = Source::service) {
        const ReceivedFrame received{source, frame, static_cast<std::uint32_t>(frame.size())};
        host->stack.receive(std::span(&received, 1), host->now);
    }
    Packet client(std::uint32_t seq, std::uint32_t ack, std::uint8_t flags, std::string payload = {}) {
        Packet packet;
        packet.source = client6;
        packet.destination = service6;
        packet.tcp.seq = host->client_seq(seq);
        packet.tcp.ack = host->server_seq(ack);
        packet.tcp.flags.bits = flags;
        packet.tcp.window = 20000;
        packet.payload = std::move(payload);
        return packet;
    }
    Packet primary(std::uint32_t seq, std::uint32_t ack, std::uint8_t flags, std::string payload = {}) {
        Packet packet = client(0, 0, flags, std::move(payload));
        std::swap(packet.source, packet.destination);
        packet.link_source = primary_link;
        packet.link_destination = client_link;
        packet.tcp.seq = host->server_seq(seq);
        packet.tcp.ack = host->client_seq(ack);
        return packet;
    }
    Packet syn() {
        Packet packet = client(0, 0, TcpFlags::syn);
        packet.tcp.seq = Seq(Host::client_isn);
        packet.tcp.options.mss = 1440;
        return packet;
    }
    void establish() {
        host->inject(syn());
        const auto answer = host->sent();
        ASSERT_TRUE(answer);
        host->server_isn = answer->tcp.seq.raw();
        host->inject(client(0, 0, TcpFlags::ack));
        ASSERT_EQ(host->events.log, std::vector<std::string>{"accepted"});
    }
    // The ICMPv6 message of the next frame, checked.
    struct Message {
        wire::EthernetHeader link;
        wire::IpHeader ip;
        std::vector<std::byte> bytes;
    };
    std::optional<Message> sent_icmp6() {
        while (!host->wire.frames.empty()) {
            const auto frame = host->wire.frames.front();
            host->wire.frames.pop_front();
            Message message;
            message.link = *wire::parse_ethernet(frame);
            const auto packet = Bytes(frame).subspan(wire::ethernet_header_length);
            if (message.link.type != wire::EtherType::ipv6) continue;
            EXPECT_EQ(wire::parse_ipv6(packet, message.ip), wire::IpError::none);
            if (message.ip.protocol != wire::IpProtocol::icmp6) continue;
            const auto body = packet.subspan(message.ip.header_length);
            EXPECT_TRUE(wire::is_valid_icmp6(body, message.ip.source, message.ip.destination));
            message.bytes.assign(body.begin(), body.end());
            return message;
        }
        return std::nullopt;
    }
    std::vector<std::byte> solicitation(const IpAddress& source, const IpAddress& target,
                                        const IpAddress& destination, std::uint8_t hop_limit = 255) {
        std::vector<std::byte> message(24);
        message[0] = std::byte{wire::icmp6_neighbour_solicitation};
        std::copy_n(reinterpret_cast<const std::byte*>(target.octets.data()), 16, message.begin() + 8);
        wire::finish_icmp6(message, source, destination);
        return ipv6_frame(source, destination, 58, message, hop_limit, wire::multicast_link(destination));
    }

    std::optional<Host> host;
};

TEST_F(Ipv6, AMasterAnswersTcp) {
    begin(Mode::master);
    host->inject(syn());
    const auto answer = host->sent();
    ASSERT_TRUE(answer && answer->is(TcpFlags::syn | TcpFlags::ack));
    EXPECT_EQ(answer->source, service6);
    EXPECT_EQ(answer->destination, client6);
    EXPECT_EQ(answer->tcp.options.mss, 1440) << "20 bytes less than over IPv4 (RFC 6691)";
}

TEST_F(Ipv6, DataGoesBothWays) {
    begin(Mode::master);
    establish();
    host->inject(client(0, 0, TcpFlags::ack, "request"));
    EXPECT_EQ(host->events.input, "request");
    EXPECT_TRUE(host->sent()) << "acknowledged at once at the start";
    host->send("answer");
    const auto answer = host->sent();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->payload, "answer");
    EXPECT_EQ(answer->tcp.ack, host->client_seq(7));
}

TEST_F(Ipv6, AShadowIsSeededAndCarriedOn) {
    begin(Mode::silent);
    host->inject(syn(), Source::tap_from_client);
    Packet syn_ack = primary(0, 0, TcpFlags::syn | TcpFlags::ack);
    syn_ack.tcp.seq = Seq(host->server_isn);
    syn_ack.tcp.options.mss = 1440;
    host->inject(syn_ack, Source::tap_from_primary);
    host->inject(client(0, 0, TcpFlags::ack), Source::tap_from_client);
    host->inject(client(0, 0, TcpFlags::ack, "request"), Source::tap_from_client);
    ASSERT_EQ(host->events.input, "request");
    EXPECT_TRUE(host->wire.frames.empty());
    host->send("answer");
    EXPECT_EQ(host->stack.promote(host->now).promoted, 1u);
    const auto answer = host->sent();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->payload, "answer");
    EXPECT_EQ(answer->source, service6);
    EXPECT_EQ(answer->tcp.seq, host->server_seq(0));
}

TEST_F(Ipv6, PromotionTellsTheLinkWhereTheAddressIs) {
    begin(Mode::silent);
    host->stack.promote(host->now);
    const auto announcement = sent_icmp6();
    ASSERT_TRUE(announcement);
    EXPECT_EQ(announcement->link.destination, (LinkAddress{{0x33, 0x33, 0, 0, 0, 1}}));
    EXPECT_EQ(announcement->ip.source, service6.address);
    EXPECT_EQ(announcement->ip.ttl, 255);
    ASSERT_EQ(announcement->bytes.size(), wire::neighbour_message_length);
    EXPECT_EQ(announcement->bytes[0], std::byte{136});
    EXPECT_EQ(announcement->bytes[4], std::byte{0x20}) << "override, not solicited";
    EXPECT_EQ(std::vector(announcement->bytes.begin() + 24, announcement->bytes.end()),
              bytes_of({2, 1, 0x02, 0, 0, 0, 0, 0x02}));
    // Not from `::`: the answer to that would go to all nodes.
    const auto question = sent_icmp6();
    ASSERT_TRUE(question);
    EXPECT_EQ(question->bytes[0], std::byte{135});
    EXPECT_EQ(wire::neighbour_target(question->bytes), service6.address);
    EXPECT_EQ(to_string(question->ip.source), "fe80::ff:fe00:2");
    EXPECT_EQ(question->ip.destination, wire::solicited_node(service6.address));
    const auto report = sent_icmp6();
    ASSERT_TRUE(report);
    EXPECT_EQ(report->bytes[0], std::byte{143});
    EXPECT_EQ(report->ip.ttl, 1);
    EXPECT_EQ(report->ip.header_length, 48) << "router alert";
    EXPECT_EQ(to_string(report->ip.source), "fe80::ff:fe00:2");
}

TEST_F(Ipv6, SolicitationsAreAnswered) {
    begin(Mode::master);
    inject(solicitation(client6.address, service6.address, wire::solicited_node(service6.address)));
    const auto answer = sent_icmp6();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->link.destination, client_link);
    EXPECT_EQ(answer->ip.destination, client6.address);
    EXPECT_EQ(answer->bytes[4], std::byte{0x60}) << "solicited, override";
    // Of somebody else's address nothing is said.
    const IpAddress other = *parse_ip_address("fd00:77::9");
    inject(solicitation(client6.address, other, wire::solicited_node(other)));
    EXPECT_FALSE(sent_icmp6());
}

TEST_F(Ipv6, AProbeForOurAddressIsAnsweredToAll) {  // RFC 4862 5.4.3
    begin(Mode::master);
    inject(solicitation(IpAddress{}, service6.address, wire::solicited_node(service6.address)));
    const auto answer = sent_icmp6();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->ip.destination, wire::all_nodes);
    EXPECT_EQ(answer->bytes[4], std::byte{0x20});
}

TEST_F(Ipv6, SolicitationsFromBeyondARouterAreRefused) {  // RFC 4861 7.1.1
    begin(Mode::master);
    inject(solicitation(client6.address, service6.address, wire::solicited_node(service6.address), 254));
    EXPECT_FALSE(sent_icmp6());
    EXPECT_EQ(host->stack.counters().drop_malformed_neighbour, 1u);
}

TEST_F(Ipv6, ASilentReplicaSaysNothing) {
    begin(Mode::silent);
    inject(solicitation(client6.address, service6.address, wire::solicited_node(service6.address)));
    EXPECT_TRUE(host->wire.frames.empty());
}

TEST_F(Ipv6, EchoIsAnswered) {
    begin(Mode::master);
    auto message = bytes_of({128, 0, 0, 0, 1, 2, 3, 4, 'h', 'i'});
    wire::finish_icmp6(message, client6.address, service6.address);
    inject(ipv6_frame(client6.address, service6.address, 58, message));
    const auto answer = sent_icmp6();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->bytes[0], std::byte{129});
    EXPECT_EQ(std::vector(answer->bytes.begin() + 4, answer->bytes.end()), bytes_of({1, 2, 3, 4, 'h', 'i'}));
    message[8] = std::byte{'x'};
    inject(ipv6_frame(client6.address, service6.address, 58, message));
    EXPECT_EQ(host->stack.counters().drop_malformed_icmp, 1u);
}

// The SYN behind extension headers: hop-by-hop, destination options, an atomic fragment (RFC 6946).
class Extended : public Ipv6 {
  protected:
    std::vector<std::byte> behind(std::vector<std::byte> extensions, std::uint8_t first) {
        const auto frame = encode(syn());
        const auto tcp = Bytes(frame).subspan(wire::ethernet_header_length + wire::ipv6_header_length);
        extensions.insert(extensions.end(), tcp.begin(), tcp.end());
        return ipv6_frame(client6.address, service6.address, first, extensions);
    }
};

TEST_F(Extended, HeadersAreSkipped) {
    begin(Mode::master);
    inject(behind(bytes_of({60, 0, 1, 4, 0, 0, 0, 0,    // hop-by-hop, then
                            44, 0, 1, 4, 0, 0, 0, 0,    // destination options, then
                            6,  0, 0, 0, 0, 0, 0, 7}),  // a fragment that is whole
                  0));
    EXPECT_TRUE(host->sent());
}

TEST_F(Extended, AWayToGoIsRefused) {  // RFC 5095, RFC 8200 4.4
    begin(Mode::master);
    inject(behind(bytes_of({6, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}), 43));
    EXPECT_FALSE(host->sent());
    EXPECT_EQ(host->stack.counters().drop_source_route, 1u);
    // At its end it is skipped.
    inject(behind(bytes_of({6, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}), 43));
    EXPECT_TRUE(host->sent());
}

TEST_F(Extended, OptionsThatMustBeKnownAreRefused) {  // RFC 8200 4.2
    begin(Mode::master);
    inject(behind(bytes_of({6, 0, 0x1e, 4, 0, 0, 0, 0}), 60));
    EXPECT_TRUE(host->sent()) << "to be skipped by who does not know it";
    for (const int type : {0x40, 0x80, 0xc2})
        inject(behind(bytes_of({6, 0, type, 4, 0, 0, 0, 0}), 60));
    EXPECT_FALSE(host->sent());
    EXPECT_EQ(host->stack.counters().drop_ip_option, 3u);
    inject(behind(bytes_of({6, 0, 1, 5, 0, 0, 0, 0}), 60));
    EXPECT_EQ(host->stack.counters().drop_malformed_ip, 1u);
}

TEST_F(Extended, ChainsHaveABound) {
    begin(Mode::master);
    std::vector<std::byte> chain;
    for (int i = 0; i < 9; ++i) {
        const auto next = bytes_of({i == 8 ? 6 : 60, 0, 1, 4, 0, 0, 0, 0});
        chain.insert(chain.end(), next.begin(), next.end());
    }
    inject(behind(chain, 60));
    EXPECT_FALSE(host->sent());
    EXPECT_EQ(host->stack.counters().drop_malformed_ip, 1u);
}

TEST_F(Extended, HeadersBeyondThePacketAreRefused) {
    begin(Mode::master);
    inject(ipv6_frame(client6.address, service6.address, 60, bytes_of({6, 200, 1, 4, 0, 0, 0, 0})));
    EXPECT_EQ(host->stack.counters().drop_malformed_ip, 1u);
}

}  // namespace
}  // namespace understudy::stack
