// What devices do for us: large frames in pieces, and checksums.
#include <arpa/inet.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <sys/socket.h>

#include "tap/segmentation.hh"
#include "tests/unit/stack/udp_frames.hh"
#include "tests/unit/tap/dpdk_fixture.hh"
#include "tests/unit/tap/port_traffic.hh"

namespace understudy::tap {
namespace {

using test::Bytes;
using test::DpdkTest;

// Puts a frame on a ring device in as many buffers as it takes, as a NIC that merges segments does.
void send_in_pieces(const char* device, rte_mempool* pool, const Bytes& frame) {
    rte_mbuf* head = nullptr;
    for (std::size_t at = 0; at < frame.size();) {
        rte_mbuf* const piece = rte_pktmbuf_alloc(pool);
        ASSERT_NE(piece, nullptr);
        const std::size_t length = std::min<std::size_t>(frame.size() - at, rte_pktmbuf_tailroom(piece));
        std::memcpy(rte_pktmbuf_append(piece, static_cast<std::uint16_t>(length)), &frame[at], length);
        at += length;
        if (head == nullptr)
            head = piece;
        else
            ASSERT_EQ(rte_pktmbuf_chain(head, piece), 0);
    }
    std::uint16_t id = 0;
    ASSERT_EQ(rte_eth_dev_get_port_by_name(device, &id), 0);
    ASSERT_EQ(rte_eth_tx_burst(id, 0, &head, 1), 1);
}

Bytes patterned(std::size_t length) {
    Bytes bytes(length);
    for (std::size_t i = 0; i < length; ++i)
        bytes[i] = static_cast<std::byte>(i * 31 + (i >> 8));
    return bytes;
}

TEST_F(DpdkTest, TakesFramesOfSixtyFourKibibytesInPieces) {
    const auto port = open_port("dpdk:net_ring5", {});
    rte_mempool* const pool = rte_pktmbuf_pool_create("pieces", 511, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, 0);
    ASSERT_NE(pool, nullptr);
    const std::vector<Bytes> frames = {patterned(1514), patterned(65'535 + 14), patterned(3000),
                                       patterned(60'000)};
    for (const Bytes& frame : frames)
        send_in_pieces("net_ring5", pool, frame);
    EXPECT_EQ(test::receive_frames(*port, frames.size()), frames);

    // Longer than any frame may be: counted, not guessed.
    send_in_pieces("net_ring5", pool, patterned(66'000));
    send_in_pieces("net_ring5", pool, frames[0]);
    EXPECT_EQ(test::receive_frames(*port, 1), std::vector<Bytes>{frames[0]});
    EXPECT_EQ(port->statistics().receive_errors, 1u);
    EXPECT_EQ(port->statistics().received_frames, frames.size() + 1);
}

TEST_F(DpdkTest, ADeviceWithoutChecksumsClaimsNone) {
    const auto port = open_port("dpdk:net_ring6", {});
    EXPECT_FALSE(port->offloads().receive_checksums);
    EXPECT_FALSE(port->offloads().transmit_checksums);
    test::send(*port, stack::test::encode(stack::test::UdpPacket{.payload = "sum"}));
    port->flush();
    std::array<Frame, 4> burst;
    ASSERT_EQ(port->receive(burst), 1u);
    EXPECT_FALSE(burst[0].transport_checked);
    port->release(std::span(burst).first(1));
}

// net_tap computes checksums where it is asked to: the one device here that offers what NICs do.
class NetTap : public DpdkTest {
  protected:
    static constexpr const char* interface = "unittap0";

    void SetUp() override {
        DpdkTest::SetUp();
        if (IsSkipped()) return;
        if (!no_network().empty()) GTEST_SKIP() << no_network();
        try {
            port_ = open_port(std::string("dpdk:net_tap0,iface=") + interface, {});
        } catch (const PortError& error) {
            GTEST_SKIP() << error.what();
        }
        kernel_ = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));
        sockaddr_ll address{};
        address.sll_family = AF_PACKET;
        address.sll_protocol = htons(ETH_P_ALL);
        address.sll_ifindex = static_cast<int>(if_nametoindex(interface));
        ASSERT_EQ(bind(kernel_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    }
    void TearDown() override {
        if (kernel_ >= 0) close(kernel_);
        port_.reset();
    }
    // The next datagram on the kernel's side; frames of the kernel itself are passed over.
    std::optional<stack::test::UdpPacket> at_kernel() {
        std::optional<stack::test::UdpPacket> found;
        test::wait_until([&] {
            std::array<std::byte, 2048> bytes;
            const ssize_t length = recv(kernel_, bytes.data(), bytes.size(), 0);
            if (length > 0)
                found =
                    stack::test::decode_datagram(std::span(bytes).first(static_cast<std::size_t>(length)));
            return found.has_value();
        });
        return found;
    }
    // Whether the port says of this frame, which the kernel sends, that its checksum is right.
    std::optional<bool> checked(const Bytes& frame) {
        EXPECT_EQ(::send(kernel_, frame.data(), frame.size(), 0), static_cast<ssize_t>(frame.size()));
        std::optional<bool> result;
        test::wait_until([&] {
            std::array<Frame, 4> burst;
            const auto taken = std::span(burst).first(port_->receive(burst));
            for (const Frame& one : taken)
                if (std::ranges::equal(one.bytes, frame)) result = one.transport_checked;
            port_->release(taken);
            return result.has_value();
        });
        return result;
    }

    std::unique_ptr<Port> port_;
    int kernel_ = -1;
};

TEST_F(NetTap, CutsSegments) {
    ASSERT_GE(port_->offloads().segmentation_bytes, 4000u);
    constexpr std::size_t piece = 1000;
    for (const bool v6 : {false, true}) {
        stack::test::Packet packet;
        if (v6) {
            packet.source = *stack::parse_endpoint("[fd00::9]:40000");
            packet.destination = *stack::parse_endpoint("[fd00::1]:7000");
        }
        packet.tcp.seq = stack::Seq(0xffffff00);
        packet.tcp.flags.bits = stack::wire::TcpFlags::ack | stack::wire::TcpFlags::psh;
        packet.tcp.options.timestamps_present = true;
        for (std::size_t i = 0; i < 3 * piece + 77; ++i)
            packet.payload += static_cast<char>(i * 7);
        Bytes frame = stack::test::encode(packet);
        const std::size_t headers = frame.size() - packet.payload.size();
        std::vector<Bytes> expected;
        cut_segments(frame, piece, [&](auto one) { expected.emplace_back(one.begin(), one.end()); });
        ASSERT_EQ(expected.size(), 4u);

        const std::size_t tcp = frame.size() - packet.payload.size() - 32;
        stack::wire::store16(frame.data() + tcp + stack::wire::tcp_checksum_offset,
                             stack::wire::checksum_fold(stack::wire::pseudo_header_sum(
                                 packet.source.address, packet.destination.address, IPPROTO_TCP,
                                 static_cast<std::uint32_t>(frame.size() - tcp))));
        std::span<const std::byte> rest = frame;
        const auto put = [&rest](std::span<std::byte> room) {
            ASSERT_FALSE(room.empty());
            std::copy_n(rest.begin(), room.size(), room.begin());
            rest = rest.subspan(room.size());
        };
        put(port_->reserve(headers + piece));
        for (const std::size_t length : {piece, piece, std::size_t{77}})
            put(port_->extend(length));
        port_->commit_segments(piece);
        port_->flush();
        std::vector<Bytes> arrived;
        test::wait_until([&] {
            Bytes bytes(4096);
            const ssize_t length = recv(kernel_, bytes.data(), bytes.size(), 0);
            if (length <= 0) return false;
            bytes.resize(static_cast<std::size_t>(length));
            if (stack::test::decode(bytes)) arrived.push_back(bytes);
            return arrived.size() == expected.size();
        });
        EXPECT_EQ(arrived, expected) << (v6 ? "IPv6" : "IPv4");
    }
}

stack::test::UdpPacket over(bool v6) {
    stack::test::UdpPacket packet{.payload = "an odd number of bytes."};
    if (!v6) return packet;
    packet.source = *stack::parse_endpoint("[fd00::9]:40000");
    packet.destination = *stack::parse_endpoint("[fd00::1]:7000");
    return packet;
}

TEST_F(NetTap, FillsInTheChecksumsOfWhatIsSent) {
    ASSERT_TRUE(port_->offloads().transmit_checksums);
    for (const bool v6 : {false, true})
        for (const bool tagged : {false, true}) {
            stack::test::UdpPacket packet = over(v6);
            const auto length = static_cast<std::uint32_t>(8 + packet.payload.size());
            packet.checksum = stack::wire::checksum_fold(stack::wire::pseudo_header_sum(
                packet.source.address, packet.destination.address, IPPROTO_UDP, length));
            Bytes frame = stack::test::encode(packet);
            // The kernel takes the tag off again.
            constexpr std::array tag = {std::byte{0x81}, std::byte{0x00}, std::byte{0x00}, std::byte{0x05}};
            if (tagged) frame.insert(frame.begin() + 12, tag.begin(), tag.end());
            test::send(*port_, frame);
            port_->flush();
            const auto arrived = at_kernel();
            ASSERT_TRUE(arrived) << "no datagram with a right checksum came";
            EXPECT_EQ(arrived->payload, packet.payload);
            EXPECT_EQ(arrived->source, packet.source);
        }
}

TEST_F(NetTap, SaysOfWhatItReceivesWhetherTheChecksumIsRight) {
    ASSERT_TRUE(port_->offloads().receive_checksums);
    for (const bool v6 : {false, true}) {
        stack::test::UdpPacket packet = over(v6);
        EXPECT_EQ(checked(stack::test::encode(packet)), true);
        packet.checksum = 0x1234;
        EXPECT_EQ(checked(stack::test::encode(packet)), false);
    }
}

}  // namespace
}  // namespace understudy::tap
