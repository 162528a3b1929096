// Who serves: silent → suspect → master as a pure function of events and time (design.md 6, rules.md 13 to
// 16).
//
// The machine suspects the primary when every heartbeat link and the tap are past their deadlines, and
// decides to take over when all of that still holds after the confirmation time and a direct probe went
// unanswered. Any sign of life takes it back from suspect to silent. Nothing but an operator takes it back
// from master.
//
// Silence lasts only as long as somebody listened: each tick says until when every queue that could hold a
// sign of life is known to have been empty.
//
// It also watches itself. tick() is due at least once an interval; time in which this process did not run is
// no observation of silence. A tick that comes late by less than `stall_bound` lengthens the confirmation by
// as much; one that comes later still concludes nothing, and counting starts again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "failover/time.hh"

namespace understudy::failover {

enum class State : std::uint8_t { silent, suspect, master };
const char* to_string(State state);

struct DecisionSettings {
    std::size_t links = 1;
    // A link is silent when nothing was heard on it for interval × misses.
    Duration heartbeat_interval = std::chrono::seconds(1);
    std::uint32_t heartbeat_misses = 3;
    // The tap is silent when it showed no frame of the primary for this long. Nothing: as the links.
    std::optional<Duration> tap_deadline;
    // How long the silence must last after suspect began. It lets the loop read what queued up while this
    // process did not run, before the decision.
    Duration suspect_confirm = std::chrono::milliseconds(1);
    // There is a direct probe of the primary, answered by its kernel. Then silence is a proof only once a
    // probe went unanswered for `probe_wait` (nothing: a third of the heartbeat deadline). It is asked for so
    // early that it delays no decision.
    bool probe = false;
    std::optional<Duration> probe_wait;
    // Never take over from a primary that was never heard on any link: silence of what never spoke is no
    // proof.
    bool require_first_heartbeat = true;
    // A tick later than this after it was due concludes nothing. Nothing: the larger of 50 ms, which
    // scheduling on a shared machine rarely exceeds, and twice the deadline.
    std::optional<Duration> stall_bound;

    Duration heartbeat_deadline() const { return heartbeat_interval * heartbeat_misses; }
    Duration effective_tap_deadline() const { return tap_deadline.value_or(heartbeat_deadline()); }
    Duration effective_stall_bound() const;
    Duration effective_probe_wait() const { return probe_wait.value_or(heartbeat_deadline() / 3); }
};

// Until when everything that arrived is known to the machine.
struct Observed {
    Instant links{};  // heartbeats and answers to probes
    Instant tap{};
};

// One source of signs of life at the instant of a decision.
struct Silence {
    // Nothing: never heard.
    std::optional<Duration> lasted;
    Duration deadline{};
};

enum class Cause : std::uint8_t {
    silence,           // links and tap are past their deadlines
    sign_of_life,      // of the primary, while suspect
    stall,             // this process did not run: its silence proves nothing
    operator_request,  // promote
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
    // operator_request: the operator vouched that the primary does not serve.
    bool forced = false;
    // stall: how late the tick was.
    Duration lateness{};
};
// "links silent for 31.2 ms, never heard (deadline 30.0 ms); tap silent for 40.1 ms (deadline 30.0 ms)"
std::string to_string(const Evidence& evidence);

struct Action {
    enum class Kind : std::uint8_t {
        // Ask the primary's kernel directly; the state stays.
        probe,
        enter_suspect,
        return_to_silent,
        // Decided: fence, drain the taps, promote. The machine is master from here on.
        begin_takeover,
    };
    Kind kind = Kind::enter_suspect;
    Evidence evidence;
};

// Either an action, or why there is none.
struct PromoteAnswer {
    std::optional<Action> action;
    std::string refusal;
};

struct DecisionCounters {
    std::uint64_t suspected = 0;
    std::uint64_t returned_to_silent = 0;
    std::uint64_t probes = 0;
    std::uint64_t probes_answered = 0;
    // Ticks at which only the reading of a queue was behind.
    std::uint64_t waited_for_reading = 0;
    // Ticks later than the stall bound.
    std::uint64_t stalls = 0;
    // Silences that came to nothing because no link had ever spoken; one for each tick that found one.
    std::uint64_t held_without_first_heartbeat = 0;
    std::uint64_t promotions_refused = 0;
};

class DecisionMachine {
  public:
    // Counting starts at `now`. Throws std::invalid_argument with one clear line for settings that cannot
    // work.
    DecisionMachine(const DecisionSettings& settings, Instant now);

    // A sign of life on heartbeat link `link` (0 to links − 1), heard at `at`.
    [[nodiscard]] std::optional<Action> heartbeat(std::size_t link, Instant at);
    // A frame of the primary was on the tap at `at`. It may be reported late and out of order; report the
    // newest before each tick().
    [[nodiscard]] std::optional<Action> primary_on_tap(Instant at);
    // The primary's kernel answered a probe at `at`.
    [[nodiscard]] std::optional<Action> probe_answered(Instant at);
    // Draws what conclusions the time allows, at most one a call. Call it when next_deadline() is due, and
    // again until it returns nothing. `now` never goes back; report all signs of life up to `observed` first.
    [[nodiscard]] std::optional<Action> tick(Instant now, const Observed& observed);
    // Takes over at an operator's word. Refused while a source has shown life within its deadline, unless
    // forced, and once master.
    [[nodiscard]] PromoteAnswer promote(Instant now, bool force);

    // When tick() is due; nothing once master. At most one interval after the last tick.
    std::optional<Instant> next_deadline() const;

    State state() const { return state_; }
    const DecisionSettings& settings() const { return settings_; }
    const DecisionCounters& counters() const { return counters_; }
    // What the machine knows at `now`, whether or not it led to anything.
    Evidence observe(Instant now, Cause cause) const;

  private:
    struct Source {
        // Counting starts here: the last sign of life, or the end of the last stall.
        Instant counted_from;
        std::optional<Instant> heard;
    };

    bool may_decide() const;
    Instant silence_complete() const;
    Instant probe_due() const;
    Instant decision_due() const;
    bool silence_observed(const Observed& observed) const;
    std::optional<Action> wait_for_reading();
    bool note_life(Source& source, Instant at);
    std::optional<Action> life(Source& source, Instant at);
    std::optional<Action> restart_after_stall(Instant now, Duration lateness);
    Action become(State state, Action::Kind kind, Evidence evidence);

    DecisionSettings settings_;
    State state_ = State::silent;
    std::vector<Source> links_;
    Source tap_;
    Source probe_;
    std::optional<Instant> probe_sent_;  // since the last sign of life
    bool waiting_for_reading_ = false;
    Instant last_tick_;
    // Time since the last sign of life in which this process did not run.
    Duration unobserved_{};
    Instant suspect_since_{};
    Instant confirmed_at_{};
    DecisionCounters counters_;
};

}  // namespace understudy::failover
