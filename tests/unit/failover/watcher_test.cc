#include "failover/watcher.hh"

#include <optional>
#include <vector>

#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>

#include "failover/heartbeat_service.hh"

namespace understudy::failover {
namespace {

using Kind = Action::Kind;

class WatcherTest : public testing::Test {
  protected:
    static DecisionSettings settings() {
        DecisionSettings settings;
        settings.heartbeat_interval = std::chrono::milliseconds(1);
        settings.heartbeat_misses = 3;
        // A busy machine must not turn the test's outcome.
        settings.stall_bound = std::chrono::hours(1);
        return settings;
    }
    bool run_until_actions(std::size_t count) {
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
        while (actions.size() < count && std::chrono::steady_clock::now() < end)
            io.run_one_until(end);
        return actions.size() >= count;
    }

    boost::asio::io_context io;
    std::optional<Instant> newest_on_tap;
    std::optional<Instant> tap_read_until;  // nothing: always to the end
    bool client_knows_us = false;
    std::uint64_t primary_news = 0;
    std::size_t settled_asked = 0;
    std::vector<Kind> actions;
    std::vector<ReplicaWord> said;
    Watcher watcher{io,
                    settings(),
                    {.read_links = monotonic_now,
                     .tap =
                         [this] {
                             return Watcher::Tap{.newest = newest_on_tap,
                                                 .read_until = tap_read_until.value_or(monotonic_now()),
                                                 .client_knows_us = client_knows_us,
                                                 .primary_news = primary_news};
                         },
                     .send_probe = [] {},
                     .ask_settled = [this] { ++settled_asked; }},
                    [this](const Action& action) { actions.push_back(action.kind); },
                    [this](const ReplicaWord& word) { said.push_back(word); }};
};

TEST_F(WatcherTest, TakesOverByItselfWhenAllIsSilent) {
    watcher.start();
    watcher.heartbeat(0, monotonic_now());
    ASSERT_TRUE(run_until_actions(2));
    EXPECT_EQ(actions, (std::vector{Kind::enter_suspect, Kind::begin_takeover}));
    EXPECT_EQ(watcher.machine().state(), State::master);
    EXPECT_EQ(said.back().state, State::master);
}

TEST_F(WatcherTest, AsksTheTapBeforeItDecides) {
    watcher.start();
    watcher.heartbeat(0, monotonic_now());
    // Ahead of time by far: no tick finds the tap silent.
    newest_on_tap = monotonic_now() + std::chrono::hours(1);
    for (int i = 0; i < 20; ++i)
        io.run_one();
    EXPECT_TRUE(actions.empty());
}

TEST_F(WatcherTest, WaitsForATapThatNobodyReads) {
    tap_read_until = monotonic_now();
    watcher.start();
    watcher.heartbeat(0, monotonic_now());
    while (watcher.machine().counters().waited_for_reading < 5)
        io.run_one();
    EXPECT_TRUE(actions.empty());
    tap_read_until.reset();
    ASSERT_TRUE(run_until_actions(2));
    EXPECT_EQ(actions.back(), Kind::begin_takeover);
}

TEST_F(WatcherTest, PromotesAtAnOperatorsWord) {
    watcher.start();
    newest_on_tap = monotonic_now() + std::chrono::hours(1);
    const auto refusal = watcher.promote(false);
    ASSERT_TRUE(refusal);
    EXPECT_FALSE(refusal->empty());
    EXPECT_TRUE(actions.empty());
    EXPECT_FALSE(watcher.promote(true));
    EXPECT_EQ(actions, (std::vector{Kind::begin_takeover}));
}

TEST_F(WatcherTest, GoesBackWhenThePrimarySpeaksBeforeAnyClientKnowsUs) {
    watcher.start();
    ASSERT_FALSE(watcher.promote(true));
    primary_news = 1;
    ASSERT_TRUE(run_until_actions(2));
    EXPECT_EQ(actions, (std::vector{Kind::begin_takeover, Kind::mute}));
    EXPECT_EQ(said.back().state, State::silent);
}

TEST_F(WatcherTest, NeverGoesBackOnceAClientKnowsUs) {
    watcher.start();
    ASSERT_FALSE(watcher.promote(true));
    client_knows_us = true;
    primary_news = 1;
    ASSERT_TRUE(run_until_actions(2));
    EXPECT_EQ(actions, (std::vector{Kind::begin_takeover, Kind::reassert}));
}

TEST_F(WatcherTest, SwitchesOverOnceTheAgentHasSilencedAndAllWasFollowed) {
    newest_on_tap = monotonic_now() + std::chrono::hours(1);
    watcher.start();
    watcher.heartbeat(0, *newest_on_tap);
    watcher.agent_says({.service = ServiceState::serving, .silenced = false, .overloaded = false, .number = 7},
                       monotonic_now());
    EXPECT_EQ(said.back().heard_number, 7u);
    ASSERT_FALSE(watcher.switchover());
    EXPECT_TRUE(said.back().wants_silence);
    watcher.agent_says({.service = ServiceState::standing_by, .silenced = true, .overloaded = false, .number = 8},
                       monotonic_now());
    while (settled_asked == 0)
        io.run_one();
    EXPECT_EQ(actions, (std::vector{Kind::begin_switchover}));
    watcher.settled(monotonic_now());
    EXPECT_EQ(actions, (std::vector{Kind::begin_switchover, Kind::begin_takeover}));
    EXPECT_FALSE(said.back().wants_silence);
}

TEST_F(WatcherTest, ActsAtOnceOnTheAgentsWord) {
    newest_on_tap = monotonic_now() + std::chrono::hours(1);
    watcher.start();
    watcher.heartbeat(0, *newest_on_tap);
    watcher.agent_says({.service = ServiceState::dead, .silenced = true, .overloaded = false, .number = 9},
                       monotonic_now());
    ASSERT_TRUE(run_until_actions(2));
    EXPECT_EQ(actions, (std::vector{Kind::enter_suspect, Kind::begin_takeover}));
}

TEST_F(WatcherTest, StoppedWatcherDoesNothing) {
    watcher.start();
    watcher.heartbeat(0, monotonic_now());
    watcher.stop();
    io.run();
    EXPECT_TRUE(actions.empty());
}

}  // namespace
}  // namespace understudy::failover
