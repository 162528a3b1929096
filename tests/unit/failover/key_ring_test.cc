#include "failover/key_ring.hh"

#include <gtest/gtest.h>

#include "keys.hh"

namespace understudy::failover {
namespace {

using std::chrono::seconds;

constexpr Instant at(int s) {
    return Instant(seconds(s));
}

const HeartbeatKey first = make_key(1);
const HeartbeatKey second = make_key(2);

TEST(KeyRing, TheOldKeyIsAcceptedUntilTheBound) {
    KeyRing keys;
    EXPECT_TRUE(keys.empty());
    EXPECT_TRUE(keys.add(first, at(0), seconds(60)));
    EXPECT_TRUE(keys.add(second, at(100), seconds(60)));
    EXPECT_EQ(keys.newest().id(), second.id());
    EXPECT_NE(keys.find(first.id(), at(159)), nullptr);
    EXPECT_EQ(keys.find(first.id(), at(160)), nullptr);
    EXPECT_NE(keys.find(second.id(), at(1'000'000)), nullptr);
}

TEST(KeyRing, SendsWithTheNewKeyOnceThePeerHoldsIt) {
    KeyRing keys;
    keys.add(first, at(0), seconds(60));
    keys.add(second, at(100), seconds(60));
    EXPECT_EQ(keys.to_send_with(at(101)).id(), first.id());
    keys.peer_holds(first.id());
    EXPECT_EQ(keys.to_send_with(at(101)).id(), first.id());
    keys.peer_holds(make_key(9).id());
    EXPECT_EQ(keys.to_send_with(at(101)).id(), first.id()) << "a key that only the peer holds is of no use";
    keys.peer_holds(second.id());
    EXPECT_EQ(keys.to_send_with(at(101)).id(), second.id());
}

TEST(KeyRing, SendsWithTheNewKeyOnceTheBoundHasPassed) {
    KeyRing keys;
    keys.add(first, at(0), seconds(60));
    keys.add(second, at(100), seconds(60));
    EXPECT_EQ(keys.to_send_with(at(160)).id(), second.id());
}

TEST(KeyRing, TheSameKeyAgainChangesNothing) {
    KeyRing keys;
    keys.add(first, at(0), seconds(60));
    keys.add(second, at(100), seconds(60));
    EXPECT_FALSE(keys.add(second, at(150), seconds(60)));
    EXPECT_EQ(keys.find(first.id(), at(160)), nullptr) << "nor the bound of the one before it";
}

TEST(KeyRing, AnEarlierKeyMayComeBack) {
    KeyRing keys;
    keys.add(first, at(0), seconds(60));
    keys.add(second, at(100), seconds(60));
    EXPECT_TRUE(keys.add(first, at(110), seconds(60)));
    EXPECT_EQ(keys.newest().id(), first.id());
    EXPECT_NE(keys.find(first.id(), at(1'000)), nullptr);
    EXPECT_EQ(keys.find(second.id(), at(1'000)), nullptr);
}

TEST(KeyRing, IsBounded) {
    KeyRing keys;
    for (std::uint8_t i = 1; i <= KeyRing::max_keys + 2; ++i)
        keys.add(make_key(i), at(0), seconds(60));
    EXPECT_EQ(keys.find(make_key(2).id(), at(0)), nullptr);
    EXPECT_NE(keys.find(make_key(3).id(), at(0)), nullptr);
}

TEST(KeyRing, WithoutOverlapTheOldKeyIsRefusedAtOnce) {
    KeyRing keys;
    keys.add(first, at(0), seconds(0));
    keys.add(second, at(1), seconds(0));
    EXPECT_EQ(keys.find(first.id(), at(1)), nullptr);
    EXPECT_EQ(keys.to_send_with(at(1)).id(), second.id());
}

}  // namespace
}  // namespace understudy::failover
