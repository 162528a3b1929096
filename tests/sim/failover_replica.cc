#include "tests/sim/failover_replica.hh"

#include <fmt/format.h>

#include <array>

namespace understudy::sim {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using Action = failover::Action;

constexpr Duration replica_service_time = microseconds(150);
constexpr Duration task_time = microseconds(20);
constexpr std::array announcements{milliseconds(0), milliseconds(50), milliseconds(250), milliseconds(1000),
                                   milliseconds(3000)};
constexpr Duration clock_offset = std::chrono::hours(7);

}  // namespace

FailoverReplica::FailoverReplica(EventQueue& queue, const FailoverScenario& scenario, Random random, Wires wires)
    : queue_(queue),
      scenario_(scenario),
      random_(random),
      wires_(std::move(wires)),
      control_(queue, scenario.replica_drift, clock_offset),
      plane_(queue, scenario.replica_drift, clock_offset) {}

void FailoverReplica::start() {
    control_.start();
    plane_.start();
    Random random = random_.stream("process", ++processes_started_);
    failover::DecisionSettings decision = scenario_.decision;
    if (scenario_.sabotage == FailoverSabotage::concludes_unread) decision.stall_bound = std::chrono::hours(1);
    if (scenario_.sabotage == FailoverSabotage::invents_witness) decision.witness = false;
    links_ = std::make_unique<FailoverEndpoint>(
        control_,
        failover::Links::Settings{.links = decision.links,
                                  .interval = decision.heartbeat_interval,
                                  .deadline = decision.heartbeat_deadline()},
        failover::Role::replica, random,
        FailoverEndpoint::Handlers{
            .send = [this](std::size_t link, const std::string& bytes) {
                control_.act([this, link, bytes] { wires_.datagram(link, bytes); });
            },
            .sign_of_life =
                [this](std::size_t link, failover::Instant at) {
                    heard_ = true;
                    watch_->heartbeat(link, at);
                },
            .words =
                [this](const failover::PeerWords& words, failover::Instant at) {
                    if (!words.agent) return;
                    watch_->agent_says(*words.agent, at);
                    arm();
                },
            .probe_answered = [this](failover::Instant at) { watch_->probe_answered(at); }});
    heard_ = muting_ = takeover_after_mute_ = false;
    ring_.clear();
    read_until_ = control_.clock();
    newest_.reset();
    address_asked_.reset();
    address_answer_.reset();
    unanswered_since_.reset();
    gate_ = client_knows_us_ = false;
    news_ = 0;
    last_task_ = {};
    watch_ = std::make_unique<failover::Watch>(
        decision,
        failover::Watch::Senses{.read_links =
                                    [this] {
                                        ++looks_;
                                        wires_.looks();
                                        if (scenario_.sabotage != FailoverSabotage::concludes_unread)
                                            links_->read_all();
                                        return control_.clock();
                                    },
                                .tap = [this] { return look_at_tap(); },
                                .send_probe =
                                    [this] {
                                        control_.act([this] {
                                            for (std::size_t i = 0; i < scenario_.decision.links; ++i)
                                                wires_.probe(i);
                                            wires_.frame({.kind = FailoverFrame::Kind::witness_question,
                                                          .client = 0,
                                                          .number = 0});
                                        });
                                    },
                                .ask_settled = [this] { ask_settled(); },
                                .now = [this] { return control_.clock(); }},
        [this](const Action& action) { on_action(action); },
        [this](const failover::ReplicaWord& word) { links_->say(word); });
    links_->start();
    watch_->restart();
    arm();
}

void FailoverReplica::restart() {
    wires_.note("restarts");
    control_.end();
    plane_.end();
    start();
}

void FailoverReplica::stall_control(Duration duration) {
    control_.stall(duration);
}

void FailoverReplica::stall_plane(Duration duration) {
    plane_.stall(duration);
}

void FailoverReplica::arm() {
    const auto due = watch_->due();
    const std::uint64_t mine = ++armed_;
    if (!due || scenario_.sabotage == FailoverSabotage::sleeps_through_death) return;
    control_.at(control_.instant_of(*due), [this, mine] {
        if (mine == armed_) run();
    });
}

void FailoverReplica::run() {
    watch_->run();
    arm();
}

void FailoverReplica::datagram(std::size_t link, std::string bytes) {
    links_->arrived(link, std::move(bytes));
}

failover::Watch::Tap FailoverReplica::look_at_tap() {
    if (plane_.runs()) read_tap();
    failover::Watch::Tap tap;
    tap.read_until =
        scenario_.sabotage == FailoverSabotage::concludes_unread ? control_.clock() : read_until_;
    tap.newest = newest_;
    tap.address_asked = address_asked_;
    tap.address_answer = address_answer_;
    if (scenario_.sabotage == FailoverSabotage::deaf_to_tap) tap.newest.reset();
    if (scenario_.sabotage == FailoverSabotage::deaf_to_address_answers) tap.address_answer.reset();
    tap.carrier = carrier_;
    tap.unanswered_since = unanswered_since_;
    tap.client_knows_us = client_knows_us_;
    tap.primary_news = scenario_.sabotage == FailoverSabotage::deaf_to_veto ? 0 : news_;
    if (const Duration stall = std::exchange(stall_at_look_, Duration::zero()); stall > Duration::zero()) {
        wires_.note("control stalls in the middle of its work");
        control_.stall(stall);
    }
    return tap;
}

void FailoverReplica::tapped(const FailoverFrame& frame) {
    ring_.push_back(frame);
    if (plane_.is_alive()) plane_.at(queue_.now() + scenario_.poll, [this] { read_tap(); });
}

void FailoverReplica::read_tap() {
    read_until_ = plane_.clock();
    for (; !ring_.empty(); ring_.pop_front()) {
        const FailoverFrame& frame = ring_.front();
        if (frame.kind == FailoverFrame::Kind::request) {
            if (!unanswered_since_) unanswered_since_ = read_until_;
            continue;
        }
        newest_ = read_until_;
        if (frame.kind != FailoverFrame::Kind::reply) continue;
        unanswered_since_.reset();
        if (gate_) ++news_;
    }
}

// On the service port.
void FailoverReplica::frame(const FailoverFrame& frame) {
    if (!plane_.is_alive()) return;
    plane_.at(queue_.now() + scenario_.poll, [this, frame] {
        FailoverFrame reply = frame;
        switch (frame.kind) {
            case FailoverFrame::Kind::address_answer:
                address_answer_ = plane_.clock();
                break;
            case FailoverFrame::Kind::witness_answer:
                control_.act([this] { watch_->witness_answered(control_.clock()); });
                break;
            case FailoverFrame::Kind::acknowledged:
                if (gate_) client_knows_us_ = true;
                break;
            case FailoverFrame::Kind::announcement:  // the primary's: the address is defended
                if (gate_) announce(announcements.size());
                break;
            case FailoverFrame::Kind::address_question:
                reply.kind = FailoverFrame::Kind::address_answer;
                if (gate_) wires_.frame(reply);
                break;
            case FailoverFrame::Kind::request:
                reply.kind = FailoverFrame::Kind::reply;
                plane_.at(queue_.now() + replica_service_time, [this, reply] {
                    if (gate_) wires_.frame(reply);
                });
                break;
            default:
                break;
        }
    });
}

void FailoverReplica::on_action(const Action& action) {
    wires_.note(fmt::format("{}: {}", failover::to_string(watch_->machine().state()),
                            failover::to_string(action.evidence)));
    wires_.acted(action);
    switch (action.kind) {
        case Action::Kind::enter_suspect:
            if (scenario_.decision.address_probe)
                task(task_time, [this] {
                    wires_.frame({.kind = FailoverFrame::Kind::address_question, .client = 0, .number = 1});
                    address_asked_ = plane_.clock();
                });
            break;
        case Action::Kind::begin_fence:
        case Action::Kind::reassert:
            if (action.kind == Action::Kind::reassert) task(task_time, [this] { announce(announcements.size()); });
            if (!scenario_.decision.fence) break;
            control_.act([this, first = action.kind == Action::Kind::begin_fence] {
                wires_.fence([this, first](bool confirmed) {
                    if (scenario_.sabotage == FailoverSabotage::believes_failed_fence) confirmed = true;
                    if (!first) return;
                    control_.act([this, confirmed] {
                        watch_->fence_ended(confirmed);
                        arm();
                    });
                });
            });
            break;
        case Action::Kind::begin_takeover:
            if (muting_)
                takeover_after_mute_ = true;
            else
                take_over();
            break;
        case Action::Kind::mute:
            mute();
            break;
        default:
            break;
    }
}

void FailoverReplica::task(Duration takes, EventQueue::Action action) {
    last_task_ = std::max({control_.time() + takes, last_task_, queue_.now()});
    plane_.at(last_task_, std::move(action));
}

void FailoverReplica::take_over() {
    const Duration takes = random_.between(task_time, scenario_.takeover_delay);
    task(takes, [this] {
        read_tap();
        gate_ = true;
        gate_since_ = queue_.now();
        client_knows_us_ = false;
        news_ = 0;
        ++takeovers_;
        wires_.note("gate opens");
        announce(0);
        for (std::size_t client = 0; client < scenario_.client_pauses.size(); ++client)
            wires_.frame({.kind = FailoverFrame::Kind::promoted, .client = client, .number = 0});
    });
}

void FailoverReplica::announce(std::size_t repetition) {
    if (!gate_) return;
    wires_.frame({.kind = FailoverFrame::Kind::announcement, .client = 0, .number = 0});
    if (repetition + 1 >= announcements.size()) return;
    plane_.at(queue_.now() + (announcements[repetition + 1] - announcements[repetition]),
              [this, repetition, of = takeovers_] {
                  if (of == takeovers_) announce(repetition + 1);
              });
}

void FailoverReplica::mute() {
    muting_ = true;
    takeover_after_mute_ = false;
    task(task_time, [this] {
        gate_ = false;
        unanswered_since_.reset();
        wires_.note("gate closes");
        control_.act([this] {
            muting_ = false;
            if (std::exchange(takeover_after_mute_, false)) take_over();
        });
    });
}

void FailoverReplica::ask_settled() {
    const failover::Instant until = read_until_;
    // Now and then something is left to be followed.
    const bool settled = !random_.chance(300'000);
    task(task_time, [this, until, settled] {
        control_.act([this, until, settled] {
            watch_->settled(settled ? std::optional(until) : std::nullopt);
            arm();
        });
    });
}

void FailoverReplica::promote(bool force) {
    control_.act([this, force] {
        wires_.note(fmt::format("promote{}: {}", force ? " --force" : "", watch_->promote(force).value_or("done")));
        arm();
    });
}

void FailoverReplica::switchover() {
    control_.act([this] {
        wires_.note("switchover: " + watch_->switchover().value_or("begun"));
        arm();
    });
}

void FailoverReplica::demote() {
    control_.act([this] {
        wires_.note("demote: " + watch_->demote().value_or("done"));
        arm();
    });
}

void FailoverReplica::set_maintenance(bool on) {
    control_.act([this, on] {
        watch_->set_maintenance(on);
        wires_.note(on ? "maintenance" : "maintenance ends");
        arm();
    });
}

}  // namespace understudy::sim
