#include "decision_harness.hh"

#include <stdexcept>

#include <gtest/gtest.h>

namespace understudy::failover {
namespace {

TEST(DecisionSilent, StaysSilentWhileThePrimaryLives) {
    Driven driven;
    driven.live(at(0), at(10'000));
    EXPECT_EQ(driven.machine.state(), State::silent);
    EXPECT_EQ(driven.machine.counters().suspected, 0u);
}

TEST(DecisionSilent, SuspectsWhenLinkAndTapArePastTheirDeadlines) {
    Driven driven;
    driven.live(at(0), at(100));
    EXPECT_FALSE(driven.run(at(129)));
    driven.expect(driven.run(at(200)), Kind::enter_suspect, at(130));
    EXPECT_EQ(driven.machine.state(), State::suspect);
}

TEST(DecisionSilent, HeartbeatsAloneKeepItSilent) {
    Driven driven;
    driven.live(at(0), at(100));
    for (int ms = 110; ms < 1000; ms += 25) {
        EXPECT_FALSE(driven.run(at(ms)));
        EXPECT_FALSE(driven.machine.heartbeat(0, at(ms)));
    }
    EXPECT_EQ(driven.machine.state(), State::silent);
}

TEST(DecisionSilent, FramesOfThePrimaryAloneKeepItSilent) {
    Driven driven;
    driven.live(at(0), at(100));
    for (int ms = 110; ms < 1000; ms += 25) {
        EXPECT_FALSE(driven.machine.primary_on_tap(at(ms)));
        EXPECT_FALSE(driven.run(at(ms)));
    }
    EXPECT_EQ(driven.machine.state(), State::silent);
}

TEST(DecisionSilent, OneLinkOfSeveralKeepsItSilent) {
    Driven driven(lab_settings(3));
    driven.live(at(0), at(100));
    for (int ms = 110; ms < 1000; ms += 25) {
        EXPECT_FALSE(driven.run(at(ms)));
        EXPECT_FALSE(driven.machine.heartbeat(2, at(ms)));
    }
    driven.expect(driven.run(at(2000)), Kind::enter_suspect, at(985) + deadline);
}

TEST(DecisionSilent, TapHasItsOwnDeadline) {
    auto settings = lab_settings();
    settings.tap_deadline = milliseconds(500);
    Driven driven(settings);
    driven.live(at(0), at(100));
    driven.expect(driven.run(at(2000)), Kind::enter_suspect, at(600));
}

TEST(DecisionSilent, PrimaryThatNeverSpokeIsNotTakenOverFrom) {
    Driven driven;
    EXPECT_FALSE(driven.run(at(60'000)));
    EXPECT_EQ(driven.machine.state(), State::silent);
    EXPECT_GT(driven.machine.counters().held_without_first_heartbeat, 0u);
}

TEST(DecisionSilent, FramesOnTheTapAreNoFirstHeartbeat) {
    Driven driven;
    EXPECT_FALSE(driven.machine.primary_on_tap(at(5)));
    EXPECT_FALSE(driven.run(at(60'000)));
}

TEST(DecisionSilent, HoldEndsWithTheFirstHeartbeat) {
    Driven driven;
    EXPECT_FALSE(driven.run(at(1000)));
    EXPECT_FALSE(driven.machine.heartbeat(0, at(1005)));
    driven.expect(driven.run(at(2000)), Kind::enter_suspect, at(1035));
}

TEST(DecisionSilent, FirstHeartbeatOnAnyLinkEndsTheHold) {
    Driven driven(lab_settings(2));
    EXPECT_FALSE(driven.machine.heartbeat(1, at(5)));
    driven.expect(driven.run(at(2000)), Kind::enter_suspect, at(35));
}

TEST(DecisionSilent, HoldCanBeSwitchedOff) {
    auto settings = lab_settings();
    settings.require_first_heartbeat = false;
    Driven driven(settings);
    driven.expect(driven.run(at(2000)), Kind::enter_suspect, at(30));
}

TEST(DecisionSilent, LateReportOfAnEarlyFrameChangesNothing) {
    Driven driven;
    driven.live(at(0), at(100));
    EXPECT_FALSE(driven.machine.primary_on_tap(at(40)));
    driven.expect(driven.run(at(2000)), Kind::enter_suspect, at(130));
}

TEST(DecisionSuspect, TakesOverWhenTheSilenceIsConfirmed) {
    Driven driven;
    driven.live(at(0), at(100));
    driven.expect(driven.run(at(200)), Kind::enter_suspect, at(130));
    driven.expect(driven.run(at(200)), Kind::begin_takeover, at(131));
    EXPECT_EQ(driven.machine.state(), State::master);
}

TEST(DecisionSuspect, WithoutConfirmationTakesOverAtOnceInTwoSteps) {
    auto settings = lab_settings();
    settings.suspect_confirm = Duration::zero();
    Driven driven(settings);
    driven.live(at(0), at(100));
    driven.expect(driven.run(at(130)), Kind::enter_suspect, at(130));
    EXPECT_EQ(driven.machine.next_deadline(), at(130));
    driven.expect(driven.run(at(130)), Kind::begin_takeover, at(130));
}

TEST(DecisionSuspect, LongConfirmationIsKept) {
    auto settings = lab_settings();
    settings.suspect_confirm = milliseconds(500);
    Driven driven(settings);
    driven.live(at(0), at(100));
    driven.expect(driven.run(at(200)), Kind::enter_suspect, at(130));
    driven.expect(driven.run(at(2000)), Kind::begin_takeover, at(630));
}

TEST(DecisionSuspect, HeartbeatTakesItBack) {
    Driven driven(lab_settings(2));
    driven.live(at(0), at(100));
    driven.expect(driven.run(at(130)), Kind::enter_suspect, at(130));
    const auto action = driven.machine.heartbeat(1, Instant(std::chrono::microseconds(130'500)));
    ASSERT_TRUE(action);
    EXPECT_EQ(action->kind, Kind::return_to_silent);
    EXPECT_EQ(action->evidence.cause, Cause::sign_of_life);
    EXPECT_EQ(driven.machine.state(), State::silent);
    EXPECT_EQ(driven.machine.counters().returned_to_silent, 1u);
}

TEST(DecisionSuspect, FrameOfThePrimaryTakesItBack) {
    Driven driven;
    driven.live(at(0), at(100));
    driven.expect(driven.run(at(130)), Kind::enter_suspect, at(130));
    driven.expect(driven.machine.primary_on_tap(at(131)), Kind::return_to_silent, at(131));
}

TEST(DecisionSuspect, LateReportFromBeforeTheSuspicionTakesItBackIfTheSilenceWasNotComplete) {
    Driven driven;
    driven.live(at(0), at(100));
    driven.expect(driven.run(at(130)), Kind::enter_suspect, at(130));
    driven.expect(driven.machine.primary_on_tap(at(125)), Kind::return_to_silent, at(125));
    driven.expect(driven.run(at(1000)), Kind::enter_suspect, at(155));
}

TEST(DecisionSuspect, CanSuspectAndReturnAgainAndAgain) {
    Driven driven;
    driven.live(at(0), at(0));
    for (int i = 0; i < 100; ++i) {
        driven.expect(driven.run(at(31 * i + 30)), Kind::enter_suspect, at(31 * i + 30));
        driven.expect(driven.machine.heartbeat(0, at(31 * i + 31)), Kind::return_to_silent, at(31 * i + 31));
    }
    EXPECT_EQ(driven.machine.counters().suspected, 100u);
    EXPECT_EQ(driven.machine.counters().returned_to_silent, 100u);
    EXPECT_EQ(driven.machine.state(), State::silent);
}

TEST(DecisionMaster, NothingBringsItBack) {
    Driven driven;
    driven.live(at(0), at(100));
    EXPECT_TRUE(driven.run(at(130)));
    EXPECT_TRUE(driven.run(at(131)));
    EXPECT_FALSE(driven.machine.heartbeat(0, at(140)));
    EXPECT_FALSE(driven.machine.primary_on_tap(at(140)));
    EXPECT_FALSE(driven.machine.tick(at(100'000), all(at(100'000))));
    EXPECT_EQ(driven.machine.state(), State::master);
    EXPECT_EQ(driven.machine.next_deadline(), std::nullopt);
}

TEST(DecisionEvidence, SaysHowLongEachSourceWasSilent) {
    Driven driven(lab_settings(2));
    EXPECT_FALSE(driven.machine.heartbeat(0, at(5)));
    EXPECT_FALSE(driven.machine.primary_on_tap(at(7)));
    EXPECT_TRUE(driven.run(at(1000)));
    const auto action = driven.run(at(1000));
    ASSERT_TRUE(action);
    const Evidence& evidence = action->evidence;
    EXPECT_EQ(evidence.cause, Cause::silence);
    ASSERT_EQ(evidence.links.size(), 2u);
    EXPECT_EQ(evidence.links[0].lasted, milliseconds(33));
    EXPECT_EQ(evidence.links[1].lasted, std::nullopt);
    EXPECT_EQ(evidence.tap.lasted, milliseconds(31));
    EXPECT_EQ(to_string(evidence),
              "silence: links silent for 33.0 ms, never heard (deadline 30.0 ms); tap silent for 31.0 ms "
              "(deadline 30.0 ms)");
}

TEST(DecisionPromote, RefusedWhileALinkIsAlive) {
    Driven driven;
    EXPECT_FALSE(driven.machine.heartbeat(0, at(100)));
    const OperatorAnswer answer = driven.machine.promote(at(129), false);
    EXPECT_FALSE(answer.action);
    EXPECT_NE(answer.refusal.find("--force"), std::string::npos) << answer.refusal;
    EXPECT_EQ(driven.machine.state(), State::silent);
    EXPECT_EQ(driven.machine.counters().operator_refused, 1u);
}

TEST(DecisionPromote, RefusedWhileTheTapShowsThePrimary) {
    Driven driven;
    EXPECT_FALSE(driven.machine.primary_on_tap(at(100)));
    EXPECT_FALSE(driven.machine.promote(at(129), false).action);
}

TEST(DecisionPromote, DoneWhenNothingIsAlive) {
    Driven driven;
    EXPECT_FALSE(driven.machine.heartbeat(0, at(100)));
    const OperatorAnswer answer = driven.machine.promote(at(130), false);
    driven.expect(answer.action, Kind::begin_takeover, at(130));
    EXPECT_EQ(answer.action->evidence.cause, Cause::operator_request);
    EXPECT_FALSE(answer.action->evidence.forced);
    EXPECT_EQ(driven.machine.state(), State::master);
}

TEST(DecisionPromote, DoneWithoutAnyFirstHeartbeat) {
    Driven driven;
    EXPECT_TRUE(driven.machine.promote(at(1), false).action);
}

TEST(DecisionPromote, ForcedWhileThePrimaryLives) {
    Driven driven;
    driven.live(at(0), at(100));
    const OperatorAnswer answer = driven.machine.promote(at(101), true);
    ASSERT_TRUE(answer.action);
    EXPECT_TRUE(answer.action->evidence.forced);
}

TEST(DecisionPromote, RefusedOnceMaster) {
    Driven driven;
    EXPECT_TRUE(driven.machine.promote(at(1), true).action);
    const OperatorAnswer again = driven.machine.promote(at(2), true);
    EXPECT_FALSE(again.action);
    EXPECT_FALSE(again.refusal.empty());
}

// A loop that was held up for `lateness` when the tick of at(130) was due: every source fell silent at 100.
class DecisionStall : public testing::Test {
  protected:
    std::optional<Action> tick_late_by(Duration lateness) {
        driven.live(at(0), at(100));
        EXPECT_FALSE(driven.run(at(129)));
        EXPECT_EQ(driven.machine.next_deadline(), at(130));
        driven.now = at(130) + lateness;
        return driven.machine.tick(driven.now, all(driven.now));
    }
    Driven driven;
};

TEST_F(DecisionStall, DefaultBoundFollowsTheDeadline) {
    EXPECT_EQ(lab_settings().effective_stall_bound(), milliseconds(60));
    auto settings = lab_settings();
    settings.heartbeat_misses = 2;
    EXPECT_EQ(settings.effective_stall_bound(), milliseconds(50));
    settings.stall_bound = milliseconds(7);
    EXPECT_EQ(settings.effective_stall_bound(), milliseconds(7));
}

TEST_F(DecisionStall, ShortOneIsMadeUpForInTheConfirmation) {
    driven.expect(tick_late_by(milliseconds(20)), Kind::enter_suspect, at(150));
    driven.expect(driven.run(at(1000)), Kind::begin_takeover, at(150) + confirm + milliseconds(20));
}

TEST_F(DecisionStall, WhatWasMissedMeanwhileTakesItBack) {
    driven.expect(tick_late_by(milliseconds(20)), Kind::enter_suspect, at(150));
    driven.expect(driven.machine.heartbeat(0, at(151)), Kind::return_to_silent, at(151));
    // Life was seen: nothing is left to make up for.
    driven.expect(driven.run(at(1000)), Kind::enter_suspect, at(181));
    driven.expect(driven.run(at(1000)), Kind::begin_takeover, at(181) + confirm);
}

TEST_F(DecisionStall, ShortOnesAddUpToOneDeadlineAtMost) {
    driven.live(at(0), at(100));
    // Every tick comes 50 ms late.
    std::optional<Action> action;
    while (!action) {
        driven.now = *driven.machine.next_deadline() + milliseconds(50);
        action = driven.machine.tick(driven.now, all(driven.now));
    }
    EXPECT_EQ(action->kind, Kind::enter_suspect);
    driven.expect(driven.run(at(1000)), Kind::begin_takeover, driven.now);
    EXPECT_EQ(driven.now - action->evidence.at, confirm + deadline);
}

TEST_F(DecisionStall, AtTheBoundItStillConcludes) {
    driven.expect(tick_late_by(milliseconds(60)), Kind::enter_suspect, at(190));
    EXPECT_EQ(driven.machine.counters().stalls, 0u);
}

TEST_F(DecisionStall, BeyondTheBoundCountingStartsAgain) {
    EXPECT_FALSE(tick_late_by(milliseconds(61)));
    EXPECT_EQ(driven.machine.state(), State::silent);
    EXPECT_EQ(driven.machine.counters().stalls, 1u);
    driven.expect(driven.run(at(1000)), Kind::enter_suspect, at(191) + deadline);
    driven.expect(driven.run(at(1000)), Kind::begin_takeover, at(191) + deadline + confirm);
}

TEST_F(DecisionStall, EvidenceTellsTheWholeSilence) {
    EXPECT_FALSE(tick_late_by(milliseconds(61)));
    const auto action = driven.run(at(1000));
    ASSERT_TRUE(action);
    EXPECT_EQ(action->evidence.links[0].lasted, milliseconds(121));
}

TEST_F(DecisionStall, WhileSuspectItReturnsToSilent) {
    driven.expect(tick_late_by(Duration::zero()), Kind::enter_suspect, at(130));
    driven.now = at(500);
    const auto action = driven.machine.tick(driven.now, all(driven.now));
    driven.expect(action, Kind::return_to_silent, at(500));
    EXPECT_EQ(action->evidence.cause, Cause::stall);
    EXPECT_EQ(action->evidence.lateness, at(500) - at(131));
    driven.expect(driven.run(at(1000)), Kind::enter_suspect, at(530));
}

TEST_F(DecisionStall, IsSeenBeforeTheDeadlineToo) {
    // The loop stands still from 100 on; at 129, before the silence is complete, it goes on.
    driven.live(at(0), at(100));
    EXPECT_FALSE(driven.machine.tick(at(129), all(at(129))));
    driven.now = at(129);
    driven.expect(driven.run(at(1000)), Kind::enter_suspect, at(130));
    driven.expect(driven.run(at(1000)), Kind::begin_takeover, at(130) + confirm + milliseconds(19));
}

// Silent since 100; the queues are read to the end but for what the test holds back.
class DecisionReading : public testing::Test {
  protected:
    DecisionReading() { driven.live(at(0), at(100)); }
    std::optional<Action> tick(Instant now, Observed observed) {
        driven.now = now;
        return driven.machine.tick(now, observed);
    }
    Driven driven;
};

TEST_F(DecisionReading, ATapThatNobodyReadsIsNotSilent) {
    EXPECT_FALSE(driven.run(at(129)));
    EXPECT_FALSE(tick(at(130), {.links = at(130), .tap = at(129)}));
    EXPECT_EQ(driven.machine.state(), State::silent);
    EXPECT_EQ(driven.machine.counters().waited_for_reading, 1u);
    driven.expect(tick(at(131), {.links = at(131), .tap = at(130)}), Kind::enter_suspect, at(131));
}

TEST_F(DecisionReading, LinksThatNobodyReadAreNotSilent) {
    EXPECT_FALSE(driven.run(at(129)));
    EXPECT_FALSE(tick(at(130), {.links = at(129), .tap = at(130)}));
    driven.expect(tick(at(131), {.links = at(130), .tap = at(131)}), Kind::enter_suspect, at(131));
}

TEST_F(DecisionReading, ASuspectIsNotReplacedBeforeTheQueuesWereReadAgain) {
    driven.expect(driven.run(at(130)), Kind::enter_suspect, at(130));
    EXPECT_FALSE(tick(at(131), {.links = at(131), .tap = at(130)}));
    EXPECT_FALSE(tick(at(132), {.links = at(130), .tap = at(132)}));
    EXPECT_EQ(driven.machine.state(), State::suspect);
    driven.expect(tick(at(133), {.links = at(131), .tap = at(131)}), Kind::begin_takeover, at(133));
}

TEST_F(DecisionReading, WhatIsReadLateTakesItBack) {
    driven.expect(driven.run(at(130)), Kind::enter_suspect, at(130));
    EXPECT_FALSE(tick(at(131), {.links = at(131), .tap = at(130)}));
    driven.expect(driven.machine.primary_on_tap(at(128)), Kind::return_to_silent, at(128));
}

TEST_F(DecisionReading, IsLookedAfterSoon) {
    EXPECT_FALSE(driven.run(at(129)));
    EXPECT_FALSE(tick(at(130), {.links = at(130), .tap = at(129)}));
    EXPECT_LT(*driven.machine.next_deadline(), at(131));
    EXPECT_GT(*driven.machine.next_deadline(), at(130));
}

// With a probe: silent since 100, asked at 120, decided at 131.
class DecisionProbe : public testing::Test {
  protected:
    static DecisionSettings settings() {
        DecisionSettings settings = lab_settings();
        settings.probe = true;
        return settings;
    }
    DecisionProbe() { driven.live(at(0), at(100)); }
    Driven driven{settings()};
};

TEST_F(DecisionProbe, DelaysNoDecision) {
    driven.expect(driven.run(at(1000)), Kind::probe, at(120));
    EXPECT_EQ(driven.machine.state(), State::silent);
    driven.expect(driven.run(at(1000)), Kind::enter_suspect, at(130));
    const auto decision = driven.run(at(1000));
    driven.expect(decision, Kind::begin_takeover, at(131));
    EXPECT_EQ(decision->evidence.unanswered_probe, milliseconds(11));
    EXPECT_NE(to_string(decision->evidence).find("probe unanswered for 11.0 ms"), std::string::npos);
}

TEST_F(DecisionProbe, AnAnswerHoldsTheDecision) {
    driven.expect(driven.run(at(1000)), Kind::probe, at(120));
    EXPECT_FALSE(driven.machine.probe_answered(at(121)));
    EXPECT_EQ(driven.machine.counters().probes_answered, 1u);
    driven.expect(driven.run(at(1000)), Kind::probe, at(141));
    driven.expect(driven.run(at(1000)), Kind::enter_suspect, at(151));
    driven.expect(driven.run(at(1000)), Kind::begin_takeover, at(152));
}

TEST_F(DecisionProbe, AnAnswerTakesItBackFromSuspect) {
    EXPECT_TRUE(driven.run(at(125)));
    driven.expect(driven.run(at(130)), Kind::enter_suspect, at(130));
    driven.expect(driven.machine.probe_answered(at(130) + confirm / 2), Kind::return_to_silent,
                  at(130) + confirm / 2);
}

TEST_F(DecisionProbe, AsksAgainWhileAKernelWithoutAgentAnswers) {
    for (int i = 0; i < 100; ++i) {
        const auto action = driven.run(at(100'000));
        ASSERT_TRUE(action);
        ASSERT_EQ(action->kind, Kind::probe);
        EXPECT_FALSE(driven.machine.probe_answered(action->evidence.at + milliseconds(1)));
    }
    EXPECT_EQ(driven.machine.state(), State::silent);
}

TEST_F(DecisionProbe, IsWaitedForInFullWhenItWasSentLate) {
    EXPECT_FALSE(driven.run(at(119)));
    driven.now = at(140);
    const auto late = driven.machine.tick(driven.now, all(driven.now));
    driven.expect(late, Kind::probe, at(140));
    driven.expect(driven.run(at(1000)), Kind::enter_suspect, at(140));
    const auto decision = driven.run(at(1000));
    ASSERT_TRUE(decision);
    EXPECT_EQ(decision->kind, Kind::begin_takeover);
    EXPECT_GE(*decision->evidence.unanswered_probe, settings().effective_probe_wait());
}

TEST_F(DecisionProbe, IsNotSentToAPrimaryThatNeverSpoke) {
    Driven fresh(settings());
    EXPECT_FALSE(fresh.run(at(1000)));
    EXPECT_EQ(fresh.machine.counters().probes, 0u);
}

TEST(DecisionDeadline, IsNeverLaterThanOneInterval) {
    auto settings = lab_settings();
    settings.heartbeat_misses = 1000;
    Driven driven(settings);
    EXPECT_EQ(driven.machine.next_deadline(), at(10));
    EXPECT_FALSE(driven.machine.tick(at(10), all(at(10))));
    EXPECT_EQ(driven.machine.next_deadline(), at(20));
}

TEST(DecisionDeadline, EarlyTickDoesNothing) {
    Driven driven;
    driven.live(at(0), at(100));
    EXPECT_FALSE(driven.machine.tick(at(129), all(at(129))));
    EXPECT_EQ(driven.machine.state(), State::silent);
}

TEST(DecisionSettingsCheck, RefusesWhatCannotWork) {
    const auto refused = [](auto change) {
        auto settings = lab_settings();
        change(settings);
        EXPECT_THROW(DecisionMachine(settings, at(0)), std::invalid_argument);
    };
    refused([](DecisionSettings& s) { s.links = 0; });
    refused([](DecisionSettings& s) { s.heartbeat_interval = Duration::zero(); });
    refused([](DecisionSettings& s) { s.heartbeat_interval = std::chrono::hours(2); });
    refused([](DecisionSettings& s) { s.heartbeat_misses = 0; });
    refused([](DecisionSettings& s) { s.heartbeat_misses = 1001; });
    refused([](DecisionSettings& s) { s.tap_deadline = Duration::zero(); });
    refused([](DecisionSettings& s) { s.suspect_confirm = milliseconds(-1); });
    refused([](DecisionSettings& s) { s.stall_bound = Duration::zero(); });
}

TEST(DecisionInput, UnknownLinkIsAnError) {
    Driven driven(lab_settings(2));
    EXPECT_THROW((void)driven.machine.heartbeat(2, at(1)), std::out_of_range);
}

}  // namespace
}  // namespace understudy::failover
