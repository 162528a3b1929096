#include "failover/words.hh"

namespace understudy::failover {
namespace {

using proto::v1::AgentState;
using proto::v1::ReplicaState;

AgentState::Service service_of(ServiceState state) {
    switch (state) {
        case ServiceState::unknown:
            return AgentState::UNKNOWN;
        case ServiceState::serving:
            return AgentState::SERVING;
        case ServiceState::dead:
            return AgentState::DEAD;
        case ServiceState::no_carrier:
            return AgentState::NO_CARRIER;
        case ServiceState::shutting_down:
            return AgentState::SHUTTING_DOWN;
        case ServiceState::standing_by:
            return AgentState::STANDING_BY;
    }
    return AgentState::UNKNOWN;
}

ServiceState state_of(AgentState::Service service) {
    switch (service) {
        case AgentState::SERVING:
            return ServiceState::serving;
        case AgentState::DEAD:
            return ServiceState::dead;
        case AgentState::NO_CARRIER:
            return ServiceState::no_carrier;
        case AgentState::SHUTTING_DOWN:
            return ServiceState::shutting_down;
        case AgentState::STANDING_BY:
            return ServiceState::standing_by;
        default:
            return ServiceState::unknown;
    }
}

ReplicaState::Mode mode_of(const std::optional<State>& state) {
    if (!state) return ReplicaState::UNKNOWN;
    switch (*state) {
        case State::silent:
            return ReplicaState::SILENT;
        case State::suspect:
            return ReplicaState::SUSPECT;
        case State::fencing:
            return ReplicaState::FENCING;
        case State::master:
            return ReplicaState::MASTER;
        case State::faulted:
            return ReplicaState::FAULTED;
    }
    return ReplicaState::UNKNOWN;
}

std::optional<State> state_of(ReplicaState::Mode mode) {
    switch (mode) {
        case ReplicaState::SILENT:
            return State::silent;
        case ReplicaState::SUSPECT:
            return State::suspect;
        case ReplicaState::FENCING:
            return State::fencing;
        case ReplicaState::MASTER:
            return State::master;
        case ReplicaState::FAULTED:
            return State::faulted;
        default:
            return std::nullopt;
    }
}

}  // namespace

const char* to_string(State state) {
    switch (state) {
        case State::silent:
            return "silent";
        case State::suspect:
            return "suspect";
        case State::fencing:
            return "fencing";
        case State::master:
            return "master";
        case State::faulted:
            return "faulted";
    }
    return "?";
}

AgentState to_message(const AgentWord& word) {
    AgentState message;
    message.set_service(service_of(word.service));
    message.set_silenced(word.silenced);
    message.set_overloaded(word.overloaded);
    message.set_number(word.number);
    return message;
}

ReplicaState to_message(const ReplicaWord& word) {
    ReplicaState message;
    message.set_mode(mode_of(word.state));
    message.set_wants_silence(word.wants_silence);
    message.set_heard_number(word.heard_number);
    return message;
}

AgentWord from_message(const AgentState& message) {
    return {.service = state_of(message.service()),
            .silenced = message.silenced(),
            .overloaded = message.overloaded(),
            .number = message.number()};
}

ReplicaWord from_message(const ReplicaState& message) {
    return {.state = state_of(message.mode()),
            .wants_silence = message.wants_silence(),
            .heard_number = message.heard_number()};
}

}  // namespace understudy::failover
