// A decision machine, and a loop that ticks it whenever it is due.
#pragma once

#include "failover/decision.hh"

#include <algorithm>
#include <optional>

#include <gtest/gtest.h>

#include "instant.hh"

namespace understudy::failover {

using std::chrono::milliseconds;
using Kind = Action::Kind;

// The lab's setting: 10 ms × 3 misses, so links and tap are silent after 30 ms.
inline constexpr auto interval = milliseconds(10);
inline constexpr auto deadline = milliseconds(30);
inline constexpr auto confirm = milliseconds(1);

inline DecisionSettings lab_settings(std::size_t links = 1) {
    DecisionSettings settings;
    settings.links = links;
    settings.heartbeat_interval = interval;
    settings.heartbeat_misses = 3;
    settings.suspect_confirm = confirm;
    return settings;
}

// Every queue was read to its end at `now`.
inline Observed all(Instant now) {
    return {.links = now, .tap = now};
}

// A machine with a loop that ticks whenever it is due.
class Driven {
  public:
    explicit Driven(const DecisionSettings& settings = lab_settings()) : machine(settings, at(0)) {}

    // Ticks at each due time up to and including `until`; stops at the first action.
    std::optional<Action> run(Instant until) {
        for (int i = 0; i < 10'000; ++i) {
            const auto due = machine.next_deadline();
            if (!due || *due > until) return std::nullopt;
            now = std::max(now, *due);
            auto action = machine.tick(now, look(now));
            if (action && action->kind == Action::Kind::enter_suspect && asks_address) address_asked = now;
            if (action) return action;
        }
        ADD_FAILURE() << "the machine is always due";
        return std::nullopt;
    }

    // The primary lives: a heartbeat on every link and a frame on the tap at each interval.
    void live(Instant from, Instant until) {
        for (Instant t = from; t <= until; t += interval) {
            EXPECT_FALSE(run(t));
            for (std::size_t link = 0; link < machine.settings().links; ++link)
                EXPECT_FALSE(machine.heartbeat(link, t));
            EXPECT_FALSE(machine.primary_on_tap(t));
        }
    }

    void expect(const std::optional<Action>& action, Kind kind, Instant when) {
        ASSERT_TRUE(action);
        EXPECT_EQ(action->kind, kind);
        EXPECT_EQ(action->evidence.at, when);
    }

    DecisionMachine machine;
    Instant now = at(0);
    // What a tick finds, beside queues that were read to their end.
    bool carrier = true;
    bool settled = true;
    // The question for the primary's address leaves as soon as it is due.
    bool asks_address = true;
    std::optional<Instant> address_asked;
    std::optional<Instant> unanswered_since;

  private:
    Observed look(Instant at) const {
        Observed observed = all(at);
        observed.carrier = carrier;
        if (settled) observed.settled = at;
        observed.address_asked = address_asked;
        observed.unanswered_since = unanswered_since;
        return observed;
    }
};

}  // namespace understudy::failover
