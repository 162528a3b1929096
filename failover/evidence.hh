// What a decision rests on: who was silent for how long, what the agent said, and what went unanswered. A
// post-mortem needs no other source.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "failover/time.hh"

namespace understudy::failover {

// One source of signs of life at the instant of a decision.
struct Silence {
    // Nothing: never heard.
    std::optional<Duration> lasted;
    Duration deadline{};
};

// The state of the primary's service in the agent's own word.
enum class ServiceState : std::uint8_t {
    unknown,        // the agent does not watch it
    serving,        // it runs
    dead,           // its process is gone
    no_carrier,     // its port is cut off
    shutting_down,  // an operator stops the host, or asks for a switchover
    standing_by,    // it must not speak, for the replica may serve
};
const char* to_string(ServiceState state);

struct AgentWord {
    ServiceState service = ServiceState::unknown;
    // The agent lets nothing of the service out any more, address resolution included.
    bool silenced = false;
    // The host is too busy for its silence to mean anything.
    bool overloaded = false;

    // Tells this word from others of the same agent; 0: none.
    std::uint32_t number = 0;

    // Sufficient alone (rules.md 13 b).
    bool gives_up() const {
        return silenced && (service == ServiceState::dead || service == ServiceState::no_carrier ||
                            service == ServiceState::shutting_down);
    }
    friend bool operator==(const AgentWord&, const AgentWord&) = default;
};
// "no carrier, silenced"
std::string to_string(const AgentWord& word);

enum class Cause : std::uint8_t {
    silence,           // links and tap are past their deadlines, and a probe went unanswered
    sign_of_life,      // of the primary, while suspect
    stall,             // this process did not run: its silence proves nothing
    agent_word,        // the agent says that the service is dead, and that it has silenced it
    service_hang,      // requests stay unanswered while the agent is silent
    switchover,        // asked for, and the primary's service is silenced
    veto,              // the primary spoke after the takeover
    operator_request,  // promote, demote, maintenance
};
const char* to_string(Cause cause);

// Why the machine did what it did.
struct Evidence {
    Cause cause = Cause::silence;
    Instant at{};
    std::vector<Silence> links;
    Silence tap;
    // Since the probe that is unanswered; nothing: none was sent.
    std::optional<Duration> unanswered_probe;
    // Since the oldest request that the primary has not answered; nothing: none waits.
    std::optional<Duration> unanswered_request;
    // What the agent said last; nothing: no word of the service so far.
    std::optional<AgentWord> agent;
    // operator_request: the operator vouched that the primary does not serve.
    bool forced = false;
    // A fence command confirmed that the primary is off.
    bool fenced = false;
    // stall: how late the tick was.
    Duration lateness{};
};
// "silence: links silent for 31.2 ms, never heard (deadline 30.0 ms); tap silent for 40.1 ms (deadline 30.0
// ms)"
std::string to_string(const Evidence& evidence);

}  // namespace understudy::failover
