#include "failover/watcher.hh"

#include <utility>

#include <boost/asio/steady_timer.hpp>

#include "failover/heartbeat_service.hh"

namespace understudy::failover {
namespace {

Watch::Senses by_the_clock(Watch::Senses senses) {
    senses.now = monotonic_now;
    return senses;
}

}  // namespace

struct Watcher::Impl : std::enable_shared_from_this<Impl> {
    boost::asio::steady_timer timer;
    Watch watch;
    bool running = false;

    Impl(boost::asio::io_context& io, const DecisionSettings& settings, Senses senses, OnAction on_action,
         OnWord on_word)
        : timer(io),
          watch(settings, by_the_clock(std::move(senses)), std::move(on_action), std::move(on_word)) {}

    void arm() {
        timer.cancel();
        if (!running) return;
        const std::optional<Instant> due = watch.due();
        if (!due) return;
        timer.expires_at(std::chrono::steady_clock::time_point(due->time_since_epoch()));
        timer.async_wait([self = shared_from_this()](boost::system::error_code error) {
            if (error || !self->running) return;
            self->watch.run();
            self->arm();
        });
    }
};

Watcher::Watcher(boost::asio::io_context& io, const DecisionSettings& settings, Senses senses,
                 OnAction on_action, OnWord on_word)
    : impl_(std::make_shared<Impl>(io, settings, std::move(senses), std::move(on_action),
                                   std::move(on_word))) {}

Watcher::~Watcher() {
    stop();
}

void Watcher::start() {
    impl_->running = true;
    impl_->watch.restart();
    impl_->arm();
}

void Watcher::stop() {
    impl_->running = false;
    impl_->timer.cancel();
}

void Watcher::heartbeat(std::size_t link, Instant at) {
    impl_->watch.heartbeat(link, at);
}

void Watcher::probe_answered(Instant at) {
    impl_->watch.probe_answered(at);
}

void Watcher::agent_says(const AgentWord& word, Instant at) {
    impl_->watch.agent_says(word, at);
    // Its word may be reason enough, at once.
    impl_->arm();
}

void Watcher::witness_answered(Instant at) {
    impl_->watch.witness_answered(at);
}

void Watcher::settled(std::optional<Instant> read_until) {
    if (!impl_->running) return;
    impl_->watch.settled(read_until);
    impl_->arm();
}

void Watcher::fence_ended(bool confirmed) {
    impl_->watch.fence_ended(confirmed);
    impl_->arm();
}

std::optional<std::string> Watcher::promote(bool force) {
    auto refusal = impl_->watch.promote(force);
    impl_->arm();
    return refusal;
}

std::optional<std::string> Watcher::switchover() {
    auto refusal = impl_->watch.switchover();
    impl_->arm();
    return refusal;
}

std::optional<std::string> Watcher::demote() {
    auto refusal = impl_->watch.demote();
    impl_->arm();
    return refusal;
}

std::optional<std::string> Watcher::set_maintenance(bool on) {
    auto refusal = impl_->watch.set_maintenance(on);
    impl_->arm();
    return refusal;
}

const DecisionMachine& Watcher::machine() const {
    return impl_->watch.machine();
}

}  // namespace understudy::failover
