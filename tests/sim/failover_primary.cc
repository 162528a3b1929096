#include "tests/sim/failover_primary.hh"

#include <fmt/format.h>

namespace understudy::sim {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr Duration primary_service_time = microseconds(200);
// The agent's unit starts before the service's; how soon it looks again for a service that ended.
constexpr Duration service_after_agent = milliseconds(20);
constexpr Duration guard_report = microseconds(100);
constexpr Duration look_interval = milliseconds(200);

}  // namespace

FailoverPrimary::FailoverPrimary(EventQueue& queue, const FailoverScenario& scenario, Random random, Wires wires)
    : queue_(queue),
      scenario_(scenario),
      random_(random),
      wires_(std::move(wires)),
      kernel_(queue, scenario.primary_drift, Duration::zero()),
      agent_(queue, scenario.primary_drift, Duration::zero()) {}

void FailoverPrimary::boot() {
    if (is_on()) return;
    wires_.note("boots");
    kernel_.start();
    silenced_ = guarded_ = false;
    hangs_until_ = {};
    changed_ = queue_.now();
    start_agent(false);
    kernel_.at(queue_.now() + service_after_agent, [this] {
        service_lives_ = true;
        changed_ = queue_.now();
        if (!machine_) return;
        machine_->service_lives(true);
        agent_.act([this] { apply(); });
    });
}

void FailoverPrimary::power_off() {
    if (!is_on()) return;
    wires_.note("is off");
    kernel_.end();
    agent_.end();
    links_.reset();
    machine_.reset();
    service_lives_ = false;
    changed_ = queue_.now();
}

void FailoverPrimary::freeze(Duration duration) {
    if (!is_on()) return;
    kernel_.stall(duration);
    agent_.stall(duration);
}

void FailoverPrimary::stall_agent(Duration duration) {
    agent_.stall(duration);
}

void FailoverPrimary::start_agent(bool found_silenced) {
    agent_.end();
    agent_.start();
    if (!kernel_.runs()) agent_.stall(kernel_.runs_since() - queue_.now());
    failover::AgentSettings settings = scenario_.agent;
    settings.found_silenced = found_silenced;
    Random random = random_.stream("agent", ++agents_started_);
    machine_.emplace(settings, static_cast<std::uint32_t>(random.next()), agent_.clock());
    machine_->carrier(carrier_);
    said_.reset();
    filtering_ = spoke_ = false;
    const failover::DecisionSettings& decision = scenario_.decision;
    links_ = std::make_unique<FailoverEndpoint>(
        agent_,
        failover::Links::Settings{.links = decision.links,
                                  .interval = decision.heartbeat_interval,
                                  .deadline = decision.heartbeat_deadline()},
        failover::Role::agent, random,
        FailoverEndpoint::Handlers{
            .send = [this](std::size_t link, const std::string& bytes) {
                agent_.act([this, link, bytes] { wires_.datagram(link, bytes); });
            },
            .words =
                [this](const failover::PeerWords& words, failover::Instant at) {
                    if (!words.replica) return;
                    if (scenario_.sabotage == FailoverSabotage::agent_ignores_master &&
                        words.replica->state == failover::State::master)
                        return;
                    machine_->replica_says(*words.replica, at);
                    apply();
                }});
    agent_.act([this] {
        // A held start is silent before anything can be said.
        apply();
        links_->start();
    });
}

void FailoverPrimary::restart_agent() {
    if (!is_on()) return;
    wires_.note("agent restarts");
    start_agent(silenced_);
    machine_->service_lives(service_lives_);
}

void FailoverPrimary::hang_service(Duration duration) {
    hangs_until_ = std::max(hangs_until_, queue_.now() + duration);
}

void FailoverPrimary::end_service() {
    if (!is_on() || !service_lives_) return;
    service_lives_ = false;
    guarded_ = true;
    changed_ = queue_.now();
    agent_.at(queue_.now() + guard_report, [this] {
        machine_->service_lives(false);
        apply();
    });
}

void FailoverPrimary::restart_service() {
    if (!is_on() || service_lives_) return;
    service_lives_ = true;
    changed_ = queue_.now();
    agent_.at(queue_.now() + random_.between(Duration::zero(), look_interval), [this] {
        machine_->service_lives(service_lives_);
        apply();
    });
}

void FailoverPrimary::set_carrier(bool present) {
    carrier_ = present;
    changed_ = queue_.now();
    if (!is_on()) return;
    agent_.act([this] {
        machine_->carrier(carrier_);
        apply();
    });
}

void FailoverPrimary::hand_over() {
    if (!is_on()) return;
    agent_.act([this] {
        machine_->hand_over(agent_.clock());
        apply();
    });
}

// As tools/agent/service_keeper.cc: the filter is set by a call that takes its time, and what it did is said after it.
void FailoverPrimary::apply() {
    const bool wanted = machine_->wants_silence();
    if (wanted != machine_->word().silenced && !filtering_) {
        filtering_ = true;
        if (scenario_.sabotage == FailoverSabotage::agent_says_too_early) {
            failover::AgentWord word = machine_->word();
            word.silenced = wanted;
            ++word.number;
            links_->say(word);
        }
        agent_.work(scenario_.silencing);
        agent_.at(agent_.time(), [this, wanted] {
            filtering_ = false;
            silenced_ = wanted;
            wires_.note(wanted ? "service silenced" : "service may speak");
            machine_->silenced(wanted);
            apply();
        });
        return;
    }
    if (filtering_) return;
    if (!wanted) guarded_ = false;
    if (std::exchange(spoke_, !wanted) == wanted && !wanted)
        emit({.kind = FailoverFrame::Kind::announcement, .client = 0, .number = 0});
    const failover::AgentWord word = machine_->word();
    if (said_ != word) {
        said_ = word;
        wires_.note(fmt::format("agent says {}, number {}", failover::to_string(word), word.number));
        links_->say(word);
    }
    if (const auto due = machine_->next_deadline())
        agent_.at(agent_.instant_of(*due), [this] {
            machine_->tick(agent_.clock());
            apply();
        });
}

void FailoverPrimary::datagram(std::size_t link, std::string bytes) {
    if (links_) links_->arrived(link, std::move(bytes));
}

void FailoverPrimary::probed(std::size_t link) {
    if (is_on()) kernel_.act([this, link] { wires_.probe_answer(link); });
}

// What arrives at a frozen host waits in its rings.
void FailoverPrimary::frame(const FailoverFrame& frame) {
    if (!is_on()) return;
    kernel_.act([this, frame] {
        if (frame.kind == FailoverFrame::Kind::request) serve(frame);
        if (frame.kind == FailoverFrame::Kind::address_question) {
            FailoverFrame answer = frame;
            answer.kind = FailoverFrame::Kind::address_answer;
            emit(answer);
        }
    });
}

void FailoverPrimary::serve(const FailoverFrame& request) {
    if (silenced_ || !service_lives_) return;
    FailoverFrame reply = request;
    reply.kind = FailoverFrame::Kind::reply;
    kernel_.at(std::max(queue_.now() + primary_service_time, hangs_until_), [this, reply] {
        if (service_lives_) emit(reply);
    });
}

void FailoverPrimary::emit(const FailoverFrame& frame) {
    if (!is_mute()) wires_.frame(frame);
}

Instant FailoverPrimary::healthy_since() const {
    if (!service_lives_ || queue_.now() < hangs_until_) return Instant::max();
    return std::max({kernel_since(), hangs_until_, changed_});
}

Instant FailoverPrimary::able_since() const {
    return is_mute() ? Instant::max() : healthy_since();
}

}  // namespace understudy::sim
