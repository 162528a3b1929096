// Floods: memory stays within its bounds, and whoever is not part of the flood is served.
#include <limits>

#include "tests/unit/stack/master.hh"

namespace understudy::stack::test {
namespace {

constexpr std::uint32_t few_connections = 16;
constexpr std::uint64_t small_budget = 16384;

Settings bounded() {
    Settings settings = settings_for(Mode::master);
    settings.max_connections = few_connections;
    settings.reassembly_budget_bytes = small_budget;
    return settings;
}

class Flood : public Master {
  protected:
    Flood() : Master(bounded()) { host.sent(); }

    // The victim's connection is there before the flood.
    void SetUp() override { establish(); }

    Packet from_attacker(std::uint32_t number, std::uint8_t flags, std::uint32_t seq) const {
        Packet packet;
        packet.source.address = IpAddress::from_v4(0x0b000000 + number);
        packet.tcp.seq = Seq(seq);
        packet.tcp.flags.bits = flags;
        packet.tcp.window = 1000;
        return packet;
    }
    // Opens an attacker's connection; its next sequence number is 1.
    Packet establish_attacker(std::uint32_t number) {
        host.wire.frames.clear();
        host.inject(from_attacker(number, TcpFlags::syn, 0));
        const auto answer = host.sent();
        Packet packet = from_attacker(number, TcpFlags::ack, 1);
        if (answer) packet.tcp.ack = answer->tcp.seq + 1;
        host.inject(packet);
        return packet;
    }
    void expect_victim_served() {
        host.wire.frames.clear();
        host.events.input.clear();
        host.inject(from_client(received_, 0, TcpFlags::ack | TcpFlags::psh, "ping"));
        received_ += 4;
        EXPECT_EQ(host.events.input, "ping");
        host.pass(300ms);
        std::optional<Packet> answer;
        bool acknowledged = false;
        while ((answer = host.sent()))
            acknowledged |=
                answer->destination == client_endpoint && answer->tcp.ack == host.client_seq(received_);
        EXPECT_TRUE(acknowledged);
    }

    std::uint32_t received_ = 0;
};

TEST_F(Flood, SynsFillNoMoreThanTheTable) {
    for (std::uint32_t i = 0; i < 20 * few_connections; ++i)
        host.inject(from_attacker(i, TcpFlags::syn, i));
    EXPECT_LE(host.stack.connection_count(), few_connections);
    EXPECT_EQ(host.stack.counters().drop_table_full, 19u * few_connections + 1);
    expect_victim_served();
    host.pass(200s);
    EXPECT_EQ(host.stack.connection_count(), 1u) << "half-open connections are given up";
}

TEST_F(Flood, OutOfOrderBytesOfOneConnectionAreBounded) {
    Packet packet = establish_attacker(1);
    packet.payload = "x";
    for (std::uint32_t i = 0; i < 5000; ++i) {
        packet.tcp.seq = Seq(3 + 2 * i);
        host.inject(packet);
    }
    EXPECT_GT(host.stack.counters().drop_reassembly_full, 4000u);
    EXPECT_LE(host.stack.reassembly_bytes(), small_budget);
    expect_victim_served();
    packet.tcp.seq = Seq(1);
    packet.payload = "yy";
    host.events.input.clear();
    host.inject(packet);
    EXPECT_EQ(host.events.input.substr(0, 3), "yyx") << "and the attacker's own stream goes on";
}

TEST_F(Flood, OutOfOrderBytesOfAllConnectionsAreBounded) {
    for (std::uint32_t number = 1; number < few_connections; ++number) {
        Packet packet = establish_attacker(number);
        packet.payload = std::string(400, 'x');
        for (std::uint32_t i = 0; i < 20; ++i) {
            packet.tcp.seq = Seq(100 + 500 * i);
            host.inject(packet);
        }
    }
    EXPECT_GT(host.stack.counters().drop_reassembly_budget, 0u);
    EXPECT_LE(host.stack.reassembly_bytes(), small_budget);
    EXPECT_GT(host.stack.reassembly_bytes(), small_budget / 2);
    expect_victim_served();
}

TEST_F(Flood, MemoryOfAConnectionThatEndsIsGivenBack) {
    Packet packet = establish_attacker(1);
    packet.payload = std::string(400, 'x');
    packet.tcp.seq = Seq(100);
    host.inject(packet);
    EXPECT_GT(host.stack.reassembly_bytes(), 400u);
    packet.tcp.flags.bits = TcpFlags::rst;
    packet.tcp.seq = Seq(1);
    packet.payload.clear();
    host.inject(packet);
    EXPECT_EQ(host.stack.reassembly_bytes(), 0u);
}

TEST_F(Flood, TinyWindowsHoldNoMoreThanTheSendBuffer) {
    Packet packet = establish_attacker(1);
    const ConnectionId attacker = host.events.connection;
    packet.tcp.window = 1;
    host.inject(packet);
    const std::vector<std::byte> bytes(1 << 16);
    std::size_t taken = 0;
    for (int i = 0; i < 100; ++i)
        taken += host.stack.send(attacker, bytes, host.now);
    EXPECT_LE(taken, settings_for(Mode::master).tcp.send_buffer_bytes);
    const std::uint64_t before = host.stack.counters().tcp_segments_sent;
    host.pass(60s);
    EXPECT_LT(host.stack.counters().tcp_segments_sent - before, 100u) << "probes back off";
    EXPECT_GT(host.stack.counters().tcp_window_probes, 0u);
    expect_victim_served();
}

TEST_F(Flood, TinySegmentsAreDeliveredAndHeldNowhere) {
    Packet packet = establish_attacker(1);
    packet.payload = "x";
    host.events.input.clear();
    for (std::uint32_t i = 0; i < 5000; ++i) {
        packet.tcp.seq = Seq(1 + i);
        host.inject(packet);
    }
    EXPECT_EQ(host.events.input.size(), 5000u);
    EXPECT_EQ(host.stack.reassembly_bytes(), 0u);
    expect_victim_served();
}

// Destination unreachable in all its codes, about segments of the victim that it never sent.
TEST_F(Flood, IcmpErrorsAboutForeignSegmentsChangeNothing) {
    std::vector<std::byte> message(8 + 20 + 8);
    for (std::uint32_t i = 0; i < 2000; ++i) {
        std::byte* p = message.data();
        wire::store32(p, 0x03000000u | (i % 16) << 16);
        wire::store32(p + 4, 68);  // of code 4: the next hop's MTU
        wire::IpHeader quoted;
        quoted.source = service_endpoint.address;
        quoted.destination = client_endpoint.address;
        quoted.protocol = wire::IpProtocol::tcp;
        quoted.total_length = 1500;
        wire::write_ipv4(std::span(message).subspan(8), quoted);
        wire::store16(p + 28, service_endpoint.port);
        wire::store16(p + 30, client_endpoint.port);
        wire::store32(p + 32, (host.server_seq(0) - 100000 + i).raw());
        wire::store16(p + 2, 0);
        wire::store16(p + 2, wire::checksum_finish(wire::checksum_add(message)));
        std::vector<std::byte> frame(34 + message.size());
        wire::write_ethernet(frame, {replica_link, client_link, wire::EtherType::ipv4});
        wire::IpHeader outer;
        outer.source = IpAddress::from_v4(0x0b000001);
        outer.destination = service_endpoint.address;
        outer.protocol = wire::IpProtocol::icmp;
        outer.total_length = static_cast<std::uint16_t>(frame.size() - 14);
        wire::write_ipv4(std::span(frame).subspan(14), outer);
        std::copy(message.begin(), message.end(), frame.begin() + 34);
        const ReceivedFrame received{Source::service, frame, static_cast<std::uint32_t>(frame.size())};
        host.stack.receive(std::span(&received, 1), host.now);
    }
    EXPECT_EQ(host.stack.counters().icmp_errors_received, 2000u);
    EXPECT_EQ(host.stack.counters().drop_icmp_unproven, 2000u);
    EXPECT_EQ(host.snapshot().state, State::established);
    EXPECT_EQ(host.stack.connection_count(), 1u);
    host.wire.frames.clear();
    host.send(std::string(960, 'y'));
    EXPECT_EQ(host.sent()->payload.size(), 960u) << "and the path's MTU is believed to be what it was";
    expect_victim_served();
}

}  // namespace
}  // namespace understudy::stack::test
