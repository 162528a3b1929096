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
    std::vector<Kind> actions;
    Watcher watcher{io,
                    settings(),
                    {.read_links = monotonic_now,
                     .tap =
                         [this] {
                             return Watcher::Tap{.newest = newest_on_tap,
                                                 .read_until = tap_read_until.value_or(monotonic_now())};
                         },
                     .send_probe = [] {}},
                    [this](const Action& action) { actions.push_back(action.kind); }};
};

TEST_F(WatcherTest, TakesOverByItselfWhenAllIsSilent) {
    watcher.start();
    watcher.heartbeat(0, monotonic_now());
    ASSERT_TRUE(run_until_actions(2));
    EXPECT_EQ(actions, (std::vector{Kind::enter_suspect, Kind::begin_takeover}));
    EXPECT_EQ(watcher.machine().state(), State::master);
    EXPECT_EQ(io.run(), 0u) << "a master waits for nothing";
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

TEST_F(WatcherTest, StoppedWatcherDoesNothing) {
    watcher.start();
    watcher.heartbeat(0, monotonic_now());
    watcher.stop();
    io.run();
    EXPECT_TRUE(actions.empty());
}

}  // namespace
}  // namespace understudy::failover
