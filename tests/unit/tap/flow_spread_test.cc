#include "tap/flow_spread.hh"

#include <gtest/gtest.h>
#include <netinet/icmp6.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>

#include <map>

#include "tests/unit/tap/frames.hh"

namespace understudy::tap {
namespace {

using test::build;
using test::Bytes;
using test::Packet;
using Place = FlowSpread::Place;
using Reach = FlowSpread::Reach;

constexpr Place core_zero{};
constexpr Place each_core{0, Reach::each};

FlowSpread over(std::size_t cores) {
    return FlowSpread({.cores = cores, .pinned = {}});
}

Packet of_client(std::uint16_t port) {
    Packet packet;
    packet.source_port = port;
    return packet;
}

Packet to_client(std::uint16_t port) {
    Packet packet = test::reply();
    packet.destination_port = port;
    return packet;
}

Bytes tagged(const Bytes& frame, std::uint16_t type = ETHERTYPE_VLAN) {
    Bytes bytes = frame;
    const std::array tag = {static_cast<std::byte>(type >> 8), static_cast<std::byte>(type & 0xff),
                            std::byte{0x20}, std::byte{7}};
    bytes.insert(bytes.begin() + 12, tag.begin(), tag.end());
    return bytes;
}

struct V6Packet {
    const char* source = "fd00::9";
    const char* destination = "fd00::1";
    std::uint16_t source_port = 40000;
    std::uint16_t destination_port = 7000;
    std::vector<std::uint8_t> extensions{};  // kinds, each of 8 bytes
    std::uint8_t protocol = IPPROTO_TCP;
    Bytes payload{};  // instead of ports
};

void append(Bytes& bytes, const void* data, std::size_t length) {
    const auto* from = static_cast<const std::byte*>(data);
    bytes.insert(bytes.end(), from, from + length);
}

Bytes build_v6(const V6Packet& packet) {
    Bytes bytes = build({.ethertype = ETHERTYPE_IPV6});
    bytes.resize(sizeof(ether_header));
    ip6_hdr ip{};
    ip.ip6_vfc = 0x60;
    ip.ip6_nxt = packet.extensions.empty() ? packet.protocol : packet.extensions.front();
    inet_pton(AF_INET6, packet.source, &ip.ip6_src);
    inet_pton(AF_INET6, packet.destination, &ip.ip6_dst);
    append(bytes, &ip, sizeof ip);
    for (std::size_t i = 0; i < packet.extensions.size(); ++i) {
        std::array<std::uint8_t, 8> header{};
        header[0] = i + 1 < packet.extensions.size() ? packet.extensions[i + 1] : packet.protocol;
        append(bytes, header.data(), header.size());
    }
    const std::array<std::uint16_t, 2> ports = {htons(packet.source_port), htons(packet.destination_port)};
    append(bytes, ports.data(), sizeof ports);
    bytes.resize(bytes.size() + 16);
    if (packet.payload.empty()) return bytes;
    bytes.resize(bytes.size() - 20);
    append(bytes, packet.payload.data(), packet.payload.size());
    return bytes;
}

// An ICMP or ICMPv6 message that quotes the packet of `frame`.
Bytes message(std::uint8_t type, const Bytes& frame) {
    Bytes bytes(8);
    bytes[0] = static_cast<std::byte>(type);
    append(bytes, frame.data() + sizeof(ether_header), frame.size() - sizeof(ether_header));
    return bytes;
}

Bytes icmp_error(std::uint8_t type, const Bytes& about) {
    Packet outer{.source = "10.77.0.254", .protocol = IPPROTO_ICMP};
    const Bytes body = message(type, about);
    outer.payload = body.size();
    Bytes bytes = build(outer);
    std::copy(body.begin(), body.end(), bytes.end() - static_cast<std::ptrdiff_t>(body.size()));
    return bytes;
}

TEST(FlowSpread, BothDirectionsMeet) {
    for (const std::size_t cores : {2u, 3u, 4u, 16u, 64u}) {
        const FlowSpread spread = over(cores);
        for (std::uint16_t port = 1024; port < 3000; ++port) {
            const Place place = spread.place(build(of_client(port)));
            EXPECT_EQ(place.reach, Reach::one);
            EXPECT_LT(place.core, cores);
            EXPECT_EQ(spread.place(build(to_client(port))), place);
            EXPECT_EQ(spread.core_of(test::endpoint(test::service_address, test::service_port),
                                     test::endpoint(test::client_address, port)),
                      place.core);
            V6Packet there{.source_port = port};
            V6Packet back{
                .source = "fd00::1", .destination = "fd00::9", .source_port = 7000, .destination_port = port};
            EXPECT_EQ(spread.place(build_v6(there)), spread.place(build_v6(back)));
        }
    }
}

TEST(FlowSpread, IsEvenOverPortsAndOverAddresses) {
    for (const std::size_t cores : {2u, 4u, 8u}) {
        const FlowSpread spread = over(cores);
        std::map<std::size_t, std::size_t> by_port, by_address;
        constexpr std::size_t flows = 4096;
        for (std::size_t i = 0; i < flows; ++i) {
            ++by_port[spread.place(build(of_client(static_cast<std::uint16_t>(32768 + i)))).core];
            const std::string address = "10.1." + std::to_string(i / 256) + "." + std::to_string(i % 256);
            Packet packet;
            packet.source = address.c_str();
            ++by_address[spread.place(build(packet)).core];
        }
        const double share = static_cast<double>(flows) / static_cast<double>(cores);
        for (std::size_t core = 0; core < cores; ++core) {
            EXPECT_NEAR(static_cast<double>(by_port[core]), share, share / 5);
            EXPECT_NEAR(static_cast<double>(by_address[core]), share, share / 5);
        }
    }
}

TEST(FlowSpread, OneCoreTakesAll) {
    const FlowSpread spread = over(1);
    for (const Bytes& frame : test::all_kinds())
        EXPECT_EQ(spread.place(frame), core_zero);
}

TEST(FlowSpread, WhatIsNoFlowGoesToCoreZeroOrToEach) {
    const FlowSpread spread = over(4);
    EXPECT_EQ(spread.place(build({.ethertype = ETHERTYPE_ARP})), each_core);
    EXPECT_EQ(spread.place(build({.fragment = IP_MF})), each_core);
    EXPECT_EQ(spread.place(build({.fragment = 0x10})), each_core);
    EXPECT_EQ(spread.place(build({.ethertype = 0x88cc})), core_zero);
    EXPECT_EQ(spread.place(build({.protocol = IPPROTO_SCTP})), core_zero);
    EXPECT_EQ(spread.place(build({.protocol = IPPROTO_ICMP})), core_zero);
    EXPECT_EQ(spread.place({}), core_zero);
    for (const std::uint8_t kind : std::to_array<std::uint8_t>({133, 134, 135, 136, 137}))
        EXPECT_EQ(spread.place(build_v6({.protocol = IPPROTO_ICMPV6, .payload = message(kind, build({}))})),
                  each_core);
    for (const std::uint8_t kind : std::to_array<std::uint8_t>({ICMP6_ECHO_REQUEST, ICMP6_ECHO_REPLY, 143}))
        EXPECT_EQ(spread.place(build_v6({.protocol = IPPROTO_ICMPV6, .payload = message(kind, build({}))})),
                  core_zero);
    EXPECT_EQ(spread.place(build_v6({.extensions = {IPPROTO_HOPOPTS, IPPROTO_FRAGMENT}})), each_core);
}

TEST(FlowSpread, TagsAndExtensionHeadersDoNotHideTheFlow) {
    const FlowSpread spread = over(64);
    for (std::uint16_t port = 2000; port < 2064; ++port) {
        const Bytes frame = build(of_client(port));
        const Place place = spread.place(frame);
        EXPECT_EQ(spread.place(tagged(frame)), place);
        EXPECT_EQ(spread.place(tagged(tagged(frame), 0x88a8)), place);
        V6Packet plain{.source_port = port}, extended = plain;
        extended.extensions = {IPPROTO_HOPOPTS, IPPROTO_ROUTING, IPPROTO_DSTOPTS};
        EXPECT_EQ(spread.place(build_v6(extended)), spread.place(build_v6(plain)));
        Packet options = of_client(port);
        options.options = 12;
        EXPECT_EQ(spread.place(build(options)), place);
    }
    EXPECT_EQ(spread.place(tagged(tagged(tagged(build(of_client(2000)))))), core_zero);
}

TEST(FlowSpread, AnIcmpErrorGoesToTheFlowThatItQuotes) {
    const FlowSpread spread = over(64);
    std::size_t elsewhere = 0;
    for (std::uint16_t port = 2000; port < 2064; ++port) {
        const Bytes ours = build(to_client(port));
        const Place place = spread.place(ours);
        elsewhere += place.core != 0;
        for (const std::uint8_t type :
             std::to_array<std::uint8_t>({ICMP_DEST_UNREACH, ICMP_TIME_EXCEEDED, ICMP_PARAMETERPROB}))
            EXPECT_EQ(spread.place(icmp_error(type, ours)), place);
        EXPECT_EQ(spread.place(icmp_error(ICMP_ECHO, ours)), core_zero);
        // Of an error no error is made: one that quotes one is somebody's invention.
        EXPECT_EQ(spread.place(icmp_error(ICMP_DEST_UNREACH, icmp_error(ICMP_DEST_UNREACH, ours))),
                  core_zero);
        const Bytes ours6 = build_v6(
            {.source = "fd00::1", .destination = "fd00::9", .source_port = 7000, .destination_port = port});
        const V6Packet error{.source = "fd00::254",
                             .destination = "fd00::1",
                             .protocol = IPPROTO_ICMPV6,
                             .payload = message(ICMP6_PACKET_TOO_BIG, ours6)};
        EXPECT_EQ(spread.place(build_v6(error)), spread.place(ours6));
    }
    EXPECT_GT(elsewhere, 32u);
}

TEST(FlowSpread, NoCutOrGarbledFrameIsReadBeyondItsEnd) {
    const FlowSpread spread = over(4);
    const Bytes whole6 = build_v6({.extensions = {IPPROTO_HOPOPTS, IPPROTO_DSTOPTS}});
    for (const Bytes& frame :
         {build({}), tagged(build({})), icmp_error(ICMP_DEST_UNREACH, build({})), whole6})
        for (std::size_t length = 0; length <= frame.size(); ++length) {
            // In memory of its own, so that a sanitizer sees a step too far.
            const Bytes cut(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(length));
            EXPECT_LT(spread.place(cut).core, 4u);
        }
    for (const Bytes& frame : test::all_kinds())
        EXPECT_LT(spread.place(frame).core, 4u);
}

TEST(FlowSpread, APinnedServiceStaysOnItsCore) {
    const ServiceEndpoint service = test::endpoint(test::service_address, test::service_port);
    const FlowSpread spread({.cores = 4, .pinned = {{service, 2}}});
    for (std::uint16_t port = 2000; port < 2064; ++port) {
        EXPECT_EQ(spread.place(build(of_client(port))), (Place{2, Reach::one}));
        EXPECT_EQ(spread.place(build(to_client(port))), (Place{2, Reach::one}));
    }
    // The same endpoint over UDP is another service.
    std::map<std::size_t, std::size_t> udp;
    for (std::uint16_t port = 2000; port < 2064; ++port) {
        Packet datagram = of_client(port);
        datagram.protocol = IPPROTO_UDP;
        ++udp[spread.place(build(datagram)).core];
    }
    EXPECT_EQ(udp.size(), 4u);
    Packet other;
    std::map<std::size_t, std::size_t> cores;
    for (other.destination_port = 8000; other.destination_port < 8064; ++other.destination_port)
        ++cores[spread.place(build(other)).core];
    EXPECT_EQ(cores.size(), 4u);
}

TEST(FlowSpread, RefusesNumbersThatCannotBe) {
    EXPECT_THROW(over(0), std::invalid_argument);
    EXPECT_THROW(over(65), std::invalid_argument);
    EXPECT_THROW(FlowSpread({.cores = 2, .pinned = {{ServiceEndpoint{}, 2}}}), std::invalid_argument);
}

}  // namespace
}  // namespace understudy::tap
