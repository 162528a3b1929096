// Agents and replicas of different versions on one link: what the later one adds, the earlier passes over.
#include <string>

#include <gtest/gtest.h>

#include "failover/datagram.hh"
#include "failover/sealed_datagram.hh"
#include "failover/session.hh"
#include "keys.hh"

namespace understudy::failover {
namespace {

using std::chrono::milliseconds;

// Fields that no version knows so far: number 100 a varint, number 101 text.
const std::string later_fields("\xa0\x06\x2a\xaa\x06\x05later", 11);

Session replica_of_this_version() {
    return Session({.links = 1, .interval = milliseconds(10), .deadline = milliseconds(30)}, Role::replica, ring_of(1),
                   [drawn = std::uint64_t{0}]() mutable { return ++drawn; });
}

// The agent of another version, message by message.
class OtherAgent {
  public:
    proto::v1::Heartbeat hello() {
        proto::v1::Heartbeat message;
        message.set_incarnation(77);
        message.set_counter(++counter_);
        message.set_nonce(78);
        message.set_echoed_nonce(replica_nonce_);
        message.mutable_hello()->set_interval_us(10'000);
        return message;
    }
    void hear(const std::string& bytes) {
        const auto opened = open_sealed(ring_of(1), Role::replica, bytes, Instant{});
        ASSERT_TRUE(std::holds_alternative<Opened>(opened));
        proto::v1::Heartbeat message;
        ASSERT_TRUE(message.ParseFromString(std::string(std::get<Opened>(opened).body)));
        replica_nonce_ = message.nonce();
    }
    static std::string sealed(const std::string& body) {
        return seal(make_key(1), Role::agent, BodyType::heartbeat, body);
    }

  private:
    std::uint64_t counter_ = 0;
    std::uint64_t replica_nonce_ = 0;
};

// It knows neither the newest key nor words of the service: the fields were added later.
TEST(Versions, AnEarlierAgentIsHeardAndItsSilenceOnTheServiceIsNoWord) {
    Session replica = replica_of_this_version();
    OtherAgent agent;
    agent.hear(replica.hello(0, Instant{}));
    const Session::Taken taken = replica.take(0, OtherAgent::sealed(agent.hello().SerializeAsString()), Instant{});
    EXPECT_TRUE(taken.sign_of_life);
    ASSERT_TRUE(taken.words);
    EXPECT_FALSE(taken.words->agent);
    // And it understands the answer, with all that it does not know in it.
    ASSERT_FALSE(taken.reply.empty());
    replica.say(ReplicaWord{.state = State::master, .wants_silence = false, .heard_number = 3});
    agent.hear(taken.reply);
    agent.hear(replica.hello(0, Instant{}));
}

TEST(Versions, WhatALaterAgentAddsIsPassedOver) {
    Session replica = replica_of_this_version();
    OtherAgent agent;
    agent.hear(replica.hello(0, Instant{}));
    proto::v1::Heartbeat hello = agent.hello();
    proto::v1::AgentState state = to_message(AgentWord{.service = ServiceState::dead, .silenced = true, .number = 5});
    ASSERT_TRUE(state.MergeFromString(later_fields));
    *hello.mutable_agent() = state;
    ASSERT_TRUE(hello.mutable_hello()->MergeFromString(later_fields));
    const Session::Taken taken =
        replica.take(0, OtherAgent::sealed(hello.SerializeAsString() + later_fields), Instant{});
    EXPECT_TRUE(taken.sign_of_life);
    ASSERT_TRUE(taken.words && taken.words->agent);
    EXPECT_TRUE(taken.words->agent->gives_up());
    EXPECT_EQ(taken.words->agent->number, 5u);
    EXPECT_FALSE(taken.reply.empty());
}

// The number changes only when added fields are not enough: then no guess is made at what the rest means.
TEST(Versions, AnotherNumberIsRefusedAndCounted) {
    Session replica = replica_of_this_version();
    OtherAgent agent;
    agent.hear(replica.hello(0, Instant{}));
    for (const int version : {seal_version - 1, seal_version + 1}) {
        std::string bytes = OtherAgent::sealed(agent.hello().SerializeAsString());
        bytes[4] = static_cast<char>(version);
        const Session::Taken taken = replica.take(0, bytes, Instant{});
        EXPECT_FALSE(taken.sign_of_life);
        EXPECT_TRUE(taken.reply.empty());
    }
    EXPECT_EQ(replica.links().counters(0).refused_unknown_version, 2u);
    EXPECT_TRUE(replica.take(0, OtherAgent::sealed(agent.hello().SerializeAsString()), Instant{}).sign_of_life);
}

}  // namespace
}  // namespace understudy::failover
