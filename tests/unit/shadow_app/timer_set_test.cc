#include "shadow_app/timer_set.hh"

#include <gtest/gtest.h>

namespace understudy::shadow_app {
namespace {

constexpr stack::Instant at(int nanoseconds) {
    return stack::Instant(stack::Duration(nanoseconds));
}

TEST(TimerSet, GivesTimersInTheOrderInWhichTheyAreDue) {
    TimerSet timers;
    timers.arm(3, at(30));
    timers.arm(1, at(10));
    timers.arm(2, at(20));
    EXPECT_EQ(timers.next(), at(10));
    EXPECT_EQ(timers.take_due(at(25))->slot, 1u);
    EXPECT_EQ(timers.take_due(at(25))->slot, 2u);
    EXPECT_FALSE(timers.take_due(at(25)));
    EXPECT_EQ(timers.next(), at(30));
}

TEST(TimerSet, TellsWhenTheTimerWasDue) {
    TimerSet timers;
    timers.arm(0, at(10));
    EXPECT_EQ(timers.take_due(at(99))->at, at(10));
    EXPECT_FALSE(timers.next());
}

TEST(TimerSet, ReplacesAndCancels) {
    TimerSet timers;
    timers.arm(5, at(10));
    timers.arm(5, at(50));
    EXPECT_FALSE(timers.take_due(at(49)));
    timers.cancel(5);
    timers.cancel(5);
    timers.cancel(77);
    EXPECT_FALSE(timers.take_due(at(1000)));
}

TEST(TimerSet, OrdersTimersOfOneInstantBySlot) {
    TimerSet timers;
    timers.arm(2, at(10));
    timers.arm(1, at(10));
    EXPECT_EQ(timers.take_due(at(10))->slot, 1u);
    EXPECT_EQ(timers.take_due(at(10))->slot, 2u);
}

}  // namespace
}  // namespace understudy::shadow_app
