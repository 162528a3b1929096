// What the two ends of the heartbeat links say of themselves, in and out of the wire's form.
#pragma once

#include <cstdint>
#include <optional>

#include "failover/evidence.hh"
#include "proto/heartbeat.pb.h"

namespace understudy::failover {

enum class State : std::uint8_t {
    silent,
    suspect,
    fencing,  // the fence command runs; there is no way back (rules.md 16)
    master,
    faulted,  // nothing is decided any more until an operator says so
};
const char* to_string(State state);

struct ReplicaWord {
    // Nothing: one that only a later version knows. It is neither silent nor master for certain.
    std::optional<State> state;
    // A switchover is under way.
    bool wants_silence = false;
    // AgentWord::number of the word that the replica goes by; 0: none.
    std::uint32_t heard_number = 0;

    friend bool operator==(const ReplicaWord&, const ReplicaWord&) = default;
};

// One message's.
struct PeerWords {
    std::optional<AgentWord> agent;
    std::optional<ReplicaWord> replica;
};

proto::v1::AgentState to_message(const AgentWord& word);
proto::v1::ReplicaState to_message(const ReplicaWord& word);
// A service's state that only a later version knows is unknown.
AgentWord from_message(const proto::v1::AgentState& message);
ReplicaWord from_message(const proto::v1::ReplicaState& message);

}  // namespace understudy::failover
