#include "failover/agent_machine.hh"

#include <gtest/gtest.h>

#include "instant.hh"

namespace understudy::failover {
namespace {

using std::chrono::milliseconds;
using Handover = AgentMachine::Handover;

// An agent whose host does at once what it wants, and a replica that hears at once what it says.
class Agent : public testing::Test {
  protected:
    void obey() { machine.silenced(machine.wants_silence()); }
    void hear(State state, bool wants_silence = false) {
        machine.replica_says(
            {.state = state, .wants_silence = wants_silence, .heard_number = machine.word().number}, now);
        obey();
    }
    void expect(ServiceState service, bool silenced) const {
        EXPECT_EQ(machine.word().service, service);
        EXPECT_EQ(machine.word().silenced, silenced);
        EXPECT_EQ(machine.wants_silence(), silenced);
    }

    Instant now = at(0);
    AgentMachine machine{{}, 100, at(0)};
};

TEST_F(Agent, LeavesTheServiceAloneWhileNothingFails) {
    expect(ServiceState::serving, false);
    hear(State::silent);
    hear(State::suspect);
    hear(State::fencing);
    expect(ServiceState::serving, false);
    EXPECT_FALSE(machine.next_deadline());
}

TEST_F(Agent, SilencesADeadServiceAndGivesUpOnlyOnceItIsSilenced) {
    hear(State::silent);
    const auto number = machine.word().number;
    machine.service_lives(false);
    EXPECT_FALSE(machine.word().gives_up());
    EXPECT_NE(machine.word().number, number);
    obey();
    expect(ServiceState::dead, true);
    EXPECT_TRUE(machine.word().gives_up());
}

TEST_F(Agent, WithoutAReplicaADeadServicesClientsLearnOfIt) {
    machine.service_lives(false);
    obey();
    expect(ServiceState::dead, false);
}

TEST_F(Agent, SpeaksAgainOnlyOnceTheReplicaSaysInKnowledgeThatItIsSilent) {
    hear(State::silent);
    machine.carrier(false);
    obey();
    expect(ServiceState::no_carrier, true);
    const auto before = machine.word().number;
    machine.carrier(true);
    obey();
    expect(ServiceState::standing_by, true);
    EXPECT_FALSE(machine.word().gives_up());
    machine.replica_says({.state = State::silent, .wants_silence = false, .heard_number = before}, now);
    EXPECT_TRUE(machine.wants_silence()) << "it may be about to take over on the earlier word";
    hear(State::suspect);
    expect(ServiceState::standing_by, true);
    hear(State::silent);
    expect(ServiceState::serving, false);
}

TEST_F(Agent, StandsByWhileTheReplicaServes) {
    hear(State::master);
    expect(ServiceState::standing_by, true);
    hear(State::faulted);
    expect(ServiceState::standing_by, true);
    machine.replica_says({.state = std::nullopt, .wants_silence = false, .heard_number = machine.word().number},
                         now);
    expect(ServiceState::standing_by, true);
    hear(State::silent);
    expect(ServiceState::serving, false);
}

TEST_F(Agent, AServiceThatComesBackUnderAMasterStandsBy) {
    hear(State::silent);
    machine.service_lives(false);
    obey();
    hear(State::master);
    machine.service_lives(true);
    obey();
    expect(ServiceState::standing_by, true);
}

TEST_F(Agent, ASilenceThatCouldNotBeMadeIsNotClaimed) {
    hear(State::silent);
    machine.carrier(false);
    machine.silenced(false);
    EXPECT_TRUE(machine.wants_silence());
    EXPECT_FALSE(machine.word().gives_up());
}

TEST_F(Agent, ASwitchoverSilencesAndItsEndGivesTheServiceBack) {
    hear(State::silent, true);
    expect(ServiceState::standing_by, true);
    hear(State::silent, true);
    expect(ServiceState::standing_by, true);
    hear(State::silent);
    expect(ServiceState::serving, false);
}

TEST_F(Agent, AStartMayBeHeldUntilTheReplicaIsKnownToBeSilent) {
    machine = AgentMachine({.hold_at_start = milliseconds(500)}, 100, at(0));
    obey();
    expect(ServiceState::standing_by, true);
    EXPECT_EQ(machine.next_deadline(), at(500));
    machine.tick(at(499));
    expect(ServiceState::standing_by, true);
    hear(State::silent);
    expect(ServiceState::serving, false);
    EXPECT_FALSE(machine.next_deadline());
}

TEST_F(Agent, AHeldStartEndsWhereNoReplicaIsHeard) {
    machine = AgentMachine({.hold_at_start = milliseconds(500)}, 100, at(0));
    obey();
    machine.tick(at(500));
    obey();
    expect(ServiceState::serving, false);
}

TEST_F(Agent, AHeldStartDoesNotEndWhileTheReplicaServes) {
    machine = AgentMachine({.hold_at_start = milliseconds(500)}, 100, at(0));
    obey();
    hear(State::master);
    machine.tick(at(10'000));
    expect(ServiceState::standing_by, true);
}

TEST_F(Agent, WhatAnEarlierAgentSilencedStaysSoUntilTheReplicaSpeaks) {
    machine = AgentMachine({.found_silenced = true}, 100, at(0));
    machine.tick(at(1'000'000));
    obey();
    expect(ServiceState::standing_by, true);
    hear(State::silent);
    expect(ServiceState::serving, false);
}

TEST_F(Agent, AnOrderlyEndWaitsForTheReplicaToServe) {
    hear(State::silent);
    machine.hand_over(at(10));
    obey();
    expect(ServiceState::shutting_down, true);
    EXPECT_TRUE(machine.word().gives_up());
    hear(State::silent);
    EXPECT_EQ(machine.handover(), Handover::under_way);
    hear(State::master);
    EXPECT_EQ(machine.handover(), Handover::done);
    EXPECT_TRUE(machine.wants_silence());
}

TEST_F(Agent, AnOrderlyEndThatTheReplicaDoesNotTakeUpIsUndone) {
    hear(State::silent);
    machine.hand_over(at(10));
    obey();
    machine.tick(at(5010));
    obey();
    expect(ServiceState::standing_by, true);
    EXPECT_EQ(machine.handover(), Handover::under_way);
    hear(State::silent);
    expect(ServiceState::serving, false);
    EXPECT_EQ(machine.handover(), Handover::undone);
}

TEST_F(Agent, AnOrderlyEndWithoutAnAnswerStaysSilent) {
    hear(State::silent);
    machine.hand_over(at(10));
    obey();
    machine.tick(at(5010));
    machine.tick(at(10'010));
    EXPECT_EQ(machine.handover(), Handover::uncertain);
    EXPECT_TRUE(machine.wants_silence());
    EXPECT_FALSE(machine.next_deadline());
}

TEST_F(Agent, AnOrderlyEndWithoutAReplicaChangesNothing) {
    hear(State::silent);
    machine.hand_over(at(60'000));
    obey();
    expect(ServiceState::serving, false);
    EXPECT_EQ(machine.handover(), Handover::undone);
}

TEST_F(Agent, EachChangeOfItsWordHasANumberOfItsOwn) {
    const auto first = machine.word().number;
    hear(State::silent);
    EXPECT_EQ(machine.word().number, first);
    machine.overloaded(true);
    EXPECT_EQ(machine.word().number, first) << "who is overloaded says nothing of the service";
    hear(State::master);
    EXPECT_NE(machine.word().number, first);
}

}  // namespace
}  // namespace understudy::failover
