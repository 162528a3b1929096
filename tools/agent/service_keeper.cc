#include "tools/agent/service_keeper.hh"

#include <sodium/randombytes.h>
#include <spdlog/spdlog.h>
#include <sys/wait.h>

#include <algorithm>
#include <utility>

namespace understudy::tools {
namespace {

// How soon to look again for a service that has ended, and to try again to silence one that could not be.
constexpr std::chrono::milliseconds look_interval{200};
constexpr std::chrono::milliseconds retry_interval{50};

std::vector<std::string> interfaces_of(const std::vector<ServiceOnPort>& services) {
    std::vector<std::string> names;
    for (const ServiceOnPort& service : services)
        if (std::ranges::find(names, service.interface) == names.end()) names.push_back(service.interface);
    return names;
}

std::string end_of(int wait_status) {
    if (WIFSIGNALED(wait_status)) return "signal " + std::to_string(WTERMSIG(wait_status));
    return "exit status " + std::to_string(WEXITSTATUS(wait_status));
}

failover::AgentSettings found(failover::AgentSettings settings, bool silenced) {
    settings.found_silenced = silenced;
    return settings;
}

}  // namespace

ServiceKeeper::ServiceKeeper(boost::asio::io_context& io, const Settings& settings,
                             failover::HeartbeatService& heartbeats, EventLog& events,
                             std::function<void()> on_speaks)
    : events_(events),
      heartbeats_(heartbeats),
      on_speaks_(std::move(on_speaks)),
      silencer_(settings.services),
      port_(io, interfaces_of(settings.services),
            [this](bool present) {
                events_.add("carrier", {{"present", present}});
                spdlog::warn("event=carrier present={}", present);
                machine_.carrier(present);
                apply();
            }),
      machine_(found(settings.machine, silencer_.is_silent()), randombytes_random(), failover::monotonic_now()),
      timer_(io),
      look_timer_(io),
      retry_timer_(io) {
    if (!settings.guard.empty()) {
        target_.emplace(settings.guard);
        guard_ = std::make_unique<Guard>(
            io, settings.services, [this](pid_t process, int wait_status) { on_death(process, wait_status); });
    }
    silenced_ = machine_.word().silenced;
    if (silenced_) spdlog::warn("the service was left silenced, and stays so until the replica says that it is silent");
    // Before anything can be said: a held start begins with the first word.
    if (!port_.carrier()) machine_.carrier(false);
    obey();
}

void ServiceKeeper::start() {
    running_ = true;
    if (guard_) look_for_service();
    apply();
}

void ServiceKeeper::stop() {
    running_ = false;
    timer_.cancel();
    look_timer_.cancel();
    retry_timer_.cancel();
}

// Twice: what was started between the reading and the watching is found by the second.
void ServiceKeeper::look_for_service() {
    for (int i = 0; i < 2; ++i)
        guard_->watch(target_->processes(), target_->main());
    if (const std::size_t watched = guard_->watched(); watched > 0) {
        events_.add("guarded", {{"processes", watched}});
        spdlog::info("event=guarded processes={}", watched);
        machine_.service_lives(true);
        return;
    }
    machine_.service_lives(false);
    if (!target_->may_return()) return;
    look_timer_.expires_after(look_interval);
    look_timer_.async_wait([this](const boost::system::error_code& error) {
        if (error || !running_) return;
        look_for_service();
        apply();
    });
}

void ServiceKeeper::on_death(pid_t process, int wait_status) {
    machine_.service_lives(false);
    apply();
    events_.add("service_dead", {{"process", process}, {"end", end_of(wait_status)}});
    spdlog::error("event=service_dead process={} end=\"{}\"", process, end_of(wait_status));
    // Its number may soon be another's.
    if (process == target_->main()) return;
    look_timer_.expires_after(look_interval);
    look_timer_.async_wait([this](const boost::system::error_code& error) {
        if (error || !running_) return;
        look_for_service();
        apply();
    });
}

void ServiceKeeper::replica_says(const failover::ReplicaWord& word, failover::Instant at) {
    machine_.replica_says(word, at);
    apply();
}

void ServiceKeeper::hand_over(std::function<void(Handover)> done) {
    on_handover_ = std::move(done);
    machine_.hand_over(failover::monotonic_now());
    apply();
}

void ServiceKeeper::apply() {
    obey();
    tell();
    const Handover handover = machine_.handover();
    if (on_handover_ && handover != Handover::none && handover != Handover::under_way)
        std::exchange(on_handover_, nullptr)(handover);
    arm();
}

// The filter first, the guard's after it: nothing leaks in between.
void ServiceKeeper::obey() {
    const bool wanted = machine_.wants_silence();
    if (wanted != silenced_) {
        if (retrying_) return;
        const bool done = wanted ? silencer_.silence() : silencer_.let_speak();
        if (!done) {
            events_.add("filter_failed", {{"silence", wanted}, {"reason", silencer_.why()}});
            spdlog::critical("event=filter_failed silence={} reason=\"{}\"", wanted, silencer_.why());
            retrying_ = true;
            retry_timer_.expires_after(retry_interval);
            retry_timer_.async_wait([this](const boost::system::error_code& error) {
                retrying_ = false;
                if (!error && running_) apply();
            });
            return;
        }
        silenced_ = wanted;
        machine_.silenced(wanted);
    }
    // A service that ends unsilenced, for no replica is known, is left to its kernel.
    if (!wanted && guard_) guard_->open();
    if (running_ && std::exchange(spoke_, !wanted) == wanted && !wanted) on_speaks_();
}

void ServiceKeeper::tell() {
    const failover::AgentWord word = machine_.word();
    if (!running_ || word == said_) return;
    said_ = word;
    heartbeats_.say(word);
    events_.add("says", {{"service", failover::to_string(word)}});
    spdlog::info("event=says service=\"{}\"", failover::to_string(word));
}

void ServiceKeeper::arm() {
    const auto due = machine_.next_deadline();
    if (!due || !running_) return;
    timer_.expires_at(std::chrono::steady_clock::time_point(due->time_since_epoch()));
    timer_.async_wait([this](const boost::system::error_code& error) {
        if (error || !running_) return;
        machine_.tick(failover::monotonic_now());
        apply();
    });
}

}  // namespace understudy::tools
