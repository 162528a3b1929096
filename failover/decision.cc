#include "failover/decision.hh"

#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <utility>

namespace understudy::failover {
namespace {

constexpr Duration stall_floor = std::chrono::milliseconds(50);
// How soon to look again when a queue was not read far enough.
constexpr Duration reading_recheck = std::chrono::microseconds(250);

std::string milliseconds(Duration duration) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f ms", std::chrono::duration<double, std::milli>(duration).count());
    return text;
}

std::string describe(const Silence& silence) {
    return silence.lasted ? "for " + milliseconds(*silence.lasted) : "never heard";
}

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
}

}  // namespace

const char* to_string(State state) {
    switch (state) {
        case State::silent:
            return "silent";
        case State::suspect:
            return "suspect";
        case State::master:
            return "master";
    }
    return "?";
}

const char* to_string(Cause cause) {
    switch (cause) {
        case Cause::silence:
            return "silence";
        case Cause::sign_of_life:
            return "sign of life";
        case Cause::stall:
            return "stall";
        case Cause::operator_request:
            return "operator request";
    }
    return "?";
}

Duration DecisionSettings::effective_stall_bound() const {
    return stall_bound.value_or(std::max(stall_floor, 2 * heartbeat_deadline()));
}

std::string to_string(const Evidence& evidence) {
    std::string text = to_string(evidence.cause);
    if (evidence.cause == Cause::stall) text += " of " + milliseconds(evidence.lateness);
    if (evidence.forced) text += ", forced";
    text += ": links silent ";
    for (std::size_t i = 0; i < evidence.links.size(); ++i)
        text += (i == 0 ? "" : ", ") + describe(evidence.links[i]);
    if (!evidence.links.empty()) text += " (deadline " + milliseconds(evidence.links.front().deadline) + ")";
    text +=
        "; tap silent " + describe(evidence.tap) + " (deadline " + milliseconds(evidence.tap.deadline) + ")";
    if (evidence.unanswered_probe)
        text += "; probe unanswered for " + milliseconds(*evidence.unanswered_probe);
    return text;
}

DecisionMachine::DecisionMachine(const DecisionSettings& settings, Instant now)
    : settings_(settings),
      links_(settings.links, Source{now, {}}),
      tap_{now, {}},
      probe_{now, {}},
      last_tick_(now) {
    check(settings_);
}

bool DecisionMachine::may_decide() const {
    return !settings_.require_first_heartbeat ||
           std::ranges::any_of(links_, [](const Source& link) { return link.heard.has_value(); });
}

// When the last of all sources passes its deadline.
Instant DecisionMachine::silence_complete() const {
    Instant complete = tap_.counted_from + settings_.effective_tap_deadline();
    if (probe_.heard) complete = std::max(complete, probe_.counted_from + settings_.heartbeat_deadline());
    for (const Source& link : links_)
        complete = std::max(complete, link.counted_from + settings_.heartbeat_deadline());
    return complete;
}

Instant DecisionMachine::probe_due() const {
    return silence_complete() - settings_.effective_probe_wait();
}

// In suspect: when all conditions but observation are met.
Instant DecisionMachine::decision_due() const {
    if (!settings_.probe) return confirmed_at_;
    return std::max(confirmed_at_, *probe_sent_ + settings_.effective_probe_wait());
}

bool DecisionMachine::silence_observed(const Observed& observed) const {
    const Duration deadline = settings_.heartbeat_deadline();
    return observed.tap >= tap_.counted_from + settings_.effective_tap_deadline() &&
           (!probe_.heard || observed.links >= probe_.counted_from + deadline) &&
           std::ranges::all_of(
               links_, [&](const Source& link) { return observed.links >= link.counted_from + deadline; });
}

std::optional<Action> DecisionMachine::wait_for_reading() {
    waiting_for_reading_ = true;
    ++counters_.waited_for_reading;
    return std::nullopt;
}

std::optional<Action> DecisionMachine::life(Source& source, Instant at) {
    if (!source.heard || at > *source.heard) source.heard = at;
    if (at <= source.counted_from) return std::nullopt;
    source.counted_from = at;
    unobserved_ = Duration::zero();
    if (probe_sent_ && at > *probe_sent_) probe_sent_.reset();
    // A report that comes late may tell of a time before the silence was complete: then it never was.
    if (state_ != State::suspect || silence_complete() <= suspect_since_) return std::nullopt;
    return become(State::silent, Action::Kind::return_to_silent, observe(at, Cause::sign_of_life));
}

std::optional<Action> DecisionMachine::heartbeat(std::size_t link, Instant at) {
    return life(links_.at(link), at);
}

std::optional<Action> DecisionMachine::primary_on_tap(Instant at) {
    return life(tap_, at);
}

std::optional<Action> DecisionMachine::probe_answered(Instant at) {
    ++counters_.probes_answered;
    return life(probe_, at);
}

std::optional<Action> DecisionMachine::tick(Instant now, const Observed& observed) {
    const std::optional<Instant> due = next_deadline();
    if (!due) return std::nullopt;
    const Duration lateness = std::max(now - *due, Duration::zero());
    last_tick_ = std::max(last_tick_, now);
    waiting_for_reading_ = false;
    if (lateness > settings_.effective_stall_bound()) return restart_after_stall(now, lateness);
    unobserved_ = std::min(unobserved_ + lateness, settings_.heartbeat_deadline());

    if (state_ == State::suspect) {
        const Instant decision = decision_due();
        if (now < decision) return std::nullopt;
        if (std::min(observed.links, observed.tap) < decision) return wait_for_reading();
        return become(State::master, Action::Kind::begin_takeover, observe(now, Cause::silence));
    }
    if (settings_.probe && may_decide() && !probe_sent_ && now >= probe_due()) {
        probe_sent_ = now;
        ++counters_.probes;
        return Action{Action::Kind::probe, observe(now, Cause::silence)};
    }
    if (now < silence_complete()) return std::nullopt;
    if (!may_decide()) {
        ++counters_.held_without_first_heartbeat;
        return std::nullopt;
    }
    if (!silence_observed(observed)) return wait_for_reading();
    suspect_since_ = now;
    confirmed_at_ = now + settings_.suspect_confirm + unobserved_;
    return become(State::suspect, Action::Kind::enter_suspect, observe(now, Cause::silence));
}

std::optional<Action> DecisionMachine::restart_after_stall(Instant now, Duration lateness) {
    ++counters_.stalls;
    unobserved_ = Duration::zero();
    probe_sent_.reset();
    for (Source& link : links_)
        link.counted_from = std::max(link.counted_from, now);
    tap_.counted_from = std::max(tap_.counted_from, now);
    if (state_ != State::suspect) return std::nullopt;
    Evidence evidence = observe(now, Cause::stall);
    evidence.lateness = lateness;
    return become(State::silent, Action::Kind::return_to_silent, std::move(evidence));
}

PromoteAnswer DecisionMachine::promote(Instant now, bool force) {
    Evidence evidence = observe(now, Cause::operator_request);
    evidence.forced = force;
    std::string refusal;
    if (state_ == State::master) {
        refusal = "this replica is master already";
    } else if (!force) {
        const auto alive = [](const Silence& source) {
            return source.lasted && *source.lasted < source.deadline;
        };
        if (alive(evidence.tap) || std::ranges::any_of(evidence.links, alive))
            refusal = "the primary is alive (" + to_string(evidence) +
                      "): stop its service first, or vouch with --force that it does not serve";
    }
    if (!refusal.empty()) {
        ++counters_.promotions_refused;
        return {std::nullopt, std::move(refusal)};
    }
    return {become(State::master, Action::Kind::begin_takeover, std::move(evidence)), {}};
}

std::optional<Instant> DecisionMachine::next_deadline() const {
    if (state_ == State::master) return std::nullopt;
    const Instant watch_self = last_tick_ + settings_.heartbeat_interval;
    if (waiting_for_reading_) return std::min(last_tick_ + reading_recheck, watch_self);
    if (state_ == State::suspect) return std::min(decision_due(), watch_self);
    const Instant due = settings_.probe && !probe_sent_ ? probe_due() : silence_complete();
    if (due > last_tick_) return std::min(due, watch_self);
    return may_decide() ? last_tick_ : watch_self;
}

Evidence DecisionMachine::observe(Instant now, Cause cause) const {
    const auto silence = [now](const Source& source, Duration deadline) {
        Silence result{.lasted = {}, .deadline = deadline};
        if (source.heard) result.lasted = std::max(now - *source.heard, Duration::zero());
        return result;
    };
    Evidence evidence{.cause = cause,
                      .at = now,
                      .links = {},
                      .tap = silence(tap_, settings_.effective_tap_deadline()),
                      .unanswered_probe = {},
                      .forced = false,
                      .lateness = {}};
    if (probe_sent_) evidence.unanswered_probe = std::max(now - *probe_sent_, Duration::zero());
    for (const Source& link : links_)
        evidence.links.push_back(silence(link, settings_.heartbeat_deadline()));
    return evidence;
}

Action DecisionMachine::become(State state, Action::Kind kind, Evidence evidence) {
    state_ = state;
    if (kind == Action::Kind::enter_suspect) ++counters_.suspected;
    if (kind == Action::Kind::return_to_silent) ++counters_.returned_to_silent;
    return {kind, std::move(evidence)};
}

}  // namespace understudy::failover
