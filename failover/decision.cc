#include "failover/decision.hh"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace understudy::failover {
namespace {

constexpr Duration stall_floor = std::chrono::milliseconds(50);
// How soon to look again when a queue was not read far enough.
constexpr Duration reading_recheck = std::chrono::microseconds(250);
// How soon to look again when a proof is held by what no event announces.
constexpr Duration held_recheck = std::chrono::milliseconds(5);
constexpr Duration address_vouches_min = std::chrono::milliseconds(250);
// No answer of a witness proves our connectivity for longer.
constexpr Duration witness_window_max = std::chrono::seconds(1);

void require(bool holds, const char* what) {
    if (!holds) throw std::invalid_argument(what);
}

void check(const DecisionSettings& settings) {
    require(settings.links >= 1, "failure detection needs at least one heartbeat link");
    require(settings.heartbeat_interval > Duration::zero(), "the heartbeat interval must be above zero");
    require(settings.heartbeat_interval <= std::chrono::hours(1), "the heartbeat interval is above one hour");
    require(settings.heartbeat_misses >= 1, "at least one heartbeat must be missed before the deadline");
    require(settings.heartbeat_misses <= 1000, "more than 1000 heartbeat misses are never a failure");
    require(settings.effective_tap_deadline() > Duration::zero(), "the tap deadline must be above zero");
    require(settings.suspect_confirm >= Duration::zero(), "the confirmation time must not be negative");
    require(settings.effective_stall_bound() > Duration::zero(), "the stall bound must be above zero");
    require(settings.effective_probe_wait() > Duration::zero(),
            "the wait for a probe's answer must be above zero");
    require(settings.address_probe_wait >= Duration::zero(),
            "the wait for an answer on the service LAN must not be negative");
    require(settings.hold_down >= Duration::zero(), "the hold-down must not be negative");
    require(!settings.service_hang || *settings.service_hang > Duration::zero(),
            "the time of a service hang must be above zero");
    require(!settings.service_hang || settings.fence,
            "a hung service is taken over from only with a fence command (rules.md 13 c)");
    require(settings.fence_retry > Duration::zero(), "the wait between fences must be above zero");
    require(settings.switchover_timeout > Duration::zero(), "the switchover's time-out must be above zero");
    require(settings.reassert_interval > Duration::zero(), "the interval of reasserting must be above zero");
}

}  // namespace

Duration DecisionSettings::effective_stall_bound() const {
    return stall_bound.value_or(std::max(stall_floor, 2 * heartbeat_deadline()));
}

DecisionMachine::DecisionMachine(const DecisionSettings& settings, Instant now)
    : settings_(settings),
      links_(settings.links, Source{now, {}}),
      tap_{now, {}},
      probe_{now, {}},
      address_{now, {}},
      started_at_(now),
      last_tick_(now) {
    check(settings_);
}

bool DecisionMachine::was_ever_heard() const {
    return !settings_.require_first_heartbeat ||
           std::ranges::any_of(links_, [](const Source& link) { return link.heard.has_value(); });
}

Instant DecisionMachine::links_silent_at() const {
    Instant complete{};
    for (const Source& link : links_)
        complete = std::max(complete, link.counted_from + settings_.heartbeat_deadline());
    return complete;
}

// When the last of all sources passes its deadline.
Instant DecisionMachine::silence_complete() const {
    Instant complete = std::max(links_silent_at(), tap_.counted_from + settings_.effective_tap_deadline());
    if (probe_.heard) complete = std::max(complete, probe_.counted_from + settings_.heartbeat_deadline());
    if (address_.heard) complete = std::max(complete, address_.counted_from + address_vouches_for());
    return complete;
}

Duration DecisionMachine::address_vouches_for() const {
    return std::max(settings_.heartbeat_deadline(), address_vouches_min);
}

Instant DecisionMachine::probe_due() const {
    return silence_complete() - settings_.effective_probe_wait();
}

// Whoever is to ask may be behind with his work: the wait for an answer begins when the question leaves.
bool DecisionMachine::address_was_asked() const {
    return address_asked_ && *address_asked_ >= suspect_since_;
}

// In suspect: when all conditions but observation and connectivity are met.
Instant DecisionMachine::decision_due() const {
    if (suspicion_ != Cause::silence) return confirmed_at_;
    Instant due = confirmed_at_;
    if (settings_.probe && !probe_sent_) return suspect_since_;  // to send one
    if (settings_.probe) due = std::max(due, *probe_sent_ + settings_.effective_probe_wait());
    if (settings_.address_probe)
        due = std::max(due, (address_was_asked() ? *address_asked_ : suspect_since_) + settings_.address_probe_wait);
    return due;
}

bool DecisionMachine::links_observed(const Observed& observed) const {
    return observed.links >= links_silent_at();
}

bool DecisionMachine::silence_observed(const Observed& observed) const {
    return observed.tap >= tap_.counted_from + settings_.effective_tap_deadline() &&
           (!probe_.heard || observed.links >= probe_.counted_from + settings_.heartbeat_deadline()) &&
           links_observed(observed);
}

// What the service sent before it was silenced was on the mirror before the agent's word came.
bool DecisionMachine::followed_to_the_end(const Observed& observed) const {
    return observed.settled && *observed.settled >= agent_said_at_;
}

// rules.md 14. Without carrier on a tap its silence is our own.
bool DecisionMachine::is_connected(Instant now, const Observed& observed) const {
    if (!observed.carrier) return false;
    const Duration window = std::min(settings_.heartbeat_deadline(), witness_window_max);
    return !settings_.witness || (witness_at_ && now - *witness_at_ <= window);
}

bool DecisionMachine::hangs(Instant now, const Observed& observed) const {
    return settings_.service_hang && observed.unanswered_since &&
           now - *observed.unanswered_since >= *settings_.service_hang && was_ever_heard() &&
           now >= links_silent_at() && links_observed(observed);
}

std::optional<Action> DecisionMachine::wait_for_reading() {
    waiting_for_reading_ = true;
    ++counters_.waited_for_reading;
    return std::nullopt;
}

std::optional<Action> DecisionMachine::life(Source& source, Instant at, bool proves_agent) {
    if (!source.heard || at > *source.heard) source.heard = at;
    if (at <= source.counted_from) return std::nullopt;
    source.counted_from = at;
    unobserved_ = Duration::zero();
    if (probe_sent_ && at > *probe_sent_) probe_sent_.reset();
    if (suspicion_ == Cause::agent_word || suspicion_ == Cause::switchover) return std::nullopt;
    // A kernel that answers says nothing of a service that hangs.
    if (suspicion_ == Cause::service_hang && !proves_agent) return std::nullopt;
    if (state_ == State::fencing && at > fencing_since_) lived_while_fencing_ = true;
    if (state_ != State::suspect) return std::nullopt;
    // A report that comes late may tell of a time before the silence was complete: then it never was.
    if (suspicion_ == Cause::silence && silence_complete() <= suspect_since_) return std::nullopt;
    return back_to_silent(at, Cause::sign_of_life);
}

std::optional<Action> DecisionMachine::heartbeat(std::size_t link, Instant at) {
    return life(links_.at(link), at, true);
}

std::optional<Action> DecisionMachine::agent_says(const AgentWord& word, Instant at) {
    const bool same = agent_ && agent_->service == word.service && agent_->silenced == word.silenced &&
                      agent_->number == word.number;
    agent_ = word;
    if (same) return std::nullopt;
    agent_said_at_ = at;
    word_spent_ = false;
    if (state_ != State::suspect || suspicion_ != Cause::agent_word || word.gives_up()) return std::nullopt;
    return back_to_silent(at, Cause::sign_of_life);
}

std::optional<Action> DecisionMachine::primary_on_tap(Instant at) {
    return life(tap_, at, false);
}

std::optional<Action> DecisionMachine::probe_answered(Instant at) {
    ++counters_.probes_answered;
    return life(probe_, at, false);
}

std::optional<Action> DecisionMachine::address_answered(Instant at) {
    ++counters_.address_answers;
    return life(address_, at, false);
}

void DecisionMachine::witness_answered(Instant at) {
    ++counters_.witness_answers;
    if (!witness_at_ || at > *witness_at_) witness_at_ = at;
}

std::optional<Action> DecisionMachine::tick(Instant now, const Observed& observed) {
    const std::optional<Instant> due = next_deadline();
    if (!due) return std::nullopt;
    const Duration lateness = std::max(now - *due, Duration::zero());
    last_tick_ = std::max(last_tick_, now);
    waiting_for_reading_ = held_ = false;
    unanswered_since_ = observed.unanswered_since;
    address_asked_ = observed.address_asked;
    if (lateness > settings_.effective_stall_bound()) return restart_after_stall(now, lateness);
    unobserved_ = std::min(unobserved_ + lateness, settings_.heartbeat_deadline());
    if (state_ == State::suspect) return conclude(now, observed);
    return look_for_suspicion(now, observed);
}

std::optional<Action> DecisionMachine::look_for_suspicion(Instant now, const Observed& observed) {
    if (switchover_since_) {
        if (auto action = go_on_with_switchover(now, observed)) return action;
    } else if (agent_gives_up()) {
        return suspect(now, Cause::agent_word, Duration::zero());
    }
    if (hangs(now, observed)) return suspect(now, Cause::service_hang, settings_.suspect_confirm);
    if ((settings_.probe || settings_.witness) && was_ever_heard() && !probe_sent_ && now >= probe_due())
        return ask(now);
    if (now < silence_complete()) return std::nullopt;
    if (!was_ever_heard()) {
        ++counters_.held_without_first_heartbeat;
        return std::nullopt;
    }
    if (!silence_observed(observed)) return wait_for_reading();
    return suspect(now, Cause::silence, settings_.suspect_confirm + unobserved_);
}

std::optional<Action> DecisionMachine::conclude(Instant now, const Observed& observed) {
    if (suspicion_ == Cause::service_hang && !hangs(now, observed))
        return back_to_silent(now, Cause::sign_of_life);
    if (suspicion_ == Cause::silence && settings_.probe && !probe_sent_) return ask(now);
    const Instant decision = decision_due();
    if (now < decision) return std::nullopt;
    if (suspicion_ == Cause::silence && (std::min(observed.links, observed.tap) < decision ||
                                         (settings_.address_probe && !address_was_asked())))
        return wait_for_reading();
    if (maintenance_) return hold(counters_.held_in_maintenance);
    if (now < started_at_ + settings_.hold_down) return hold(counters_.held_by_hold_down);
    // An orderly end leaves time to follow the service to its last byte.
    if (suspicion_ == Cause::agent_word && agent_->service == ServiceState::shutting_down &&
        !followed_to_the_end(observed) && now < suspect_since_ + settings_.switchover_timeout)
        return hold(counters_.held_until_settled);
    if (!is_connected(now, observed)) {
        hold(counters_.held_without_connectivity);
        const bool asked = probe_sent_ && now < *probe_sent_ + settings_.effective_probe_wait();
        return settings_.witness && !asked ? ask(now) : std::nullopt;
    }
    Evidence evidence = observe(now, suspicion_);
    if (settings_.fence && suspicion_ != Cause::agent_word) return fence(std::move(evidence));
    return take_over(std::move(evidence));
}

std::optional<Action> DecisionMachine::ask(Instant now) {
    probe_sent_ = now;
    ++counters_.probes;
    return Action{Action::Kind::probe, observe(now, Cause::silence)};
}

std::nullopt_t DecisionMachine::hold(std::uint64_t& counter) {
    held_ = true;
    ++counter;
    return std::nullopt;
}

std::optional<Action> DecisionMachine::go_on_with_switchover(Instant now, const Observed& observed) {
    if (agent_ && agent_->silenced && agent_said_at_ >= *switchover_since_ && followed_to_the_end(observed) &&
        observed.carrier)
        return take_over(observe(now, Cause::switchover));
    if (now < *switchover_since_ + settings_.switchover_timeout) return std::nullopt;
    switchover_since_.reset();
    word_spent_ = true;
    ++counters_.switchovers_undone;
    return Action{Action::Kind::undo_switchover, observe(now, Cause::switchover)};
}

std::optional<Action> DecisionMachine::restart_after_stall(Instant now, Duration lateness) {
    ++counters_.stalls;
    unobserved_ = Duration::zero();
    probe_sent_.reset();
    for (Source& link : links_)
        link.counted_from = std::max(link.counted_from, now);
    tap_.counted_from = std::max(tap_.counted_from, now);
    if (state_ != State::suspect || suspicion_ == Cause::agent_word) return std::nullopt;
    Action action = back_to_silent(now, Cause::stall);
    action.evidence.lateness = lateness;
    return action;
}

std::optional<Action> DecisionMachine::fence_ended(bool confirmed, Instant now) {
    if (state_ != State::fencing) return std::nullopt;
    last_tick_ = std::max(last_tick_, now);  // nothing was due while it ran
    Evidence evidence = observe(now, suspicion_);
    evidence.fenced = confirmed;
    if (confirmed) return take_over(std::move(evidence));
    ++counters_.fences_failed;
    if (lived_while_fencing_ && settings_.fence_failure != FencePolicy::operator_decides)
        return back_to_silent(now, Cause::sign_of_life);
    switch (settings_.fence_failure) {
        case FencePolicy::proceed:
            if (suspicion_ != Cause::service_hang) return take_over(std::move(evidence));
            break;
        case FencePolicy::operator_decides:
            state_ = State::faulted;
            return Action{Action::Kind::enter_faulted, std::move(evidence)};
        case FencePolicy::wait:
            break;
    }
    return suspect(now, suspicion_, settings_.fence_retry);
}

std::optional<Action> DecisionMachine::primary_spoke(Instant at) {
    if (state_ != State::master) return std::nullopt;
    if (!committed_) {
        ++counters_.vetoes;
        return back_to_silent(at, Cause::veto, Action::Kind::mute);
    }
    if (reasserted_at_ && at < *reasserted_at_ + settings_.reassert_interval) return std::nullopt;
    reasserted_at_ = at;
    ++counters_.reasserted;
    return Action{Action::Kind::reassert, observe(at, Cause::veto)};
}

OperatorAnswer DecisionMachine::promote(Instant now, bool force) {
    Evidence evidence = observe(now, Cause::operator_request);
    evidence.forced = force;
    if (state_ == State::master) return refuse("this replica is master already");
    if (!force) {
        if (state_ == State::fencing) return refuse("the fence command runs; --force does not wait for it");
        const auto alive = [](const Silence& source) {
            return source.lasted && *source.lasted < source.deadline;
        };
        if (alive(evidence.tap) || std::ranges::any_of(evidence.links, alive))
            return refuse("the primary is alive (" + to_string(evidence) +
                          "): use `understudy switchover`, or vouch with --force that it does not serve");
        if (settings_.fence) return {fence(std::move(evidence)), {}};
    }
    return {take_over(std::move(evidence)), {}};
}

OperatorAnswer DecisionMachine::switchover(Instant now) {
    if (state_ == State::master) return refuse("this replica is master already");
    if (state_ != State::silent)
        return refuse(std::string("this replica is ") + to_string(state_) +
                      ", not silent: use `understudy promote`");
    if (switchover_since_) return refuse("a switchover is under way");
    if (!agent_ || agent_->service == ServiceState::unknown)
        return refuse("the agent does not know how to silence the service: start it with --service, or use "
                      "`understudy promote`");
    if (now >= links_silent_at()) return refuse("the agent is silent: use `understudy promote`");
    switchover_since_ = now;
    return {Action{Action::Kind::begin_switchover, observe(now, Cause::switchover)}, {}};
}

OperatorAnswer DecisionMachine::demote(Instant now) {
    if (state_ != State::master) return refuse("this replica is not master");
    return {back_to_silent(now, Cause::operator_request, Action::Kind::mute), {}};
}

OperatorAnswer DecisionMachine::set_maintenance(bool on, Instant now) {
    maintenance_ = on;
    if (on || state_ != State::faulted) return {};
    return {back_to_silent(now, Cause::operator_request), {}};
}

ReplicaWord DecisionMachine::word() const {
    return {.state = state_,
            .wants_silence = switchover_since_.has_value(),
            .heard_number = agent_ ? agent_->number : 0};
}

bool DecisionMachine::asks_whether_settled() const {
    return switchover_since_ || (state_ == State::suspect && suspicion_ == Cause::agent_word);
}

std::optional<Instant> DecisionMachine::next_deadline() const {
    if (state_ != State::silent && state_ != State::suspect) return std::nullopt;
    const Instant watch_self = last_tick_ + settings_.heartbeat_interval;
    if (waiting_for_reading_) return std::min(last_tick_ + reading_recheck, watch_self);
    if (held_) return std::min(last_tick_ + held_recheck, watch_self);
    if (state_ == State::suspect) return std::min(decision_due(), watch_self);
    if (switchover_since_)
        return std::min(std::max(last_tick_, *switchover_since_) + reading_recheck, watch_self);
    if (agent_gives_up()) return std::max(last_tick_, agent_said_at_);
    const bool asks = (settings_.probe || settings_.witness) && !probe_sent_;
    const Instant due = asks ? probe_due() : silence_complete();
    if (due > last_tick_) return std::min(due, watch_self);
    return was_ever_heard() ? last_tick_ : watch_self;
}

Evidence DecisionMachine::observe(Instant now, Cause cause) const {
    const auto since = [now](Instant then) { return std::max(now - then, Duration::zero()); };
    const auto silence = [&](const Source& source, Duration deadline) {
        Silence result{.lasted = {}, .deadline = deadline};
        if (source.heard) result.lasted = since(*source.heard);
        return result;
    };
    Evidence evidence;
    evidence.cause = cause;
    evidence.at = now;
    evidence.tap = silence(tap_, settings_.effective_tap_deadline());
    evidence.agent = agent_;
    if (probe_sent_) evidence.unanswered_probe = since(*probe_sent_);
    if (unanswered_since_) evidence.unanswered_request = since(*unanswered_since_);
    for (const Source& link : links_)
        evidence.links.push_back(silence(link, settings_.heartbeat_deadline()));
    return evidence;
}

Action DecisionMachine::suspect(Instant now, Cause cause, Duration confirm) {
    state_ = State::suspect;
    suspicion_ = cause;
    suspect_since_ = now;
    confirmed_at_ = now + confirm;
    ++counters_.suspected;
    return {Action::Kind::enter_suspect, observe(now, cause)};
}

Action DecisionMachine::fence(Evidence evidence) {
    state_ = State::fencing;
    suspicion_ = evidence.cause;
    fencing_since_ = evidence.at;
    lived_while_fencing_ = false;
    ++counters_.fences;
    return {Action::Kind::begin_fence, std::move(evidence)};
}

Action DecisionMachine::take_over(Evidence evidence) {
    state_ = State::master;
    committed_ = false;
    reasserted_at_.reset();
    switchover_since_.reset();
    return {Action::Kind::begin_takeover, std::move(evidence)};
}

// Counting starts anew: what led here is spent.
Action DecisionMachine::back_to_silent(Instant now, Cause cause, Action::Kind kind) {
    const bool served = state_ == State::master || state_ == State::faulted;
    state_ = State::silent;
    ++counters_.returned_to_silent;
    Action action{kind, observe(now, cause)};
    if (served) {
        for (Source& link : links_)
            link.counted_from = std::max(link.counted_from, now);
        tap_.counted_from = std::max(tap_.counted_from, now);
        probe_sent_.reset();
        word_spent_ = true;
        last_tick_ = std::max(last_tick_, now);
    }
    return action;
}

OperatorAnswer DecisionMachine::refuse(std::string why) {
    ++counters_.operator_refused;
    return {std::nullopt, std::move(why)};
}

}  // namespace understudy::failover
