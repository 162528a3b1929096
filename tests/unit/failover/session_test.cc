#include "failover/session.hh"

#include <gtest/gtest.h>

#include "instant.hh"
#include "keys.hh"

namespace understudy::failover {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Session make(Role role, const KeyRing& keys, std::uint64_t seed = 0) {
    return Session({.links = 1, .interval = milliseconds(10), .deadline = milliseconds(30)}, role, keys,
                   [drawn = seed + (role == Role::agent ? 1000u : 0u)]() mutable { return ++drawn; });
}

// `from` sends a Hello and gets the answer. True when `to` took it for a sign of life.
bool exchange(Session& from, Session& to, Instant now) {
    const Session::Taken taken = to.take(0, from.hello(0, now), now);
    if (!taken.reply.empty()) from.take(0, taken.reply, now);
    return taken.sign_of_life;
}

bool hear_each_other(Session& a, Session& b, Instant now) {
    // The first two Hellos tell the nonces.
    exchange(a, b, now);
    exchange(b, a, now);
    return exchange(a, b, now) && exchange(b, a, now);
}

TEST(Session, TwoEndsWithOneKeyHearEachOther) {
    Session replica = make(Role::replica, ring_of(1));
    Session agent = make(Role::agent, ring_of(1));
    EXPECT_TRUE(hear_each_other(replica, agent, at(0)));
}

TEST(Session, TwoEndsWithoutKeysHearEachOther) {
    Session replica = make(Role::replica, {});
    Session agent = make(Role::agent, {});
    EXPECT_TRUE(hear_each_other(replica, agent, at(0)));
}

TEST(Session, AKeyAtOneEndOnlyIsNotEnough) {
    Session with = make(Role::replica, ring_of(1));
    Session without = make(Role::agent, {});
    EXPECT_FALSE(hear_each_other(with, without, at(0)));
    EXPECT_GT(with.links().counters(0).refused_unauthenticated, 0u);
    EXPECT_GT(without.links().counters(0).refused_unknown_key, 0u);
}

TEST(Session, OtherKeysAreRefusedUnanswered) {
    Session replica = make(Role::replica, ring_of(1));
    Session stranger = make(Role::agent, ring_of(2));
    const Session::Taken taken = replica.take(0, stranger.hello(0, at(0)), at(0));
    EXPECT_FALSE(taken.sign_of_life);
    EXPECT_TRUE(taken.reply.empty());
    EXPECT_EQ(replica.links().counters(0).refused_unknown_key, 1u);
}

TEST(Session, TwoReplicasDoNotTakeEachOtherForThePrimary) {
    Session replica = make(Role::replica, ring_of(1));
    Session other = make(Role::replica, ring_of(1), 500);
    EXPECT_FALSE(hear_each_other(replica, other, at(0)));
    EXPECT_GT(replica.links().counters(0).refused_forged, 0u);
}

proto::v1::Repair question() {
    proto::v1::Repair message;
    message.mutable_request()->set_id(9);
    return message;
}

TEST(SessionRepair, IsTakenOnceAndIsNoSignOfLife) {
    Session replica = make(Role::replica, ring_of(1));
    Session agent = make(Role::agent, ring_of(1));
    ASSERT_TRUE(hear_each_other(replica, agent, at(0)));
    const std::string bytes = replica.repair(question(), at(1));
    const Session::Taken taken = agent.take(0, bytes, at(1));
    ASSERT_TRUE(taken.repair);
    EXPECT_EQ(taken.repair->request().id(), 9u);
    EXPECT_FALSE(taken.sign_of_life);
    EXPECT_FALSE(agent.take(0, bytes, at(2)).repair);
    EXPECT_EQ(agent.links().counters(0).refused_replayed, 1u);
    EXPECT_EQ(agent.links().counters(0).repairs_received, 1u);
}

TEST(SessionRepair, OfAnEarlierLifeIsRefused) {
    Session replica = make(Role::replica, ring_of(1));
    Session agent = make(Role::agent, ring_of(1));
    ASSERT_TRUE(hear_each_other(replica, agent, at(0)));
    const std::string bytes = replica.repair(question(), at(1));
    Session restarted = make(Role::agent, ring_of(1), 5000);
    ASSERT_TRUE(hear_each_other(replica, restarted, at(2)));
    const auto refused = restarted.links().counters(0).refused_stale_nonce;
    EXPECT_FALSE(restarted.take(0, bytes, at(3)).repair);
    EXPECT_EQ(restarted.links().counters(0).refused_stale_nonce, refused + 1);
}

TEST(SessionRepair, NeedsAKey) {
    Session replica = make(Role::replica, {});
    EXPECT_TRUE(replica.repair(question(), at(0)).empty());
}

// The key is replaced at both ends, one after the other, in either order: every Hello on the way counts.
class Rotation : public testing::TestWithParam<bool> {};

TEST_P(Rotation, LosesNoHeartbeat) {
    Session replica = make(Role::replica, ring_of(1));
    Session agent = make(Role::agent, ring_of(1));
    ASSERT_TRUE(hear_each_other(replica, agent, at(0)));
    Session& earlier = GetParam() ? replica : agent;
    Session& later = GetParam() ? agent : replica;
    const auto both_hear = [&](int ms) {
        return exchange(replica, agent, at(ms)) && exchange(agent, replica, at(ms));
    };
    for (int ms = 10; ms < 500'000; ms += 10) {
        if (ms == 1'000) earlier.keys().add(make_key(2), at(ms), seconds(60));
        if (ms == 50'000) later.keys().add(make_key(2), at(ms), seconds(60));
        ASSERT_TRUE(both_hear(ms)) << ms;
    }
    EXPECT_EQ(replica.keys().to_send_with(at(50'020)).id(), make_key(2).id());
    EXPECT_EQ(agent.keys().to_send_with(at(50'020)).id(), make_key(2).id());
}
INSTANTIATE_TEST_SUITE_P(ReplicaFirst, Rotation, testing::Bool());

TEST(SessionRotation, WhatAnOldKeyAuthenticatedIsRefusedAfterTheBound) {
    Session replica = make(Role::replica, ring_of(1));
    Session agent = make(Role::agent, ring_of(1));
    ASSERT_TRUE(hear_each_other(replica, agent, at(0)));
    replica.keys().add(make_key(2), at(0), seconds(60));
    EXPECT_TRUE(exchange(agent, replica, at(59'990)));
    EXPECT_FALSE(exchange(agent, replica, at(60'000)));
    EXPECT_EQ(replica.links().counters(0).refused_unknown_key, 1u);
}

}  // namespace
}  // namespace understudy::failover
