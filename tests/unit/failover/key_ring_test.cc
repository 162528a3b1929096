#include "failover/key_ring.hh"

#include <gtest/gtest.h>

#include "keys.hh"

namespace understudy::failover {
namespace {

using std::chrono::seconds;

constexpr Instant at_s(int s) {
    return Instant(seconds(s));
}

const HeartbeatKey old_key = make_key(1);
const HeartbeatKey new_key = make_key(2);

TEST(KeyRing, TheOldKeyIsAcceptedUntilTheBound) {
    KeyRing keys;
    EXPECT_TRUE(keys.empty());
    EXPECT_TRUE(keys.add(old_key, at_s(0), seconds(60)));
    EXPECT_TRUE(keys.add(new_key, at_s(100), seconds(60)));
    EXPECT_EQ(keys.newest().id(), new_key.id());
    EXPECT_NE(keys.find(old_key.id(), at_s(159)), nullptr);
    EXPECT_EQ(keys.find(old_key.id(), at_s(160)), nullptr);
    EXPECT_NE(keys.find(new_key.id(), at_s(1'000'000)), nullptr);
}

TEST(KeyRing, SendsWithTheNewKeyOnceThePeerHoldsIt) {
    KeyRing keys;
    keys.add(old_key, at_s(0), seconds(60));
    keys.add(new_key, at_s(100), seconds(60));
    EXPECT_EQ(keys.to_send_with(at_s(101)).id(), old_key.id());
    keys.peer_holds(old_key.id());
    EXPECT_EQ(keys.to_send_with(at_s(101)).id(), old_key.id());
    keys.peer_holds(make_key(9).id());
    EXPECT_EQ(keys.to_send_with(at_s(101)).id(), old_key.id()) << "a key that only the peer holds is of no use";
    keys.peer_holds(new_key.id());
    EXPECT_EQ(keys.to_send_with(at_s(101)).id(), new_key.id());
}

TEST(KeyRing, SendsWithTheNewKeyOnceTheBoundHasPassed) {
    KeyRing keys;
    keys.add(old_key, at_s(0), seconds(60));
    keys.add(new_key, at_s(100), seconds(60));
    EXPECT_EQ(keys.to_send_with(at_s(160)).id(), new_key.id());
}

TEST(KeyRing, TheSameKeyAgainChangesNothing) {
    KeyRing keys;
    keys.add(old_key, at_s(0), seconds(60));
    keys.add(new_key, at_s(100), seconds(60));
    EXPECT_FALSE(keys.add(new_key, at_s(150), seconds(60)));
    EXPECT_EQ(keys.find(old_key.id(), at_s(160)), nullptr) << "nor the bound of the one before it";
}

TEST(KeyRing, AnEarlierKeyMayComeBack) {
    KeyRing keys;
    keys.add(old_key, at_s(0), seconds(60));
    keys.add(new_key, at_s(100), seconds(60));
    EXPECT_TRUE(keys.add(old_key, at_s(110), seconds(60)));
    EXPECT_EQ(keys.newest().id(), old_key.id());
    EXPECT_NE(keys.find(old_key.id(), at_s(1'000)), nullptr);
    EXPECT_EQ(keys.find(new_key.id(), at_s(1'000)), nullptr);
}

TEST(KeyRing, IsBounded) {
    KeyRing keys;
    for (std::uint8_t i = 1; i <= KeyRing::max_keys + 2; ++i)
        keys.add(make_key(i), at_s(0), seconds(60));
    EXPECT_EQ(keys.find(make_key(2).id(), at_s(0)), nullptr);
    EXPECT_NE(keys.find(make_key(3).id(), at_s(0)), nullptr);
}

TEST(KeyRing, WithoutOverlapTheOldKeyIsRefusedAtOnce) {
    KeyRing keys;
    keys.add(old_key, at_s(0), seconds(0));
    keys.add(new_key, at_s(1), seconds(0));
    EXPECT_EQ(keys.find(old_key.id(), at_s(1)), nullptr);
    EXPECT_EQ(keys.to_send_with(at_s(1)).id(), new_key.id());
}

}  // namespace
}  // namespace understudy::failover
