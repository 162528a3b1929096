// Who serves: silent → suspect → fencing → master as a pure function of events and time (design.md 6, rules.md
// 13 to 19 and 22).
//
// Three proofs of death are sufficient (rules.md 13):
//  a. silence: every heartbeat link and the tap are past their deadlines, all of that still holds after the
//     confirmation time, and a direct probe went unanswered;
//  b. the agent's word that the service is dead and that it has silenced it;
//  c. a hung service: requests stay unanswered for `service_hang` while every link is silent. Only with a
//     fence that succeeded.
// Any sign of life takes the machine back from suspect to silent. None of the proofs counts while the replica
// cannot prove its own connectivity (rules.md 14), during the hold-down, or in maintenance.
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

#include "failover/evidence.hh"
#include "failover/time.hh"
#include "failover/words.hh"

namespace understudy::failover {

// What follows when the fence command fails or times out.
enum class FencePolicy : std::uint8_t {
    wait,             // back to suspect, and again after fence_retry
    proceed,          // take over unfenced; a hung service is never taken over from so
    operator_decides  // faulted
};

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
    // The primary's kernel can be asked on the service LAN, too (rules.md 15), which begins with suspicion; then a
    // silence is a proof only once `address_probe_wait` passed without an answer since the question left.
    bool address_probe = false;
    Duration address_probe_wait = std::chrono::milliseconds(5);
    // There are witnesses, and one of them must answer a probe that was sent no longer than the heartbeat
    // deadline before the decision, and at most a second (rules.md 14).
    bool witness = false;
    // Never take over from a primary that was never heard on any link: silence of what never spoke is no
    // proof.
    bool require_first_heartbeat = true;
    // Nothing is decided for so long after the start, but by an operator.
    Duration hold_down{};
    // Requests unanswered for so long, with the agent silent, prove a hung service; it takes a fence.
    std::optional<Duration> service_hang;
    // There is a fence command, to be run before every takeover that the agent did not give its word for.
    bool fence = false;
    FencePolicy fence_failure = FencePolicy::wait;
    Duration fence_retry = std::chrono::seconds(1);
    // A switchover is undone when the primary's service is not silenced and followed to its end by then.
    Duration switchover_timeout = std::chrono::seconds(2);
    // After the takeover, an obstinate primary is met again at most this often.
    Duration reassert_interval = std::chrono::seconds(1);
    // A tick later than this after it was due concludes nothing. Nothing: the larger of 50 ms, which
    // scheduling on a shared machine rarely exceeds, and twice the deadline.
    std::optional<Duration> stall_bound;

    Duration heartbeat_deadline() const { return heartbeat_interval * heartbeat_misses; }
    Duration effective_tap_deadline() const { return tap_deadline.value_or(heartbeat_deadline()); }
    Duration effective_stall_bound() const;
    Duration effective_probe_wait() const { return probe_wait.value_or(heartbeat_deadline() / 3); }
};

// What is known at a tick.
struct Observed {
    // Until when everything that arrived was told to the machine.
    Instant links{};  // heartbeats and answers to probes
    Instant tap{};
    // Tap and service port have their links (rules.md 14).
    bool carrier = true;
    // When the primary was last asked on the service LAN; nothing: not so far.
    std::optional<Instant> address_asked{};
    // The oldest request that the shadow application has answered and the primary has not.
    std::optional<Instant> unanswered_since{};
    // Until when the mirror had been read when last nothing of it was left to be followed: no lag, no
    // acknowledgement that waits (rules.md 22). Nothing: not since the question was put.
    std::optional<Instant> settled{};
};

struct Action {
    enum class Kind : std::uint8_t {
        // Ask the primary's kernel and the witnesses directly; the state stays.
        probe,
        enter_suspect,
        return_to_silent,
        // Run the fence command, and report by fence_ended().
        begin_fence,
        // Decided: drain the taps, promote. The machine is master from here on.
        begin_takeover,
        // The fence failed, and the policy leaves it to an operator.
        enter_faulted,
        // Ask the agent to silence the primary's service; the state stays.
        begin_switchover,
        // Tell the agent to serve again; the state stays.
        undo_switchover,
        // The primary serves and no client has heard of us: let nothing out any more. The machine is silent.
        mute,
        // The primary speaks although clients know us: fence, announce, and tell an operator.
        reassert,
    };
    Kind kind = Kind::enter_suspect;
    Evidence evidence;
};

// Either an action, or why there is none.
struct OperatorAnswer {
    std::optional<Action> action;
    std::string refusal;  // empty: done, even where no action was needed
};

struct DecisionCounters {
    std::uint64_t suspected = 0;
    std::uint64_t returned_to_silent = 0;
    std::uint64_t probes = 0;
    std::uint64_t probes_answered = 0;
    std::uint64_t address_answers = 0;
    std::uint64_t witness_answers = 0;
    // Ticks at which only the reading of a queue was behind.
    std::uint64_t waited_for_reading = 0;
    // Ticks later than the stall bound.
    std::uint64_t stalls = 0;
    // Silences that came to nothing because no link had ever spoken; one for each tick that found one.
    std::uint64_t held_without_first_heartbeat = 0;
    // Ticks that found a proof of death and had to hold it, and why.
    std::uint64_t held_without_connectivity = 0;
    std::uint64_t held_by_hold_down = 0;
    std::uint64_t held_in_maintenance = 0;
    std::uint64_t held_until_settled = 0;
    std::uint64_t fences = 0;
    std::uint64_t fences_failed = 0;
    std::uint64_t switchovers_undone = 0;
    std::uint64_t vetoes = 0;
    std::uint64_t reasserted = 0;
    std::uint64_t operator_refused = 0;
};

class DecisionMachine {
  public:
    // Counting starts at `now`. Throws std::invalid_argument with one clear line for settings that cannot
    // work.
    DecisionMachine(const DecisionSettings& settings, Instant now);

    // A sign of life on heartbeat link `link` (0 to links − 1), heard at `at`.
    [[nodiscard]] std::optional<Action> heartbeat(std::size_t link, Instant at);
    // What the agent said of the service; only in an authentic message that is a sign of life (rules.md 17), and
    // in the order in which the agent said it. tick() draws the conclusions.
    [[nodiscard]] std::optional<Action> agent_says(const AgentWord& word, Instant at);
    // A frame of the primary was on the tap at `at`. It may be reported late and out of order; report the
    // newest before each tick().
    [[nodiscard]] std::optional<Action> primary_on_tap(Instant at);
    // The primary's kernel answered a probe at `at`.
    [[nodiscard]] std::optional<Action> probe_answered(Instant at);
    // It answered on the service LAN, where nothing else vouches for it: believed for a quarter of a second at
    // least, so that a replica whose heartbeats are cut does not ask without pause.
    [[nodiscard]] std::optional<Action> address_answered(Instant at);
    // A witness answered at `at`.
    void witness_answered(Instant at);
    // Draws what conclusions the time allows, at most one a call. Call it when next_deadline() is due, and
    // again until it returns nothing. `now` never goes back; report all signs of life up to `observed` first.
    [[nodiscard]] std::optional<Action> tick(Instant now, const Observed& observed);
    // The fence command of begin_fence ended: the primary is off for certain, or not. When it failed and the
    // primary showed life meanwhile, nothing is taken over.
    [[nodiscard]] std::optional<Action> fence_ended(bool confirmed, Instant now);

    // After the takeover (rules.md 19).

    // A client has acknowledged a byte that only we sent: from here on the service is ours.
    void client_acknowledged() { committed_ = true; }
    // A frame of the primary, received after the drain and not seen before, carries news.
    [[nodiscard]] std::optional<Action> primary_spoke(Instant at);

    // What an operator may ask.

    // Takes over. Refused while a source has shown life within its deadline, unless forced, and once master.
    [[nodiscard]] OperatorAnswer promote(Instant now, bool force);
    // Silences the primary's service through its agent, and takes over once all that it sent was followed.
    [[nodiscard]] OperatorAnswer switchover(Instant now);
    // Gives up serving; the primary's agent may let its service speak again. The connections are lost.
    [[nodiscard]] OperatorAnswer demote(Instant now);
    // Forbids takeovers but by promote and switchover, or allows them again. Allowing ends `faulted`.
    [[nodiscard]] OperatorAnswer set_maintenance(bool on, Instant now);

    // When tick() is due; nothing while only events or an operator move the machine. At most one interval
    // after the last tick.
    std::optional<Instant> next_deadline() const;

    State state() const { return state_; }
    bool in_maintenance() const { return maintenance_; }
    // What the agent is to know of us.
    ReplicaWord word() const;
    // Whether the next conclusion depends on Observed::settled.
    bool asks_whether_settled() const;
    const std::optional<AgentWord>& agent() const { return agent_; }
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

    bool was_ever_heard() const;
    bool agent_gives_up() const { return agent_ && agent_->gives_up() && !word_spent_; }
    Instant links_silent_at() const;
    Instant silence_complete() const;
    Instant probe_due() const;
    Duration address_vouches_for() const;
    bool address_was_asked() const;
    Instant decision_due() const;
    bool links_observed(const Observed& observed) const;
    bool silence_observed(const Observed& observed) const;
    bool followed_to_the_end(const Observed& observed) const;
    bool is_connected(Instant now, const Observed& observed) const;
    bool hangs(Instant now, const Observed& observed) const;
    std::optional<Action> wait_for_reading();
    std::optional<Action> life(Source& source, Instant at, bool proves_agent);
    std::optional<Action> restart_after_stall(Instant now, Duration lateness);
    std::optional<Action> ask(Instant now);
    std::nullopt_t hold(std::uint64_t& counter);
    std::optional<Action> look_for_suspicion(Instant now, const Observed& observed);
    std::optional<Action> conclude(Instant now, const Observed& observed);
    std::optional<Action> go_on_with_switchover(Instant now, const Observed& observed);
    Action suspect(Instant now, Cause cause, Duration confirm);
    Action take_over(Evidence evidence);
    Action fence(Evidence evidence);
    Action back_to_silent(Instant now, Cause cause, Action::Kind kind = Action::Kind::return_to_silent);
    OperatorAnswer refuse(std::string why);

    DecisionSettings settings_;
    State state_ = State::silent;
    std::vector<Source> links_;
    Source tap_;
    Source probe_;
    Source address_;
    std::optional<AgentWord> agent_;
    Instant agent_said_at_{};  // what it said last for the first time
    bool word_spent_ = false;  // it led to a takeover that did not last
    std::optional<Instant> probe_sent_;  // since the last sign of life
    std::optional<Instant> witness_at_;
    std::optional<Instant> address_asked_;
    std::optional<Instant> unanswered_since_;
    bool waiting_for_reading_ = false;
    bool held_ = false;  // a proof of death waits for something that no event announces
    bool maintenance_ = false;
    bool lived_while_fencing_ = false;
    bool committed_ = false;
    Instant started_at_;
    Instant last_tick_;
    // Time since the last sign of life in which this process did not run.
    Duration unobserved_{};
    Cause suspicion_ = Cause::silence;  // in suspect and fencing
    Instant suspect_since_{};
    Instant fencing_since_{};
    Instant confirmed_at_{};
    std::optional<Instant> switchover_since_;
    std::optional<Instant> reasserted_at_;
    DecisionCounters counters_;
};

}  // namespace understudy::failover
