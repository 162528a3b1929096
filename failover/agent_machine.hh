// What the primary's agent says of the service, and whether the service may speak: a pure function of events and
// time (rules.md 21, 22 and 28).
//
// The service is silenced when its process ends, when its port loses carrier, when the replica is master, when a
// switchover asks for it, and when the host is shut down. It may speak again only once the replica has said, in
// the knowledge of what the agent says now, that it is silent: whoever was silenced and hears nobody stays silent.
#pragma once

#include <cstdint>
#include <optional>

#include "failover/time.hh"
#include "failover/words.hh"

namespace understudy::failover {

struct AgentSettings {
    // The service is silent from the start until the replica is known to be silent, and while no replica is heard
    // for so long. Zero: it speaks at once.
    Duration hold_at_start{};
    // An earlier agent left the service silenced.
    bool found_silenced = false;
    // A replica that was not heard for so long is not handed over to.
    Duration replica_deadline = std::chrono::seconds(3);
    // How long an orderly end waits for the replica to take over, and after that for its word that it will not.
    Duration handover_timeout = std::chrono::seconds(5);
};

class AgentMachine {
  public:
    enum class Handover : std::uint8_t {
        none,
        under_way,
        done,       // the replica serves
        undone,     // the replica is silent, and the service speaks
        uncertain,  // the replica does not say what it does: the service stays silent
    };

    // `first_number` must be unpredictable: the replica tells an earlier agent's words by it.
    AgentMachine(const AgentSettings& settings, std::uint32_t first_number, Instant now);

    void service_lives(bool lives);
    void carrier(bool present);
    void overloaded(bool is) { overloaded_ = is; }
    void replica_says(const ReplicaWord& word, Instant now);
    // Nothing of the service leaves the host any more, or it may again: what wants_silence() asked for was done.
    void silenced(bool is);
    // The host is shut down: the replica is to take over.
    void hand_over(Instant now);
    // Draws what conclusions the time allows; due at next_deadline().
    void tick(Instant now);
    std::optional<Instant> next_deadline() const;

    bool wants_silence() const { return silent_; }
    Handover handover() const { return handover_; }
    // Changes its number whenever it says something else of the service.
    AgentWord word() const;

  private:
    ServiceState service() const;
    bool replica_is_heard(Instant now) const;
    void fall_silent();
    void look_for_leave();
    void renew();

    AgentSettings settings_;
    bool lives_ = true;
    bool carrier_ = true;
    bool overloaded_ = false;
    bool silent_ = false;    // the service must not speak
    bool silenced_ = false;  // and does not
    std::optional<ReplicaWord> replica_;
    std::optional<Instant> replica_at_;
    std::optional<Instant> held_until_;
    Handover handover_ = Handover::none;
    std::optional<Instant> handover_due_;
    bool taking_back_ = false;
    std::uint32_t number_;
    ServiceState said_ = ServiceState::unknown;
    bool said_silenced_ = false;
};

}  // namespace understudy::failover
