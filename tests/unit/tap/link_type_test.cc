// Packets of other links than Ethernet, with an Ethernet header before them.
#include "tap/link_type.hh"

#include <gtest/gtest.h>
#include <pcap/dlt.h>

#include <initializer_list>
#include <vector>

#include "tests/unit/tap/frames.hh"

namespace understudy::tap {
namespace {

using namespace test;

const Bytes v4 = bytes_of({0x45, 0, 0, 20, 1, 2, 3, 4, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2});
const Bytes v6 = bytes_of({0x60, 0, 0, 0, 0, 0, 6, 64});
constexpr int snap[] = {0xaa, 0xaa, 3, 0, 0, 0, 8, 0};

struct LinkLayerCase {
    const char* name;
    int link_type;
    Bytes header;
    Bytes packet;
    int type;
    int source = 0, destination = 0;  // last byte of each address
};

Bytes with_snap(Bytes header) {
    for (const int value : snap)
        header.push_back(std::byte(value));
    return header;
}

std::vector<LinkLayerCase> link_layer_cases() {
    const Bytes address_a = bytes_of({2, 0, 0, 0, 0, 0xa}), address_b = bytes_of({2, 0, 0, 0, 0, 0xb});
    const auto wireless = [&](int control, int flags, bool four, int quality) {
        Bytes header = bytes_of({control, flags, 0, 0});
        const auto add = [&header](const Bytes& more) {
            header.insert(header.end(), more.begin(), more.end());
        };
        add(address_b);
        add(address_a);
        add(flags == 0 ? Bytes(6) : flags == 1 ? address_b : address_a);
        add(Bytes(2));
        if (four) add(address_a);
        add(Bytes(static_cast<std::size_t>(quality)));
        return with_snap(header);
    };
    return {
        {"ethernet", DLT_EN10MB, bytes_of({2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 0xa, 8, 0}), v4, 0x0800, 0xa,
         0xb},
        {"loopback, little endian", DLT_NULL, bytes_of({2, 0, 0, 0}), v4, 0x0800},
        {"loopback, IPv6", DLT_NULL, bytes_of({0, 0, 0, 30}), v6, 0x86dd},
        {"OpenBSD loopback", DLT_LOOP, bytes_of({0, 0, 0, 2}), v4, 0x0800},
        {"raw", DLT_RAW, {}, v4, 0x0800},
        {"raw IPv6", DLT_IPV6, {}, v6, 0x86dd},
        {"cooked", DLT_LINUX_SLL, bytes_of({0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 0xa, 0, 0, 8, 0}), v4, 0x0800,
         0xa},
        {"cooked, without address", DLT_LINUX_SLL,
         bytes_of({0, 4, 2, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x86, 0xdd}), v6, 0x86dd},
        {"cooked, version 2", DLT_LINUX_SLL2,
         bytes_of({8, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 0, 0, 0, 0, 0xa, 0, 0}), v4, 0x0800, 0xa},
        {"ppp", DLT_PPP, bytes_of({0xff, 3, 0, 0x21}), v4, 0x0800},
        {"ppp, compressed", DLT_PPP, bytes_of({0x21}), v4, 0x0800},
        {"ppp, serial", DLT_PPP_SERIAL, bytes_of({0xff, 3, 0, 0x57}), v6, 0x86dd},
        {"hdlc", DLT_C_HDLC, bytes_of({0x0f, 0, 8, 0}), v4, 0x0800},
        {"pppoe", DLT_PPP_ETHER, {}, bytes_of({0x11, 0, 0, 1, 0, 2, 0, 0x21}), 0x8864},
        {"802.11 to the base", DLT_IEEE802_11, wireless(0x08, 1, false, 0), v4, 0x0800, 0xa, 0xb},
        {"802.11 with quality of service", DLT_IEEE802_11, wireless(0x88, 2, false, 2), v4, 0x0800, 0xa, 0xb},
        {"802.11 between bases", DLT_IEEE802_11, wireless(0x08, 3, true, 0), v4, 0x0800, 0xa, 0xa},
        {"fddi", DLT_FDDI, with_snap(bytes_of({0x50, 2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 0xa})), v4, 0x0800,
         0xa, 0xb},
        {"token ring", DLT_IEEE802, with_snap(bytes_of({0x10, 0x40, 2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 0xa})),
         v4, 0x0800, 0xa, 0xb},
        {"atm", DLT_ATM_RFC1483, with_snap({}), v4, 0x0800},
        {"frame relay", DLT_FRELAY, bytes_of({0x18, 0x41, 3, 0xcc}), v4, 0x0800},
        {"frame relay, Cisco", DLT_FRELAY, bytes_of({0x18, 0x41, 8, 0}), v4, 0x0800},
        {"slip", DLT_SLIP, Bytes(16), v4, 0x0800},
        {"mpls", DLT_MPLS, {}, bytes_of({0, 1, 1, 64}), 0x8847},
        {"packet filter log", DLT_PFLOG,
         [] {
             Bytes h(64);
             h[0] = std::byte{61};
             return h;
         }(),
         v4, 0x0800},
    };
}

TEST(LinkType, EachPacketGetsAnEthernetHeader) {
    for (const LinkLayerCase& c : link_layer_cases()) {
        SCOPED_TRACE(c.name);
        Bytes frame = c.header;
        frame.insert(frame.end(), c.packet.begin(), c.packet.end());
        ASSERT_TRUE(is_readable_link_type(c.link_type));
        const auto form = as_ethernet(c.link_type, frame);
        ASSERT_TRUE(form);
        EXPECT_EQ(Bytes(form->payload.begin(), form->payload.end()), c.packet);
        EXPECT_EQ(std::to_integer<int>(form->header[12]) << 8 | std::to_integer<int>(form->header[13]),
                  c.type);
        EXPECT_EQ(std::to_integer<int>(form->header[11]), c.source);
        EXPECT_EQ(std::to_integer<int>(form->header[5]), c.destination);
    }
}

TEST(LinkType, CutFramesAreReadWithinTheirBounds) {
    for (const LinkLayerCase& c : link_layer_cases()) {
        SCOPED_TRACE(c.name);
        for (std::size_t length = 0; length < c.header.size(); ++length) {
            const auto form = as_ethernet(c.link_type, std::span(c.header).first(length));
            if (form) {
                EXPECT_LE(form->payload.size(), length);
            }
        }
    }
}

TEST(LinkType, WhatCarriesNoPacketIsNone) {
    const Bytes beacon = [] {
        Bytes b(40);
        b[0] = std::byte{0x80};
        return b;
    }();
    EXPECT_FALSE(as_ethernet(DLT_IEEE802_11, beacon));
    Bytes secret(40);
    secret[0] = std::byte{0x08};
    secret[1] = std::byte{0x40};
    EXPECT_FALSE(as_ethernet(DLT_IEEE802_11, secret));
    EXPECT_FALSE(as_ethernet(DLT_PPP, bytes_of({0xff, 3, 0xc0, 0x21, 1})));
    EXPECT_FALSE(as_ethernet(DLT_RAW, bytes_of({0x12})));
    EXPECT_FALSE(is_readable_link_type(DLT_USB_LINUX));
}

}  // namespace
}  // namespace understudy::tap
