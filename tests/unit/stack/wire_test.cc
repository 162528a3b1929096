#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "stack/wire/arp.hh"
#include "stack/wire/checksum.hh"
#include "stack/wire/ipv4.hh"
#include "stack/wire/tcp.hh"

namespace understudy::stack::wire {
namespace {

std::vector<std::byte> bytes_of(std::initializer_list<int> values) {
    std::vector<std::byte> bytes;
    for (const int value : values)
        bytes.push_back(static_cast<std::byte>(value));
    return bytes;
}

TEST(Checksum, MatchesTheExampleOfRfc1071) {
    const auto bytes = bytes_of({0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7});
    EXPECT_EQ(checksum_fold(checksum_add(bytes)), 0xddf2);
}

TEST(Checksum, PadsAnOddTailWithZero) {
    EXPECT_EQ(checksum_fold(checksum_add(bytes_of({0x12, 0x34, 0x56}))),
              checksum_fold(checksum_add(bytes_of({0x12, 0x34, 0x56, 0x00}))));
}

TEST(Address, ParsesAndPrintsWhatItParsed) {
    EXPECT_EQ(to_string(*parse_endpoint("10.77.0.1:7000")), "10.77.0.1:7000");
    EXPECT_EQ(to_string(*parse_endpoint("[fd00::1]:80")), "[fd00::1]:80");
    EXPECT_EQ(to_string(*parse_link_address("02:00:5e:10:00:ff")), "02:00:5e:10:00:ff");
    for (const char* bad : {"10.77.0.1", "10.77.0.1:", "10.77.0.1:70000", "fd00::1:80", "host:80", ":80"})
        EXPECT_FALSE(parse_endpoint(bad)) << bad;
    for (const char* bad : {"02:00:5e:10:00", "02-00-5e-10-00-ff", "02:00:5e:10:00:fg", ""})
        EXPECT_FALSE(parse_link_address(bad)) << bad;
}

TEST(Ipv4, RefusesImpossibleHeaders) {
    std::vector<std::byte> packet(20);
    IpHeader header;
    header.source = header.destination = IpAddress::from_v4(0x0a4d0001);
    header.total_length = 20;
    write_ipv4(packet, header);
    IpHeader read;
    EXPECT_EQ(parse_ipv4(packet, read), IpError::none);
    EXPECT_EQ(parse_ipv4(std::span(packet).first(19), read), IpError::malformed);
    packet[8] ^= std::byte{1};
    EXPECT_EQ(parse_ipv4(packet, read), IpError::bad_checksum);
    packet[10] = packet[11] = std::byte{0};
    EXPECT_EQ(parse_ipv4(packet, read), IpError::unfilled_checksum);
    EXPECT_EQ(read.source, header.source) << "read all the same";
    packet[0] = std::byte{0x44};
    EXPECT_EQ(parse_ipv4(packet, read), IpError::malformed);
}

TEST(Tcp, WritesWhatItReads) {
    TcpHeader header;
    header.seq = Seq(0xfffffff0);
    header.ack = Seq(7);
    header.flags.bits = TcpFlags::syn | TcpFlags::ack;
    header.window = 4321;
    header.options.mss = 1400;
    header.options.window_scale_present = true;
    header.options.window_scale = 9;
    header.options.sack_permitted = true;
    header.options.timestamps_present = true;
    header.options.tsval = 11;
    header.options.tsecr = 22;
    std::vector<std::byte> bytes(tcp_header_length + tcp_options_length(header.options));
    write_tcp(bytes, header);
    const auto read = parse_tcp(bytes);
    ASSERT_TRUE(read);
    EXPECT_EQ(read->header_length, bytes.size());
    EXPECT_EQ(read->seq, header.seq);
    EXPECT_EQ(read->options.mss, 1400);
    EXPECT_EQ(read->options.window_scale, 9);
    EXPECT_TRUE(read->options.sack_permitted);
    EXPECT_EQ(read->options.tsval, 11u);
    EXPECT_EQ(read->options.tsecr, 22u);
}

TEST(Tcp, SackBlocksSurviveTheWire) {
    TcpHeader header;
    header.options.sack_count = 2;
    header.options.sack = {SeqRange{Seq(10), Seq(20)}, SeqRange{Seq(30), Seq(45)}};
    std::vector<std::byte> bytes(tcp_header_length + tcp_options_length(header.options));
    write_tcp(bytes, header);
    const auto read = parse_tcp(bytes);
    ASSERT_TRUE(read);
    ASSERT_EQ(read->options.sack_count, 2);
    EXPECT_EQ(read->options.sack[1], (SeqRange{Seq(30), Seq(45)}));
}

// RFC 9293 MUST-7: an option of any length must not lead outside the header.
TEST(Tcp, EveryCutOrCorruptedOptionListIsSurvived) {
    TcpHeader header;
    header.options.mss = 1460;
    header.options.timestamps_present = true;
    std::vector<std::byte> good(tcp_header_length + tcp_options_length(header.options));
    write_tcp(good, header);
    for (std::size_t cut = 0; cut < good.size(); ++cut)
        EXPECT_FALSE(parse_tcp(std::span(good).first(cut))) << cut;
    for (std::size_t at = tcp_header_length; at < good.size(); ++at)
        for (int value = 0; value < 256; ++value) {
            auto bad = good;
            bad[at] = static_cast<std::byte>(value);
            EXPECT_TRUE(parse_tcp(bad)) << at << " " << value;
        }
}

TEST(Arp, GratuitousFormsAnnounceTheSender) {
    const LinkAddress link = *parse_link_address("02:00:00:00:00:02");
    const IpAddress address = *parse_ip_address("10.77.0.1");
    std::array<std::byte, arp_length> bytes;
    write_arp(bytes, gratuitous_arp(ArpOperation::request, link, address));
    const auto request = parse_arp(bytes);
    ASSERT_TRUE(request);
    EXPECT_EQ(request->sender, request->target);
    EXPECT_EQ(request->sender_link, link);
    write_arp(bytes, gratuitous_arp(ArpOperation::reply, link, address));
    EXPECT_EQ(parse_arp(bytes)->target_link, link);
}

}  // namespace
}  // namespace understudy::stack::wire
