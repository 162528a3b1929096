// The two ends' words of themselves, through the wire and into the decision.
#include "failover/words.hh"

#include <gtest/gtest.h>

#include "failover/session.hh"
#include "keys.hh"

namespace understudy::failover {
namespace {

using std::chrono::milliseconds;

constexpr Instant at(int ms) {
    return Instant(milliseconds(ms));
}

Session end_of_link(Role role, const KeyRing& keys) {
    return Session({.links = 1, .interval = milliseconds(10), .deadline = milliseconds(30)}, role, keys,
                   [drawn = role == Role::agent ? 1000u : 0u]() mutable { return ++drawn; });
}

class Words : public testing::Test {
  protected:
    void meet() {
        for (int i = 0; i < 2; ++i) {
            replica.take(0, agent.take(0, replica.hello(0, at(i)), at(i)).reply, at(i));
            agent.take(0, replica.take(0, agent.hello(0, at(i)), at(i)).reply, at(i));
        }
    }

    Session replica = end_of_link(Role::replica, ring_of(1));
    Session agent = end_of_link(Role::agent, ring_of(1));
};

TEST_F(Words, OfTheAgentReachTheReplicaWhole) {
    const AgentWord said{
        .service = ServiceState::no_carrier, .silenced = true, .overloaded = true, .number = 77};
    meet();
    agent.say(said);
    const auto taken = replica.take(0, agent.hello(0, at(10)), at(10));
    ASSERT_TRUE(taken.words && taken.words->agent);
    EXPECT_EQ(*taken.words->agent, said);
    EXPECT_FALSE(taken.words->replica);
}

TEST_F(Words, OfTheReplicaReachTheAgentInItsAnswers) {
    const ReplicaWord said{.state = State::fencing, .wants_silence = true, .heard_number = 5};
    meet();
    replica.say(said);
    const auto answer = replica.take(0, agent.hello(0, at(10)), at(10)).reply;
    const auto taken = agent.take(0, answer, at(10));
    ASSERT_TRUE(taken.words && taken.words->replica);
    EXPECT_EQ(*taken.words->replica, said);
}

TEST_F(Words, ThatWereOvertakenAreNotGoneBy) {
    meet();
    agent.say(AgentWord{.service = ServiceState::serving, .silenced = false, .overloaded = false, .number = 1});
    const std::string earlier = agent.hello(0, at(10));
    agent.say(AgentWord{.service = ServiceState::dead, .silenced = true, .overloaded = false, .number = 2});
    EXPECT_TRUE(replica.take(0, agent.hello(0, at(10)), at(11)).words);
    const auto taken = replica.take(0, earlier, at(12));
    EXPECT_TRUE(taken.sign_of_life);
    EXPECT_FALSE(taken.words);
}

TEST_F(Words, AReplayedWordIsNone) {
    meet();
    agent.say(AgentWord{.service = ServiceState::dead, .silenced = true, .overloaded = false, .number = 2});
    const std::string hello = agent.hello(0, at(10));
    EXPECT_TRUE(replica.take(0, hello, at(10)).words);
    EXPECT_FALSE(replica.take(0, hello, at(11)).words);
}

TEST(WordsWithoutAKey, AreNeitherSaidNorBelieved) {
    Session replica = end_of_link(Role::replica, {});
    Session agent = end_of_link(Role::agent, {});
    agent.say(AgentWord{.service = ServiceState::dead, .silenced = true, .overloaded = false, .number = 2});
    for (int i = 0; i < 3; ++i) {
        agent.take(0, replica.hello(0, at(i)), at(i));
        const auto taken = replica.take(0, agent.hello(0, at(i)), at(i));
        EXPECT_FALSE(taken.words && taken.words->agent);
    }
    EXPECT_EQ(replica.links().counters(0).words_not_believed, 0u) << "nothing was said";
}

TEST(WordsOnTheWire, EachStateComesBackAsItself) {
    for (const State state : {State::silent, State::suspect, State::fencing, State::master, State::faulted})
        EXPECT_EQ(from_message(to_message(ReplicaWord{.state = state})).state, state);
    for (const ServiceState service :
         {ServiceState::unknown, ServiceState::serving, ServiceState::dead, ServiceState::no_carrier,
          ServiceState::shutting_down, ServiceState::standing_by})
        EXPECT_EQ(from_message(to_message(AgentWord{.service = service})).service, service);
}

TEST(WordsOnTheWire, AStateOfALaterVersionIsNeitherSilentNorMaster) {
    proto::v1::ReplicaState later;
    later.set_mode(static_cast<proto::v1::ReplicaState::Mode>(99));
    EXPECT_FALSE(from_message(later).state);
}

}  // namespace
}  // namespace understudy::failover
