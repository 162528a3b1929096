#include "tests/sim/failover_judge.hh"

#include <fmt/format.h>

#include <algorithm>

namespace understudy::sim {
namespace {

using std::chrono::milliseconds;
using failover::Action;
using failover::Cause;
using failover::State;

// Work, rounding and clocks that drift by two in a hundred.
constexpr Duration slack = milliseconds(10);
constexpr Duration with_drift(Duration duration) { return duration + duration / 32; }
constexpr Duration without_drift(Duration duration) { return duration - duration / 32; }
// On the service LAN, to the witness and back.
constexpr Duration round_trip_max = milliseconds(2);
// How long a new session needs until each knows the other's nonce, in intervals.
constexpr int greetings = 4;
// The longest that an answer on the service LAN vouches for the primary by itself (failover/decision.cc).
constexpr Duration address_vouches = milliseconds(250);
constexpr Duration nobody_bound = std::chrono::seconds(1);
constexpr std::uint64_t looks_between_checks = 200;

double ms(Duration duration) { return std::chrono::duration<double, std::milli>(duration).count(); }

bool goes_by_silence(Cause cause) { return cause == Cause::silence; }

}  // namespace

FailoverJudge::FailoverJudge(EventQueue& queue, const FailoverScenario& scenario, const FailoverPrimary& primary,
                             const FailoverReplica& replica, Accuse accuse)
    : queue_(queue), scenario_(scenario), primary_(primary), replica_(replica), accuse_(std::move(accuse)) {
    kernel_ran_ = did_not_give_up_ = was_in_maintenance_ = was_not_silent_ = somebody_served_ = queue.now();
}

bool FailoverJudge::lasted(Instant since, Duration bound) const {
    return since != Instant::max() && since + bound < queue_.now();
}

Instant FailoverJudge::link_since(std::size_t link) const {
    const FailoverCable& cable = scenario_.net.links[link];
    return std::max(cable.to_primary.faithful_since(), cable.to_replica.faithful_since());
}

Instant FailoverJudge::links_since() const {
    Instant since = Instant::max();
    for (std::size_t link = 0; link < scenario_.net.links.size(); ++link)
        since = std::min(since, link_since(link));
    return since;
}

// How soon the agent has silenced the service when a link brings it the replica's word.
Duration FailoverJudge::agents_bound() const {
    return with_drift(greetings * scenario_.decision.heartbeat_interval) + scenario_.silencing + slack;
}

bool FailoverJudge::fence_is_in_the_way() const {
    const failover::DecisionSettings& decision = scenario_.decision;
    return decision.fence && !scenario_.fence_works && decision.fence_failure != failover::FencePolicy::proceed;
}

void FailoverJudge::heard_on_link(std::size_t link, bool answers_probe) {
    const Instant known = std::max({link_since(link), primary_.agent_since(), replica_.control_since()});
    if (answers_probe || lasted(known, with_drift(greetings * scenario_.decision.heartbeat_interval) + slack))
        last_on_links_ = queue_.now();
}

void FailoverJudge::heard_on_tap(const FailoverFrame& frame) {
    last_on_tap_ = queue_.now();
    if (frame.kind != FailoverFrame::Kind::reply || !replica_.gate_is_open()) return;
    const Instant able =
        std::max({replica_.gate_since(), replica_.control_since(), replica_.plane_since()});
    if (able <= queue_.now() && first_news_ < able) first_news_ = queue_.now();
}

void FailoverJudge::acted(const Action& action) {
    const Evidence& evidence = action.evidence;
    const bool fences = action.kind == Action::Kind::begin_fence;
    if (action.kind == Action::Kind::mute) muted_ = queue_.now();
    if (!fences && action.kind != Action::Kind::begin_takeover) return;
    const std::string what = fmt::format("{} by {}", fences ? "fence" : "takeover", failover::to_string(evidence));
    if (goes_by_silence(evidence.cause) && !evidence.fenced) judge_silence(what);
    if ((goes_by_silence(evidence.cause) || evidence.cause == Cause::service_hang ||
         evidence.cause == Cause::agent_word) &&
        !evidence.fenced && scenario_.decision.witness)
        judge_connectivity(what);
    if (!fences) judge_takeover(evidence);
}

// rules.md 13 a: whatever had reached the replica's host when it looked must have kept it silent, and so must what
// could have been had for asking.
void FailoverJudge::judge_silence(const std::string& what) {
    const failover::DecisionSettings& decision = scenario_.decision;
    const Duration deadline = without_drift(decision.heartbeat_deadline());
    const auto recent = [this](Instant sign, Duration bound) { return sign + bound > looked_at_; };
    if (recent(last_on_links_, deadline)) accuse_("silence", what + ", but a heartbeat had arrived");
    if (recent(last_on_tap_, without_drift(decision.effective_tap_deadline())))
        accuse_("silence", what + ", but the tap had shown a frame of the primary");
    if (decision.address_probe && recent(last_on_lan_, deadline))
        accuse_("silence", what + ", but the primary had answered on the service LAN");

    const Duration window = with_drift(2 * decision.heartbeat_deadline()) + slack;
    const Instant links = std::max(links_since(), primary_.kernel_since());
    if (lasted(std::max(links, primary_.agent_since()), window))
        accuse_("silence", what + ", but the agent was there, over a link that loses nothing");
    if (decision.probe && lasted(links, window))
        accuse_("silence", what + ", but the primary's kernel was there, over a link that loses nothing");
    const Instant lan = std::max(scenario_.net.primary.faithful_since(), scenario_.net.replica.faithful_since());
    if (decision.address_probe && lasted(std::max(primary_.able_since(), lan), window + address_vouches))
        accuse_("silence", what + ", but the primary was there, over a service LAN that loses nothing");
}

// rules.md 14.
void FailoverJudge::judge_connectivity(const std::string& what) {
    const FailoverNet& net = scenario_.net;
    Instant cut_since = Instant::max();
    for (const FailoverPath* path : {&net.replica.in, &net.replica.out, &net.witness.in, &net.witness.out})
        if (!path->up) cut_since = std::min(cut_since, path->changed);
    const Duration window = std::min(scenario_.decision.heartbeat_deadline(), Duration(std::chrono::seconds(1)));
    if (lasted(cut_since, with_drift(window) + round_trip_max))
        accuse_("connectivity", what + ", but the replica was cut off itself");
}

void FailoverJudge::judge_takeover(const Evidence& evidence) {
    const bool word = evidence.cause == Cause::agent_word || evidence.cause == Cause::switchover;
    if (word && primary_.able_since() != Instant::max())
        accuse_("word", fmt::format("takeover by the {}, but the primary may speak", failover::to_string(evidence)));
    if (evidence.fenced && primary_.is_on()) accuse_("fence", "takeover as fenced, but the primary is on");
    const bool needs_fence = scenario_.decision.fence && !evidence.fenced &&
                             (evidence.cause == Cause::service_hang ||
                              (evidence.cause == Cause::silence &&
                               scenario_.decision.fence_failure != failover::FencePolicy::proceed));
    if (needs_fence) accuse_("fence", "takeover without the fence that was asked for");
}

// rules.md 19 and 21: two may speak only for as long as nobody could have told either.
void FailoverJudge::client_heard(std::size_t client, FailoverHost host, Instant sent) {
    if (host != FailoverHost::primary || !replica_.speaks() || sent <= replica_.gate_since()) return;
    const FailoverNet& net = scenario_.net;
    if (!net.replica.out.up) return;
    const Instant both = std::max({replica_.gate_since(), primary_.healthy_since(), net.primary.out.changed,
                                   net.replica.out.changed, net.clients[client].in.changed});
    const Instant told = std::max({links_since(), primary_.agent_since(), replica_.control_since()});
    if (both == Instant::max()) return;
    if (told == Instant::max() || sent < told + agents_bound()) {
        if (sent > both + agents_bound()) ++excused_;
        return;
    }
    if (sent > std::max(both, told) + agents_bound())
        accuse_("two speakers", fmt::format("client {} hears the primary {:.1f} ms after the replica began, and the "
                                            "agent could have known for {:.1f} ms",
                                            client, ms(sent - both), ms(sent - told)));
}

void FailoverJudge::check_veto() {
    const Instant able =
        std::max({replica_.gate_since(), replica_.control_since(), replica_.plane_since()});
    if (!replica_.gate_is_open() || replica_.client_knows_us() || first_news_ < able) return;
    if (lasted(first_news_, scenario_.poll + slack))
        accuse_("veto", fmt::format("no client knows the replica, and it speaks on {:.1f} ms after the primary did",
                                    ms(queue_.now() - first_news_)));
}

void FailoverJudge::check() {
    const Instant now = queue_.now();
    if (!replica_.is_on()) return;
    if (replica_.looks() - looks_counted_ > looks_between_checks)
        accuse_("pace", fmt::format("{} looks within 2 ms", replica_.looks() - looks_counted_));
    looks_counted_ = replica_.looks();
    const failover::DecisionMachine& machine = replica_.machine();
    if (primary_.is_on() && primary_.kernel_since() <= now) kernel_ran_ = now;
    if (!primary_.gives_up()) did_not_give_up_ = now;
    if (machine.in_maintenance()) was_in_maintenance_ = now;
    if (machine.state() != State::silent || machine.word().wants_silence) was_not_silent_ = now;
    if (replica_.speaks() || primary_.able_since() <= now) somebody_served_ = now;
    check_veto();
    check_replica_serves();
    check_primary_may_speak();
    check_somebody_serves();
}

// It is able and connected, and the primary's end is proven.
void FailoverJudge::check_replica_serves() {
    const failover::DecisionSettings& decision = scenario_.decision;
    const FailoverNet& net = scenario_.net;
    if (replica_.speaks() || !replica_.was_heard() || replica_.machine().state() == State::faulted) return;
    Instant able = std::max({replica_.control_since(), replica_.plane_since(), net.replica.faithful_since(),
                             was_in_maintenance_, muted_});
    if (decision.witness) able = std::max(able, net.witness.faithful_since());
    const Duration common = decision.hold_down + scenario_.takeover_delay + decision.suspect_confirm + slack * 4;
    const Duration deadline = std::max(decision.heartbeat_deadline(), decision.effective_tap_deadline());
    const Duration silence = with_drift(2 * decision.heartbeat_deadline() + deadline + decision.effective_probe_wait()) +
                             (decision.address_probe ? address_vouches + decision.address_probe_wait : Duration()) +
                             (decision.fence ? scenario_.fence_time + decision.fence_retry : Duration());
    if (!fence_is_in_the_way() && lasted(std::max(able, kernel_ran_), common + silence))
        accuse_("nobody", fmt::format("the primary has been gone for {:.1f} ms, and the replica is {}",
                                      ms(queue_.now() - kernel_ran_), to_string(replica_.machine().state())));
    const Instant told = std::max({able, did_not_give_up_, primary_.agent_since(), links_since()});
    if (muted_ < did_not_give_up_ && lasted(told, common + agents_bound() + decision.heartbeat_deadline()))
        accuse_("nobody", fmt::format("the agent has known for {:.1f} ms that the service is gone, and the replica "
                                      "is {}",
                                      ms(queue_.now() - told), to_string(replica_.machine().state())));
}

// The service runs, the replica has been silent for long, and the agent can know.
void FailoverJudge::check_primary_may_speak() {
    if (!primary_.silenced() || primary_.hands_over() || primary_.gives_up()) return;
    const Instant known = std::max({primary_.healthy_since(), primary_.agent_since(), links_since(),
                                    replica_.control_since(), was_not_silent_});
    if (lasted(known, 2 * agents_bound()))
        accuse_("nobody", fmt::format("the replica has been silent for {:.1f} ms, and so is the primary",
                                      ms(queue_.now() - was_not_silent_)));
}

void FailoverJudge::check_somebody_serves() {
    const FailoverNet& net = scenario_.net;
    const State state = replica_.machine().state();
    if (state == State::faulted || primary_.hands_over() || fence_is_in_the_way()) return;
    const Instant able = std::max({primary_.healthy_since(), primary_.agent_since(), links_since(),
                                   replica_.control_since(), replica_.plane_since(), net.primary.faithful_since(),
                                   net.replica.faithful_since(), was_in_maintenance_});
    if (lasted(std::max(able, somebody_served_), nobody_bound))
        accuse_("nobody", fmt::format("both hosts are able, and neither has served for {:.1f} ms",
                                      ms(queue_.now() - somebody_served_)));
}

void FailoverJudge::end(std::uint64_t takeovers, std::uint64_t fences) {
    using Outcome = FailoverScenario::Outcome;
    if (scenario_.outcome == Outcome::no_takeover && takeovers + fences > 0)
        accuse_("outcome", fmt::format("{} takeovers and {} fences, and the primary served all the time", takeovers,
                                       fences));
    if (scenario_.outcome == Outcome::takeover && !replica_.speaks())
        accuse_("outcome", "no takeover, and the primary has not served since the fault");
}

}  // namespace understudy::sim
