// The bounded memory of UDP services: waiting datagrams, and where clients are.
#include <gtest/gtest.h>

#include <random>

#include "stack/udp/datagram_store.hh"
#include "stack/udp/peer_links.hh"
#include "tests/unit/stack/harness.hh"

namespace understudy::stack::test {
namespace {

using udp::DatagramStore;
using udp::Evidence;
using udp::Flow;
using udp::PeerLinks;

const Flow flow{service_endpoint, client_endpoint};
const Instant start{1h};

Flow flow_of(std::uint16_t port) {
    return {service_endpoint, {client_endpoint.address, port}};
}

TEST(DatagramStore, TakesEqualBytesOfTheSameFlowOnce) {
    DatagramStore store(1, 8, 1000);
    EXPECT_EQ(store.add(flow, as_bytes("one"), start), 0u);
    EXPECT_FALSE(store.take(flow, as_bytes("two")));
    EXPECT_FALSE(store.take(flow_of(1), as_bytes("one")));
    EXPECT_TRUE(store.take(flow, as_bytes("one")));
    EXPECT_FALSE(store.take(flow, as_bytes("one")));
    EXPECT_TRUE(store.empty());
    EXPECT_EQ(store.bytes(), 0u);
}

TEST(DatagramStore, OfEqualOnesTheOldestIsTaken) {
    DatagramStore store(1, 8, 1000);
    store.add(flow, as_bytes("same"), start);
    store.add(flow, as_bytes("same"), start + 1s);
    EXPECT_TRUE(store.take(flow, as_bytes("same")));
    EXPECT_EQ(store.oldest_at(), start + 1s);
}

TEST(DatagramStore, AnEmptyDatagramIsOneToo) {
    DatagramStore store(1, 8, 1000);
    store.add(flow, {}, start);
    EXPECT_FALSE(store.take(flow, as_bytes("x")));
    EXPECT_TRUE(store.take(flow, {}));
}

TEST(DatagramStore, TheOldestMakeRoomInNumberAndBytes) {
    DatagramStore store(1, 3, 10);
    EXPECT_EQ(store.add(flow_of(1), as_bytes("a"), start), 0u);
    EXPECT_EQ(store.add(flow_of(2), as_bytes("b"), start), 0u);
    EXPECT_EQ(store.add(flow_of(3), as_bytes("c"), start), 0u);
    EXPECT_EQ(store.add(flow_of(4), as_bytes("d"), start), 1u);
    EXPECT_EQ(store.oldest_flow(), flow_of(2));
    EXPECT_EQ(store.add(flow_of(5), as_bytes("123456789"), start), 2u);
    EXPECT_EQ(store.size(), 2u);
    EXPECT_EQ(store.bytes(), 10u);
    EXPECT_EQ(store.add(flow_of(6), as_bytes("12345678901"), start), 1u);
    EXPECT_EQ(store.size(), 2u);
}

TEST(DatagramStore, NothingIsKeptWhereNothingMay) {
    DatagramStore store(1, 0, 10);
    EXPECT_EQ(store.add(flow, as_bytes("a"), start), 1u);
    EXPECT_FALSE(store.take(flow, as_bytes("a")));
}

// Against a plain list, over many random steps.
TEST(DatagramStore, BehavesLikeAList) {
    DatagramStore store(7, 16, 200);
    std::deque<std::pair<Flow, std::string>> list;
    std::mt19937_64 random(1);
    std::size_t taken = 0;
    for (int step = 0; step < 20'000; ++step) {
        const std::uint64_t draw = random();
        const Flow of = flow_of(static_cast<std::uint16_t>(1 + draw % 3));
        const std::string text(draw / 3 % 40, static_cast<char>('a' + draw / 120 % 2));
        const auto at = std::find(list.begin(), list.end(), std::pair(of, text));
        switch (draw / 240 % 3) {
            case 0:
                ASSERT_EQ(store.take(of, as_bytes(text)), at != list.end()) << step;
                if (at == list.end()) break;
                list.erase(at);
                ++taken;
                break;
            case 1:
                if (!list.empty()) {
                    store.drop_oldest();
                    list.pop_front();
                }
                break;
            default: {
                std::size_t bytes = text.size();
                for (const auto& [of_other, waiting] : list)
                    bytes += waiting.size();
                std::size_t gone = 0;
                for (; list.size() == 16 || bytes > 200; ++gone) {
                    bytes -= list.front().second.size();
                    list.pop_front();
                }
                list.emplace_back(of, text);
                ASSERT_EQ(store.add(of, as_bytes(text), start), gone) << step;
            }
        }
        ASSERT_EQ(store.size(), list.size()) << step;
        if (list.empty()) continue;
        ASSERT_EQ(store.oldest_flow(), list.front().first) << step;
        ASSERT_TRUE(std::ranges::equal(store.oldest_bytes(), as_bytes(list.front().second))) << step;
    }
    EXPECT_GT(taken, 100u);
}

TEST(PeerLinks, WhatIsKnownBetterStays) {
    PeerLinks links(1, 100);
    const IpAddress peer = client_endpoint.address;
    EXPECT_EQ(links.find(peer), std::nullopt);
    links.learn(peer, client_link, Evidence::mirrored_peer);
    EXPECT_EQ(links.find(peer), client_link);
    links.learn(peer, primary_link, Evidence::primary);
    links.learn(peer, client_link, Evidence::mirrored_peer);
    EXPECT_EQ(links.find(peer), primary_link);
    links.learn(peer, replica_link, Evidence::peer);
    EXPECT_EQ(links.find(peer), replica_link);
}

TEST(PeerLinks, HoldsABoundedNumberTheLatestAmongThem) {
    PeerLinks links(1, 64);
    for (std::uint32_t i = 0; i < 10'000; ++i)
        links.learn(IpAddress::from_v4(0x0a000000 + i), client_link, Evidence::mirrored_peer);
    std::size_t known = 0;
    for (std::uint32_t i = 0; i < 10'000; ++i)
        known += links.find(IpAddress::from_v4(0x0a000000 + i)) ? 1 : 0;
    EXPECT_LE(known, 64u);
    EXPECT_GT(known, 32u);
    EXPECT_TRUE(links.find(IpAddress::from_v4(0x0a000000 + 9'999)));
}

}  // namespace
}  // namespace understudy::stack::test
