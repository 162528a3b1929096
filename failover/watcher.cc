#include "failover/watcher.hh"

#include <utility>

#include <boost/asio/steady_timer.hpp>

#include "failover/heartbeat_service.hh"

namespace understudy::failover {

struct Watcher::Impl : std::enable_shared_from_this<Impl> {
    boost::asio::steady_timer timer;
    DecisionSettings settings;
    DecisionMachine machine;
    Senses senses;
    OnAction on_action;
    std::optional<Instant> address_answer;  // the newest that the machine knows
    bool running = false;

    Impl(boost::asio::io_context& io, const DecisionSettings& wanted, Senses where, OnAction action)
        : timer(io),
          settings(wanted),
          machine(wanted, monotonic_now()),
          senses(std::move(where)),
          on_action(std::move(action)) {}

    bool act(const std::optional<Action>& action) {
        if (!action) return false;
        if (action->kind == Action::Kind::probe)
            senses.send_probe();
        else
            on_action(*action);
        return true;
    }

    // All that is known by now, told to the machine.
    Observed look() {
        Observed observed;
        observed.links = senses.read_links();
        const Tap tap = senses.tap();
        observed.tap = tap.read_until;
        if (tap.newest) act(machine.primary_on_tap(*tap.newest));
        if (tap.address_answer && tap.address_answer != address_answer) {
            address_answer = tap.address_answer;
            act(machine.address_answered(*address_answer));
        }
        return observed;
    }

    void run_until_due_later() {
        const Observed observed = look();
        while (running && act(machine.tick(monotonic_now(), observed))) {
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

Watcher::Watcher(boost::asio::io_context& io, const DecisionSettings& settings, Senses senses,
                 OnAction on_action)
    : impl_(std::make_shared<Impl>(io, settings, std::move(senses), std::move(on_action))) {}

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

void Watcher::probe_answered(Instant at) {
    impl_->act(impl_->machine.probe_answered(at));
}

void Watcher::fence_ended(bool confirmed) {
    impl_->look();
    impl_->act(impl_->machine.fence_ended(confirmed, monotonic_now()));
    impl_->arm();
}

std::optional<std::string> Watcher::promote(bool force) {
    impl_->look();
    OperatorAnswer answer = impl_->machine.promote(monotonic_now(), force);
    if (!impl_->act(answer.action)) return std::move(answer.refusal);
    impl_->timer.cancel();
    return std::nullopt;
}

const DecisionMachine& Watcher::machine() const {
    return impl_->machine;
}

}  // namespace understudy::failover
