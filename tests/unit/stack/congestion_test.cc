// The round-trip estimator and the congestion control algorithms, alone.
#include <gtest/gtest.h>

#include "stack/congestion_control.hh"
#include "stack/cubic.hh"
#include "stack/hystart.hh"
#include "stack/new_reno.hh"
#include "stack/rtt.hh"

namespace understudy::stack {
namespace {

using namespace std::chrono_literals;

// Samples of segments that follow each other a round trip apart.
class RttTest : public testing::Test {
  protected:
    void sample(Duration rtt) {
        estimator.sample(rtt, Seq(next_ * 1000), Seq(next_ * 1000 + 500), settings);
        ++next_;
    }
    TcpSettings settings;
    RttEstimator estimator{1s};

  private:
    std::uint32_t next_ = 1;
};

TEST_F(RttTest, TheFirstSampleSetsBoth) {  // RFC 6298 2.2
    settings.rto_min = 0ms;
    EXPECT_EQ(estimator.rto(), 1s);
    sample(100ms);
    EXPECT_EQ(estimator.srtt(), 100ms);
    EXPECT_EQ(estimator.rto(), 300ms);
}

TEST_F(RttTest, LaterSamplesMoveItByAnEighthAndAQuarter) {  // RFC 6298 2.3
    settings.rto_min = 0ms;
    sample(100ms);
    sample(200ms);
    EXPECT_EQ(estimator.srtt(), 112500us);
    EXPECT_EQ(estimator.variation(), 62500us);
    EXPECT_EQ(estimator.rto(), 362500us);
}

TEST_F(RttTest, AShorterRoundTripCallsForNoLongerWait) {
    settings.rto_min = 0ms;
    sample(200ms);
    const Duration before = estimator.rto();
    sample(100ms);
    EXPECT_LT(estimator.rto(), before);
}

TEST_F(RttTest, BackOffLastsUntilThereIsASample) {  // RFC 6298 5.5 to 5.7
    sample(100ms);
    EXPECT_EQ(estimator.rto(), 300ms);
    estimator.back_off(settings);
    estimator.back_off(settings);
    EXPECT_EQ(estimator.rto(), 1200ms);
    sample(100ms);
    EXPECT_LE(estimator.rto(), 300ms);
}

TEST_F(RttTest, StaysWithinItsBounds) {
    for (int i = 0; i < 100; ++i)
        sample(1ms);
    EXPECT_EQ(estimator.rto(), settings.rto_min + 1ms);
    for (int i = 0; i < 20; ++i)
        estimator.back_off(settings);
    EXPECT_EQ(estimator.rto(), settings.rto_max);
}

TEST_F(RttTest, RemembersTheShortest) {
    sample(30ms);
    sample(10ms);
    sample(20ms);
    EXPECT_EQ(estimator.min_rtt(), 10ms);
}

CongestionControl::Acknowledgement acknowledgement(std::uint32_t segments, Instant now = Instant(1s)) {
    return {.segments = segments, .min_rtt = 100ms, .now = now};
}

TEST(NewReno, DoublesInSlowStartAndGrowsByASegmentAWindowAfterIt) {
    const NewReno algorithm;
    CongestionState state{.cwnd = 10, .ssthresh = 20};
    for (int i = 0; i < 10; ++i)
        algorithm.on_ack(state, acknowledgement(1));
    EXPECT_EQ(state.cwnd, 20u);
    for (int i = 0; i < 19; ++i)
        algorithm.on_ack(state, acknowledgement(1));
    EXPECT_EQ(state.cwnd, 20u);
    algorithm.on_ack(state, acknowledgement(1));
    EXPECT_EQ(state.cwnd, 21u);
}

TEST(NewReno, WhatSlowStartLeavesCountsAfterIt) {
    const NewReno algorithm;
    CongestionState state{.cwnd = 9, .ssthresh = 10};
    algorithm.on_ack(state, acknowledgement(11));
    EXPECT_EQ(state.cwnd, 11u);
}

TEST(NewReno, HalvesOnLossDownToTwo) {
    const NewReno algorithm;
    CongestionState state{.cwnd = 40};
    EXPECT_EQ(algorithm.on_loss(state), 20u);
    state.cwnd = 3;
    EXPECT_EQ(algorithm.on_loss(state), 2u);
}

// RFC 9438 4.6 and 4.2: back to W_max after K seconds, slowly around it, fast beyond.
TEST(Cubic, ReturnsToTheOldWindowAfterK) {
    const Cubic algorithm;
    CongestionState state{.cwnd = 1000};
    state.ssthresh = algorithm.on_loss(state);
    EXPECT_EQ(state.ssthresh, 700u);
    state.cwnd = state.ssthresh;
    Instant now(1s);
    // K = cbrt(300 / 0.4) = 9.09 s; a window is acknowledged every 100 ms.
    std::uint32_t at_half = 0;
    for (int round = 0; round < 90; ++round, now += 100ms) {
        algorithm.on_ack(state, acknowledgement(state.cwnd, now));
        if (round == 45) at_half = state.cwnd;
    }
    EXPECT_NEAR(state.cwnd, 1000, 15);
    EXPECT_GT(at_half, 940u) << "concave: most of the way in the first half";
    for (int round = 0; round < 90; ++round, now += 100ms)
        algorithm.on_ack(state, acknowledgement(state.cwnd, now));
    EXPECT_GT(state.cwnd, 1200u);
}

TEST(Cubic, IsNoSlowerThanReno) {  // RFC 9438 4.3
    const Cubic cubic;
    CongestionState state{.cwnd = 20};
    state.ssthresh = state.cwnd = cubic.on_loss(state);
    const std::uint32_t after_loss = state.cwnd;
    Instant now(1s);
    for (int round = 0; round < 40; ++round, now += 1ms)
        cubic.on_ack(state, {.segments = state.cwnd, .min_rtt = 1ms, .now = now});
    EXPECT_NEAR(state.cwnd, after_loss + 40 * 0.53, 3) << "but for what the last 31 ms have brought";
}

TEST(Cubic, GrowsByWholeSegmentsOfTheEstimate) {  // RFC 9438 4.3
    const Cubic cubic;
    CongestionState state{.cwnd = 7, .ssthresh = 7, .w_max = 7};
    Instant now(1s);
    int acknowledgements = 0;
    for (; state.cwnd == 7; ++acknowledgements, now += 40ms)
        cubic.on_ack(state, {.segments = 1, .min_rtt = 1ms, .now = now});
    EXPECT_EQ(acknowledgements, 14) << "W_est grows by 0.53 segments in each window of seven";
}

TEST(Cubic, LooksAtTheCurveOnceInThirtyOneMilliseconds) {
    const Cubic cubic;
    CongestionState state{.cwnd = 7, .ssthresh = 7, .w_max = 7};
    const Instant now(1s);
    for (int i = 0; i < 20; ++i)
        cubic.on_ack(state, {.segments = 1, .min_rtt = 1ms, .now = now});
    EXPECT_EQ(state.cwnd, 7u);
    cubic.on_ack(state, {.segments = 1, .min_rtt = 1ms, .now = now + 40ms});
    EXPECT_EQ(state.cwnd, 8u) << "what was acknowledged meanwhile counts";
}

class HyStartTest : public testing::Test {
  protected:
    bool ack(Duration rtt, Duration later, bool paced = false) {
        now_ += later;
        una_ = una_ + 1000;
        return hystart_.on_ack({.rtt = rtt,
                                .min_rtt = 200ms,
                                .cushion = 1ms,
                                .paced = paced,
                                .una = una_,
                                .nxt = end_,
                                .now = now_});
    }
    HyStart hystart_;
    Seq una_{0}, end_{1'000'000};
    Instant now_{1h};
};

TEST_F(HyStartTest, EndsWhenEveryRoundTripOfARoundIsLonger) {
    for (int i = 0; i < 8; ++i)
        EXPECT_FALSE(ack(240ms, 10ms)) << "too few to tell";
    EXPECT_TRUE(ack(240ms, 10ms));
}

TEST_F(HyStartTest, OneShortRoundTripShowsThatNothingQueues) {
    EXPECT_FALSE(ack(205ms, 10ms));
    for (int i = 0; i < 20; ++i)
        EXPECT_FALSE(ack(240ms, 10ms));
}

TEST_F(HyStartTest, AnUnbrokenTrainOfHalfTheRoundTripFillsThePath) {
    for (int ms = 0; ms <= 100; ms += 2)
        ASSERT_FALSE(ack(200ms, ms == 0 ? 0ms : 2ms)) << ms;
    EXPECT_TRUE(ack(200ms, 2ms));
}

TEST_F(HyStartTest, APacedTrainMustBeTwiceAsLong) {
    for (int ms = 0; ms <= 200; ms += 2)
        ASSERT_FALSE(ack(200ms, ms == 0 ? 0ms : 2ms, true)) << ms;
    EXPECT_TRUE(ack(200ms, 2ms, true));
}

TEST_F(HyStartTest, AGapEndsTheTrain) {
    for (int ms = 0; ms < 50; ms += 2)
        ASSERT_FALSE(ack(200ms, 2ms));
    for (int ms = 0; ms < 200; ms += 3)
        EXPECT_FALSE(ack(200ms, 3ms));
}

TEST_F(HyStartTest, ARoundTripBeginsAnew) {
    for (int i = 0; i < 8; ++i)
        EXPECT_FALSE(ack(240ms, 10ms));
    una_ = end_;
    end_ = end_ + 1'000'000;
    for (int i = 0; i < 8; ++i)
        EXPECT_FALSE(ack(240ms, 10ms));
    EXPECT_TRUE(ack(240ms, 10ms));
}

TEST(Cubic, ASecondLossBelowTheFirstGivesWay) {  // RFC 9438 4.7
    const Cubic cubic;
    CongestionState state{.cwnd = 100};
    state.cwnd = cubic.on_loss(state);
    EXPECT_FLOAT_EQ(state.w_max, 100);
    cubic.on_loss(state);
    EXPECT_LT(state.w_max, 70);
}

TEST(Cubic, IdleTimeIsNoTimeOfGrowth) {  // RFC 9438 5.8
    const Cubic cubic;
    const auto grown_after = [&cubic](bool told) {
        CongestionState state{.cwnd = 100};
        state.ssthresh = state.cwnd = cubic.on_loss(state);
        cubic.on_ack(state, acknowledgement(1, Instant(1s)));
        if (told) cubic.on_idle(state, 60s);
        for (int i = 0; i < 70; ++i)
            cubic.on_ack(state, acknowledgement(1, Instant(61s)));
        return state.cwnd;
    };
    EXPECT_LT(grown_after(true), grown_after(false));
}

}  // namespace
}  // namespace understudy::stack
