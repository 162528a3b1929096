#include "failover/watcher.hh"

#include <utility>

#include <boost/asio/steady_timer.hpp>

#include "failover/heartbeat_service.hh"

namespace understudy::failover {

struct Watcher::Impl : std::enable_shared_from_this<Impl> {
    boost::asio::steady_timer timer;
    DecisionSettings settings;
    DecisionMachine machine;
    NewestOnTap newest_on_tap;
    OnAction on_action;
    bool running = false;

    Impl(boost::asio::io_context& io, const DecisionSettings& wanted, NewestOnTap newest, OnAction action)
        : timer(io),
          settings(wanted),
          machine(wanted, monotonic_now()),
          newest_on_tap(std::move(newest)),
          on_action(std::move(action)) {}

    bool act(const std::optional<Action>& action) {
        if (action) on_action(*action);
        return action.has_value();
    }

    void report_tap() {
        if (const std::optional<Instant> newest = newest_on_tap()) act(machine.primary_on_tap(*newest));
    }

    void run_until_due_later() {
        report_tap();
        while (running && act(machine.tick(monotonic_now()))) {
        }
        arm();
    }

    void arm() {
        const std::optional<Instant> due = machine.next_deadline();
        if (!running || !due) return;
        timer.expires_at(std::chrono::steady_clock::time_point(due->time_since_epoch()));
        timer.async_wait([self = shared_from_this()](boost::system::error_code error) {
            if (!error && self->running) self->run_until_due_later();
        });
    }
};

Watcher::Watcher(boost::asio::io_context& io, const DecisionSettings& settings, NewestOnTap newest_on_tap,
                 OnAction on_action)
    : impl_(std::make_shared<Impl>(io, settings, std::move(newest_on_tap), std::move(on_action))) {}

Watcher::~Watcher() {
    stop();
}

void Watcher::start() {
    impl_->machine = DecisionMachine(impl_->settings, monotonic_now());
    impl_->running = true;
    impl_->arm();
}

void Watcher::stop() {
    impl_->running = false;
    impl_->timer.cancel();
}

void Watcher::heartbeat(std::size_t link, Instant at) {
    impl_->act(impl_->machine.heartbeat(link, at));
}

std::optional<std::string> Watcher::promote(bool force) {
    impl_->report_tap();
    PromoteAnswer answer = impl_->machine.promote(monotonic_now(), force);
    if (!impl_->act(answer.action)) return std::move(answer.refusal);
    impl_->timer.cancel();
    return std::nullopt;
}

const DecisionMachine& Watcher::machine() const {
    return impl_->machine;
}

}  // namespace understudy::failover
