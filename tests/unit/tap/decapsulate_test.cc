// Tags and tunnels, by hand: what lies within comes out as the frame that was mirrored.
#include "tap/decapsulate.hh"

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>

#include "tap/filter.hh"
#include "tests/unit/tap/frames.hh"

namespace understudy::tap {
namespace {

using test::Bytes;
using test::bytes_of;

Bytes join(std::initializer_list<Bytes> parts) {
    Bytes whole;
    for (const Bytes& part : parts)
        whole.insert(whole.end(), part.begin(), part.end());
    return whole;
}

Bytes inner() {
    return test::build({});
}
Bytes tail(const Bytes& frame, std::size_t from) {
    return {frame.begin() + static_cast<long>(from), frame.end()};
}
Bytes head(const Bytes& frame, std::size_t length) {
    return {frame.begin(), frame.begin() + static_cast<long>(length)};
}
Bytes packet() {
    return tail(inner(), 14);
}  // the inner frame's IP packet

constexpr test::Link switch_link = {0x02, 0, 0, 0, 0x77, 0x77};

// An Ethernet frame of a switch with `payload` of `protocol` over IPv4 in it.
Bytes over_v4(std::uint8_t protocol, const Bytes& payload) {
    Bytes frame = test::build({.destination_link = switch_link,
                               .source_link = switch_link,
                               .protocol = protocol,
                               .payload = payload.size()});
    std::copy(payload.begin(), payload.end(), frame.begin() + 34);
    return frame;
}

Bytes over_udp(int port, const Bytes& payload) {
    return over_v4(17, join({bytes_of({0xc0, 0, port >> 8, port & 0xff, 0, 0, 0, 0}), payload}));
}

Bytes over_type(int type, const Bytes& payload) {
    return join({head(inner(), 12), bytes_of({type >> 8, type & 0xff}), payload});
}

struct Opening {
    std::optional<Bytes> frame;
    DecapsulationCounters counters;
};

Opening open(const Bytes& frame, Wrappings wrappings = Wrappings::all()) {
    Decapsulator decapsulator(wrappings, 1);
    decapsulator.begin_burst();
    const auto opened = decapsulator.open(test::frame_of(frame));
    Opening result;
    result.counters = decapsulator.counters();
    if (opened) {
        result.frame = Bytes(opened->bytes.begin(), opened->bytes.end());
        EXPECT_GE(opened->wire_length, opened->bytes.size());
    }
    return result;
}

TEST(Decapsulate, APlainFrameIsHandedOnAsItIs) {
    const Bytes frame = inner();
    Decapsulator decapsulator(Wrappings::all(), 1);
    const Frame given = test::frame_of(frame);
    const auto opened = decapsulator.open(given);
    ASSERT_TRUE(opened);
    EXPECT_EQ(opened->bytes.data(), given.bytes.data());
    EXPECT_EQ(decapsulator.counters().plain, 1u);
}

struct Case {
    const char* name;
    Bytes frame;
    Bytes expected;
    std::uint64_t DecapsulationCounters::*counter;
};

std::vector<Case> cases() {
    const Bytes in = inner(), ip = packet();
    const Bytes tag = bytes_of({0x81, 0x00, 0x00, 0x32}), service_tag = bytes_of({0x88, 0xa8, 0x00, 0x64});
    const auto outer_v4 = [&] {  // the addresses of the frame around a tunnel without link-level addresses
        return join({head(over_v4(4, ip), 12), bytes_of({8, 0}), ip});
    };
    using C = DecapsulationCounters;
    std::vector<Case> all = {
        {"vlan", join({head(in, 12), tag, tail(in, 12)}), in, &C::vlan},
        {"qinq", join({head(in, 12), service_tag, tag, tail(in, 12)}), in, &C::vlan},
        {"snap",
         over_type(static_cast<int>(8 + ip.size()), join({bytes_of({0xaa, 0xaa, 3, 0, 0, 0, 8, 0}), ip})), in,
         &C::snap},
        {"pbb", over_type(0x88e7, join({bytes_of({0, 0, 1, 2}), in})), in, &C::pbb},
        {"mpls", over_type(0x8847, join({bytes_of({0, 1, 0x00, 64, 0, 2, 0x01, 64}), ip})), in, &C::mpls},
        {"mpls pseudowire", over_type(0x8847, join({bytes_of({0, 2, 0x01, 64, 0, 0, 0, 0}), in})), in,
         &C::mpls},
        {"pppoe",
         over_type(0x8864,
                   join({bytes_of({0x11, 0, 0, 7, 0, static_cast<int>(ip.size() + 2), 0, 0x21}), ip})),
         in, &C::pppoe},
        {"gre ethernet", over_v4(47, join({bytes_of({0, 0, 0x65, 0x58}), in})), in, &C::gre},
        {"gre key ip", over_v4(47, join({bytes_of({0x20, 0, 8, 0, 1, 2, 3, 4}), ip})), outer_v4(), &C::gre},
        {"pptp",
         over_v4(47, join({bytes_of({0x30, 0x81, 0x88, 0x0b, 0, 0, 0,    1, 0, 0,
                                     0,    1,    0,    0,    0, 1, 0xff, 3, 0, 0x21}),
                           ip})),
         outer_v4(), &C::gre},
        {"erspan 1", over_v4(47, join({bytes_of({0, 0, 0x88, 0xbe}), in})), in, &C::erspan},
        {"erspan 2",
         over_v4(47, join({bytes_of({0x10, 0, 0x88, 0xbe, 0, 0, 0, 9, 0x10, 1, 0, 5, 0, 0, 0, 0}), in})), in,
         &C::erspan},
        {"erspan 3",
         over_v4(47, join({bytes_of({0x10, 0, 0x22, 0xeb, 0, 0, 0, 9, 0x20, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0}),
                           in})),
         in, &C::erspan},
        {"erspan 3 with the platform's part",
         over_v4(47, join({bytes_of({0x10, 0, 0x22, 0xeb, 0, 0, 0, 9, 0x20, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1}),
                           Bytes(8, std::byte{7}), in})),
         in, &C::erspan},
        {"vxlan", over_udp(4789, join({bytes_of({8, 0, 0, 0, 0, 0, 5, 0}), in})), in, &C::vxlan},
        {"geneve with an option",
         over_udp(6081, join({bytes_of({1, 0, 0x65, 0x58, 0, 0, 5, 0, 1, 2, 3, 0}), in})), in, &C::geneve},
        {"ip in ip", over_v4(4, ip), outer_v4(), &C::ip_in_ip},
        {"etherip", over_v4(97, join({bytes_of({0x30, 0}), in})), in, &C::ether_ip},
        {"gtp", over_udp(2152, join({bytes_of({0x30, 255, 0, 50, 0, 0, 0, 1}), ip})), outer_v4(), &C::gtp},
    };
    return all;
}

TEST(Decapsulate, WhatLiesWithinComesOut) {
    for (const Case& c : cases()) {
        SCOPED_TRACE(c.name);
        const Opening opening = open(c.frame);
        ASSERT_TRUE(opening.frame);
        EXPECT_EQ(*opening.frame, c.expected);
        EXPECT_GE(opening.counters.*c.counter, 1u);
        EXPECT_EQ(opening.counters.opened, 1u);
        EXPECT_EQ(opening.counters.plain + opening.counters.malformed + opening.counters.too_deep, 0u);
    }
}

TEST(Decapsulate, TunnelsOpenOnlyWhereTheSettingNamesThem) {
    for (const Case& c : cases()) {
        SCOPED_TRACE(c.name);
        const Opening opening = open(c.frame, Wrappings::tags());
        ASSERT_TRUE(opening.frame);
        if (c.counter == &DecapsulationCounters::vlan || c.counter == &DecapsulationCounters::snap) {
            EXPECT_EQ(*opening.frame, c.expected);
            continue;
        }
        EXPECT_EQ(*opening.frame, c.frame);
        EXPECT_EQ(opening.counters.left_closed, 1u);
        EXPECT_EQ(opening.counters.plain, 1u);
    }
}

// Cut anywhere: never more than was there, and always in exactly one way.
TEST(Decapsulate, CutFramesAreReadWithinTheirBounds) {
    for (const Case& c : cases()) {
        for (std::size_t length = 0; length < c.frame.size(); ++length) {
            SCOPED_TRACE(std::string(c.name) + " cut to " + std::to_string(length));
            const Opening opening = open(head(c.frame, length));
            const auto& n = opening.counters;
            EXPECT_EQ(n.plain + n.opened + n.malformed + n.too_deep, 1u);
            if (opening.frame) {
                EXPECT_LE(opening.frame->size(), std::max<std::size_t>(length, 14));
            }
        }
    }
}

TEST(Decapsulate, WhatTheCaptureCutIsStillMissingWithin) {
    const Bytes frame = join({head(inner(), 12), bytes_of({0x81, 0, 0, 1}), tail(inner(), 12)});
    Decapsulator decapsulator(Wrappings::tags(), 1);
    Frame cut = test::frame_of(frame);
    cut.bytes = cut.bytes.first(40);
    const auto opened = decapsulator.open(cut);
    ASSERT_TRUE(opened);
    EXPECT_EQ(opened->bytes.size(), 36u);
    EXPECT_EQ(opened->wire_length, frame.size() - 4);
}

TEST(Decapsulate, EndlessTagsAreRefused) {
    Bytes frame = head(inner(), 12);
    for (int i = 0; i < 40; ++i)
        frame = join({frame, bytes_of({0x81, 0, 0, 1})});
    const Opening opening = open(join({frame, tail(inner(), 12)}));
    EXPECT_FALSE(opening.frame);
    EXPECT_EQ(opening.counters.too_deep, 1u);
}

TEST(Decapsulate, EndlessLabelsAreRefusedOnce) {
    const Opening opening = open(over_type(0x8847, Bytes(400)));
    EXPECT_FALSE(opening.frame);
    EXPECT_EQ(opening.counters.too_deep, 1u);
    EXPECT_EQ(opening.counters.malformed, 0u);
}

TEST(Decapsulate, AFragmentOfATunnelStaysClosed) {
    Bytes frame = over_v4(47, join({bytes_of({0, 0, 0x65, 0x58}), inner()}));
    frame[20] = std::byte{0x20};  // more fragments
    const Opening opening = open(frame);
    ASSERT_TRUE(opening.frame);
    EXPECT_EQ(*opening.frame, frame);
    EXPECT_EQ(opening.counters.unopenable, 1u);
}

// rules.md 7.
TEST(Decapsulate, TheFilterSeesTheFrameWithin) {
    const Filter filter("tcp dst port 7000");
    const Bytes frame = over_udp(4789, join({bytes_of({8, 0, 0, 0, 0, 0, 5, 0}), inner()}));
    Decapsulator decapsulator(Wrappings::tags().with(Wrapping::vxlan), 1);
    EXPECT_FALSE(filter.matches(test::frame_of(frame)));
    const auto opened = decapsulator.open(test::frame_of(frame));
    ASSERT_TRUE(opened);
    EXPECT_TRUE(filter.matches(*opened));
}

TEST(Decapsulate, EachNameIsKnown) {
    EXPECT_EQ(parse_wrapping("erspan"), Wrapping::erspan);
    EXPECT_EQ(parse_wrapping("ipip"), Wrapping::ip_in_ip);
    EXPECT_FALSE(parse_wrapping("everything"));
}

}  // namespace
}  // namespace understudy::tap
