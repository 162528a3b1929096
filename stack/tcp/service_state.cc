// A program that began beside a primary with a history is equal to it only where somebody who knows says so, and
// only until it misses an input that the primary's program may have had (rules.md 5).
#include "stack/tcp/core.hh"

namespace understudy::stack::tcp {

namespace {

void lose(Core& core, Listener& listener) {
    if (listener.state != ServiceState::attested) return;
    listener.state = ServiceState::lost;
    ++core.counters.states_lost;
    core.events.state_lost(listener.service);
}

}  // namespace

void lose_state(Core& core, const Endpoint& service) {
    if (core.mode == Mode::master) return;  // its state is the one that counts
    if (Listener* const listener = core.listener(service)) lose(core, *listener);
}

void judge_states(Core& core) {
    for (Listener& listener : core.listeners())
        if (listener.missing_input != 0) lose(core, listener);
}

void note_missing_input(Core& core, Connection& c, bool misses) {
    if (c.shadow->misses_input == misses) return;
    Listener* const listener = core.listener(core.local_of(c));
    if (listener == nullptr) return;
    c.shadow->misses_input = misses;
    listener->missing_input += misses ? 1 : -1;
}

void leave_service(Core& core, Connection& c) {
    if (c.shadow->misses_input && !c.is_synchronized()) lose_state(core, core.local_of(c));
    if (c.shadow->hole_since != never) lose_state(core, core.local_of(c));
    note_missing_input(core, c, false);
    note_answer(core, c);
}

}  // namespace understudy::stack::tcp
