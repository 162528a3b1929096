#include "failover/watcher.hh"

#include <functional>
#include <utility>

#include <boost/asio/steady_timer.hpp>

#include "failover/heartbeat_service.hh"

namespace understudy::failover {

namespace {

// A master looks for what speaks against it: often until a client knows it, for until then it can go back.
constexpr Duration veto_watch = std::chrono::milliseconds(1);
constexpr Duration committed_watch = std::chrono::milliseconds(20);

}  // namespace

struct Watcher::Impl : std::enable_shared_from_this<Impl> {
    boost::asio::steady_timer timer;
    DecisionSettings settings;
    DecisionMachine machine;
    Senses senses;
    OnAction on_action;
    OnWord on_word;
    ReplicaWord said;
    std::optional<Instant> address_answer;  // the newest that the machine knows
    std::optional<Instant> settled;
    bool settled_asked = false;
    bool client_knows_us = false;
    std::uint64_t primary_news = 0;
    bool running = false;

    Impl(boost::asio::io_context& io, const DecisionSettings& wanted, Senses where, OnAction action, OnWord word)
        : timer(io),
          settings(wanted),
          machine(wanted, monotonic_now()),
          senses(std::move(where)),
          on_action(std::move(action)),
          on_word(std::move(word)) {}

    bool act(const std::optional<Action>& action) {
        if (action && action->kind == Action::Kind::probe)
            senses.send_probe();
        else if (action)
            on_action(*action);
        if (std::exchange(said, machine.word()) != machine.word()) on_word(said);
        return action.has_value();
    }

    // All that is known by now, told to the machine.
    Observed look() {
        Observed observed;
        observed.links = senses.read_links();
        const Tap tap = senses.tap();
        observed.tap = tap.read_until;
        observed.carrier = tap.carrier;
        observed.unanswered_since = tap.unanswered_since;
        observed.settled = settled;
        if (tap.newest) act(machine.primary_on_tap(*tap.newest));
        if (tap.address_answer && tap.address_answer != address_answer) {
            address_answer = tap.address_answer;
            act(machine.address_answered(*address_answer));
        }
        look_for_veto(tap);
        return observed;
    }

    // In this order: what a client acknowledged before the primary spoke speaks for us.
    void look_for_veto(const Tap& tap) {
        client_knows_us = tap.client_knows_us;
        const std::uint64_t known = std::exchange(primary_news, tap.primary_news);
        if (machine.state() != State::master) return;
        if (client_knows_us) machine.client_acknowledged();
        if (primary_news > known) act(machine.primary_spoke(monotonic_now()));
    }

    void conclude() {
        const Observed observed = look();
        while (running && act(machine.tick(monotonic_now(), observed))) {
        }
    }

    void run_until_due_later() {
        conclude();
        if (machine.asks_whether_settled() && !std::exchange(settled_asked, true)) {
            senses.ask_settled();
        }
        arm();
    }

    // An operator's word: looks first, for what is known decides, and again when the machine is due.
    std::optional<std::string> ask(const std::function<OperatorAnswer()>& question) {
        look();
        OperatorAnswer answer = question();
        act(answer.action);
        arm();
        if (answer.refusal.empty()) return std::nullopt;
        return std::move(answer.refusal);
    }

    std::optional<Instant> next_look() const {
        if (machine.state() != State::master) return machine.next_deadline();
        return monotonic_now() + (client_knows_us ? committed_watch : veto_watch);
    }

    void arm() {
        const std::optional<Instant> due = next_look();
        timer.cancel();
        if (!running || !due) return;
        timer.expires_at(std::chrono::steady_clock::time_point(due->time_since_epoch()));
        timer.async_wait([self = shared_from_this()](boost::system::error_code error) {
            if (!error && self->running) self->run_until_due_later();
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
    impl_->machine = DecisionMachine(impl_->settings, monotonic_now());
    impl_->running = true;
    impl_->said = impl_->machine.word();
    impl_->on_word(impl_->said);
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

void Watcher::agent_says(const AgentWord& word, Instant at) {
    impl_->act(impl_->machine.agent_says(word, at));
    // Its word may be reason enough, at once.
    impl_->arm();
}

void Watcher::witness_answered(Instant at) {
    impl_->machine.witness_answered(at);
}

void Watcher::settled(std::optional<Instant> read_until) {
    impl_->settled_asked = false;
    impl_->settled = read_until;
    if (!read_until) return;
    impl_->conclude();
    impl_->arm();
}

void Watcher::fence_ended(bool confirmed) {
    impl_->look();
    impl_->act(impl_->machine.fence_ended(confirmed, monotonic_now()));
    impl_->arm();
}

std::optional<std::string> Watcher::promote(bool force) {
    return impl_->ask([&] { return impl_->machine.promote(monotonic_now(), force); });
}

std::optional<std::string> Watcher::switchover() {
    return impl_->ask([&] { return impl_->machine.switchover(monotonic_now()); });
}

std::optional<std::string> Watcher::demote() {
    return impl_->ask([&] { return impl_->machine.demote(monotonic_now()); });
}

std::optional<std::string> Watcher::set_maintenance(bool on) {
    return impl_->ask([&] { return impl_->machine.set_maintenance(on, monotonic_now()); });
}

const DecisionMachine& Watcher::machine() const {
    return impl_->machine;
}

}  // namespace understudy::failover
