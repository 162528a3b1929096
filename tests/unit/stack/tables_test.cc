#include <gtest/gtest.h>

#include <map>
#include <random>

#include "stack/flow_table.hh"
#include "stack/new_reno.hh"
#include "stack/rtt.hh"
#include "stack/timer_wheel.hh"

namespace understudy::stack {
namespace {

using namespace std::chrono_literals;

FlowKey flow(std::uint32_t n) {
    FlowKey key;
    key.remote = IpAddress::from_v4(0x0a000000 + n / 7);
    key.remote_port = static_cast<std::uint16_t>(n % 7);
    return key;
}

TEST(FlowTable, AgreesWithAMapThroughChurn) {
    std::vector<FlowKey> keys(4000);
    for (std::uint32_t i = 0; i < keys.size(); ++i)
        keys[i] = flow(i);
    FlowTable table(99, [&](std::uint32_t index) -> const FlowKey& { return keys[index]; });
    std::vector<bool> present(keys.size());
    std::mt19937 random(3);
    std::size_t count = 0;
    for (int step = 0; step < 60000; ++step) {
        const auto i = static_cast<std::uint32_t>(random() % keys.size());
        if (present[i])
            table.erase(keys[i]);
        else
            table.insert(keys[i], i);
        present[i] = !present[i];
        count += present[i] ? 1u : ~std::size_t{0};
    }
    EXPECT_EQ(table.size(), count);
    for (std::uint32_t i = 0; i < keys.size(); ++i)
        ASSERT_EQ(table.find(keys[i]), present[i] ? i : FlowTable::none);
}

TEST(FlowTable, ABurstFindsWhatSingleLookupsFind) {
    std::vector<FlowKey> keys(1000);
    for (std::uint32_t i = 0; i < keys.size(); ++i)
        keys[i] = flow(i);
    FlowTable table(5, [&](std::uint32_t index) -> const FlowKey& { return keys[index]; });
    for (std::uint32_t i = 0; i < keys.size(); i += 2)
        table.insert(keys[i], i);
    std::array<std::uint32_t, FlowTable::max_burst> found;
    table.find_burst(std::span(keys).subspan(100, FlowTable::max_burst), found);
    for (std::size_t i = 0; i < FlowTable::max_burst; ++i)
        EXPECT_EQ(found[i], table.find(keys[100 + i]));
}

TEST(TimerWheel, FiresNeverEarlyAndWithinATick) {
    for (std::uint32_t seed = 0; seed < 20; ++seed) {
        std::mt19937_64 random(seed);
        TimerWheel wheel;
        Instant now(1h);
        wheel.collect(now);
        std::map<std::uint32_t, Instant> armed;
        for (std::uint32_t i = 0; i < 500; ++i) {
            const Duration delay(static_cast<std::int64_t>(random() >> (24 + random() % 24)));
            armed[i] = now + delay;
            wheel.arm(i, armed[i]);
        }
        while (!armed.empty()) {
            const auto next = wheel.next();
            ASSERT_TRUE(next);
            now = std::max(now, *next) + Duration(static_cast<std::int64_t>(random() % 3) * 100'000'000);
            for (const std::uint32_t index : wheel.collect(now)) {
                ASSERT_TRUE(armed.contains(index));
                EXPECT_LE(armed[index], now);
                armed.erase(index);
            }
            const Duration tick(1 << TimerWheel::tick_shift);
            for (const auto& [index, deadline] : armed)
                ASSERT_GT(deadline + tick, now) << "seed " << seed << " timer " << index << " is late";
        }
        EXPECT_FALSE(wheel.next());
    }
}

TEST(TimerWheel, OnlyAnEarlierDeadlineMovesATimer) {
    TimerWheel wheel;
    wheel.arm(3, Instant(1s));
    wheel.arm(3, Instant(2s));
    EXPECT_TRUE(wheel.collect(Instant(999ms)).empty());
    EXPECT_EQ(wheel.collect(Instant(1001ms)).size(), 1u);
    wheel.arm(3, Instant(5s));
    wheel.arm(3, Instant(3s));
    EXPECT_EQ(wheel.collect(Instant(3001ms)).size(), 1u);
    EXPECT_TRUE(wheel.collect(Instant(6s)).empty());
}

TEST(TimerWheel, ACancelledTimerStaysSilent) {
    TimerWheel wheel;
    wheel.arm(1, Instant(1s));
    wheel.arm(2, Instant(1s));
    wheel.arm(3, Instant(1s));
    wheel.cancel(2);
    EXPECT_EQ(wheel.collect(Instant(2s)), (std::vector<std::uint32_t>{1, 3}));
}

TEST(TimerWheel, AFarDeadlineFiresEarlierThanNever) {
    TimerWheel wheel;
    const Instant now(1h);
    wheel.collect(now);
    wheel.arm(1, Instant::max() - 1h);
    EXPECT_TRUE(wheel.collect(now + 24h * 6).empty());
    EXPECT_EQ(wheel.collect(now + 24h * 7), std::vector<std::uint32_t>{1});
}

TEST(TimerWheel, WhatIsPassedOverStaysBounded) {
    TimerWheel wheel;
    Instant now(1h);
    const Instant far = now + 2h;
    for (std::uint32_t round = 0; round < 2000; ++round) {
        for (std::uint32_t index = 0; index < 10; ++index) {
            wheel.arm(index, index % 2 == 0 ? far : now + 1h);
            wheel.arm(index, now + 40ms);
        }
        now += 50ms;
        ASSERT_EQ(wheel.collect(now).size(), 10u) << round;
        ASSERT_LE(wheel.entries(), 20 + TimerWheel::passed_over_allowance);
    }
    for (std::uint32_t index = 0; index < 10; ++index)
        wheel.arm(index, far);
    EXPECT_TRUE(wheel.collect(far - 1ms).empty());
    EXPECT_EQ(wheel.collect(far + 1ms).size(), 10u);
    EXPECT_FALSE(wheel.next());
}

}  // namespace
}  // namespace understudy::stack
