// Checksums that the port checks and fills in.
#include "tests/unit/stack/summing_port.hh"
#include "tests/unit/stack/udp_host.hh"

namespace understudy::stack::test {
namespace {

Settings with_summing_port(Mode mode) {
    Settings settings = udp_settings(mode);
    settings.transport_checksums = wire::Summing::port;
    return settings;
}

class Offload : public UdpHost {
  protected:
    Offload() : UdpHost(with_summing_port(Mode::master)) {}
    void fill_all() {
        for (auto& frame : host.wire.frames)
            fill_checksum(frame);
    }
};

TEST_F(Offload, LeavesTheSumOfTheDataToThePort) {
    client("one");
    ASSERT_TRUE(answer("two"));
    Packet syn;
    syn.tcp.flags.bits = TcpFlags::syn;
    syn.tcp.seq = Seq(Host::client_isn);
    host.inject(syn);
    ASSERT_EQ(host.wire.frames.size(), 2u);
    for (const auto& frame : host.wire.frames) {
        EXPECT_FALSE(decode_datagram(frame));
        EXPECT_FALSE(decode(frame));
    }
    fill_all();
    EXPECT_EQ(sent_text(), "two");
    const auto syn_ack = host.sent();
    ASSERT_TRUE(syn_ack);
    EXPECT_TRUE(syn_ack->is(TcpFlags::syn | TcpFlags::ack));
}

TEST_F(Offload, IcmpIsSummedHere) {
    // An echo request's answer needs no port's help.
    std::vector<std::byte> request(wire::ethernet_header_length + 20 + 8);
    wire::write_ethernet(request, {replica_link, client_link, wire::EtherType::ipv4});
    wire::IpHeader ip;
    ip.source = client_endpoint.address;
    ip.destination = service_endpoint.address;
    ip.protocol = wire::IpProtocol::icmp;
    ip.total_length = 28;
    wire::write_ip(std::span(request).subspan(wire::ethernet_header_length), ip);
    const auto message = std::span(request).subspan(wire::ethernet_header_length + 20);
    message[0] = std::byte{8};
    wire::store16(message.data() + 2, wire::checksum_finish(wire::checksum_add(message)));
    const ReceivedFrame received{Source::service, request, static_cast<std::uint32_t>(request.size())};
    host.stack.receive(std::span(&received, 1), host.now);
    ASSERT_EQ(host.wire.frames.size(), 1u);
    const auto reply =
        std::span<const std::byte>(host.wire.frames.front()).subspan(wire::ethernet_header_length + 20, 8);
    EXPECT_EQ(wire::checksum_finish(wire::checksum_add(reply)), 0);
}

class CheckedByPort : public UdpHost {
  protected:
    CheckedByPort() : UdpHost(udp_settings(Mode::silent)) {}
    void receive(std::span<const std::byte> frame, Source source, bool checked) {
        const ReceivedFrame received{source, frame, static_cast<std::uint32_t>(frame.size()), checked};
        host.stack.receive(std::span(&received, 1), host.now);
    }
};

TEST_F(CheckedByPort, IsNotCheckedAgain) {
    // A checksum that would be refused shows that nobody looks at it.
    Datagram datagram = of_client("one");
    datagram.checksum = 0x1234;
    receive(test::encode(datagram), Source::tap_from_client, true);
    EXPECT_EQ(host.events.input, "one");
    Packet packet;
    packet.link_source = primary_link;
    packet.link_destination = client_link;
    std::swap(packet.source, packet.destination);
    packet.tcp.flags.bits = TcpFlags::syn | TcpFlags::ack;
    auto syn_ack = test::encode(packet);
    syn_ack[wire::ethernet_header_length + 20 + wire::tcp_checksum_offset] ^= std::byte{1};
    receive(syn_ack, Source::tap_from_primary, true);
    EXPECT_EQ(counters().drop_tcp_checksum, 0u);
    EXPECT_EQ(counters().tcp_segments_received, 1u);
}

TEST_F(CheckedByPort, WithoutItsWordEverythingIsChecked) {
    Datagram datagram = of_client("one");
    datagram.checksum = 0x1234;
    receive(test::encode(datagram), Source::tap_from_client, false);
    EXPECT_EQ(host.events.input, "");
    EXPECT_EQ(counters().drop_udp_checksum, 1u);
}

TEST_F(CheckedByPort, ACutFrameIsLostAllTheSame) {
    auto frame = test::encode(of_client("a longer text"));
    frame.resize(frame.size() - 1);
    receive(frame, Source::tap_from_client, true);
    EXPECT_EQ(host.events.input, "");
    EXPECT_EQ(counters().drop_truncated, 1u);
}

}  // namespace
}  // namespace understudy::stack::test
