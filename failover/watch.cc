#include "failover/watch.hh"

#include <utility>

namespace understudy::failover {
namespace {

// A master looks for what speaks against it: often until a client knows it, for until then it can go back.
constexpr Duration veto_watch = std::chrono::milliseconds(1);
constexpr Duration committed_watch = std::chrono::milliseconds(20);

}  // namespace

Watch::Watch(const DecisionSettings& settings, Senses senses, OnAction on_action, OnWord on_word)
    : settings_(settings),
      senses_(std::move(senses)),
      on_action_(std::move(on_action)),
      on_word_(std::move(on_word)),
      machine_(settings, senses_.now()) {}

void Watch::restart() {
    machine_ = DecisionMachine(settings_, senses_.now());
    said_ = machine_.word();
    on_word_(said_);
}

bool Watch::act(const std::optional<Action>& action) {
    if (action && action->kind == Action::Kind::probe)
        senses_.send_probe();
    else if (action)
        on_action_(*action);
    if (std::exchange(said_, machine_.word()) != machine_.word()) on_word_(said_);
    return action.has_value();
}

// All that is known by now, told to the machine.
Observed Watch::look() {
    Observed observed;
    observed.links = senses_.read_links();
    const Tap tap = senses_.tap();
    observed.tap = tap.read_until;
    observed.carrier = tap.carrier;
    observed.address_asked = tap.address_asked;
    observed.unanswered_since = tap.unanswered_since;
    observed.settled = settled_;
    if (tap.newest) act(machine_.primary_on_tap(*tap.newest));
    if (tap.address_answer && tap.address_answer != address_answer_) {
        address_answer_ = tap.address_answer;
        act(machine_.address_answered(*address_answer_));
    }
    look_for_veto(tap);
    return observed;
}

// In this order: what a client acknowledged before the primary spoke speaks for us.
void Watch::look_for_veto(const Tap& tap) {
    client_knows_us_ = tap.client_knows_us;
    const std::uint64_t known = std::exchange(primary_news_, tap.primary_news);
    if (machine_.state() != State::master) return;
    if (client_knows_us_) machine_.client_acknowledged();
    if (primary_news_ > known) act(machine_.primary_spoke(senses_.now()));
}

void Watch::conclude() {
    const Observed observed = look();
    while (act(machine_.tick(senses_.now(), observed))) {
    }
}

void Watch::run() {
    conclude();
    if (machine_.asks_whether_settled() && !std::exchange(settled_asked_, true)) senses_.ask_settled();
}

std::optional<Instant> Watch::due() const {
    if (machine_.state() != State::master) return machine_.next_deadline();
    return senses_.now() + (client_knows_us_ ? committed_watch : veto_watch);
}

void Watch::heartbeat(std::size_t link, Instant at) {
    act(machine_.heartbeat(link, at));
}

void Watch::probe_answered(Instant at) {
    act(machine_.probe_answered(at));
}

void Watch::agent_says(const AgentWord& word, Instant at) {
    act(machine_.agent_says(word, at));
}

void Watch::witness_answered(Instant at) {
    machine_.witness_answered(at);
}

void Watch::settled(std::optional<Instant> read_until) {
    settled_asked_ = false;
    settled_ = read_until;
    if (read_until) conclude();
}

void Watch::fence_ended(bool confirmed) {
    look();
    act(machine_.fence_ended(confirmed, senses_.now()));
}

// Looks first, for what is known decides.
std::optional<std::string> Watch::ask(const std::function<OperatorAnswer()>& question) {
    look();
    OperatorAnswer answer = question();
    act(answer.action);
    if (answer.refusal.empty()) return std::nullopt;
    return std::move(answer.refusal);
}

std::optional<std::string> Watch::promote(bool force) {
    return ask([&] { return machine_.promote(senses_.now(), force); });
}

std::optional<std::string> Watch::switchover() {
    return ask([&] { return machine_.switchover(senses_.now()); });
}

std::optional<std::string> Watch::demote() {
    return ask([&] { return machine_.demote(senses_.now()); });
}

std::optional<std::string> Watch::set_maintenance(bool on) {
    return ask([&] { return machine_.set_maintenance(on, senses_.now()); });
}

}  // namespace understudy::failover
