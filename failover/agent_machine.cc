#include "failover/agent_machine.hh"

namespace understudy::failover {

AgentMachine::AgentMachine(const AgentSettings& settings, std::uint32_t first_number, Instant now)
    : settings_(settings), silenced_(settings.found_silenced), number_(first_number) {
    silent_ = settings_.found_silenced || settings_.hold_at_start > Duration::zero();
    if (!settings_.found_silenced && silent_) held_until_ = now + settings_.hold_at_start;
    renew();
}

ServiceState AgentMachine::service() const {
    if (!lives_) return ServiceState::dead;
    if (!carrier_) return ServiceState::no_carrier;
    if (handover_ != Handover::none && !taking_back_) return ServiceState::shutting_down;
    return silent_ ? ServiceState::standing_by : ServiceState::serving;
}

AgentWord AgentMachine::word() const {
    return {.service = service(), .silenced = silenced_, .overloaded = overloaded_, .number = number_};
}

void AgentMachine::renew() {
    const ServiceState state = service();
    if (state == said_ && silenced_ == said_silenced_) return;
    said_ = state;
    said_silenced_ = silenced_;
    if (++number_ == 0) ++number_;
}

bool AgentMachine::replica_is_heard(Instant now) const {
    return replica_at_ && now - *replica_at_ < settings_.replica_deadline;
}

void AgentMachine::fall_silent() {
    silent_ = true;
    held_until_.reset();
}

// What ends is silenced for a replica's sake alone: without one, clients had better learn of it.
void AgentMachine::service_lives(bool lives) {
    lives_ = lives;
    if (!lives && replica_) fall_silent();
    look_for_leave();
    renew();
}

void AgentMachine::carrier(bool present) {
    carrier_ = present;
    if (!present && replica_) fall_silent();
    look_for_leave();
    renew();
}

void AgentMachine::silenced(bool is) {
    silenced_ = is;
    renew();
}

void AgentMachine::replica_says(const ReplicaWord& word, Instant now) {
    replica_ = word;
    replica_at_ = now;
    if (word.state == State::master || word.wants_silence) fall_silent();
    if (handover_ == Handover::under_way && word.state == State::master) {
        handover_ = Handover::done;
        handover_due_.reset();
    }
    look_for_leave();
    renew();
}

void AgentMachine::look_for_leave() {
    const bool replica_is_silent =
        replica_ && replica_->state == State::silent && !replica_->wants_silence && silenced_ &&
        replica_->heard_number == number_;
    if (!silent_ || !lives_ || !carrier_ || !replica_is_silent) return;
    if (handover_ != Handover::none && !taking_back_) return;
    silent_ = false;
    held_until_.reset();
    if (!taking_back_) return;
    handover_ = Handover::undone;
    handover_due_.reset();
}

void AgentMachine::hand_over(Instant now) {
    if (handover_ != Handover::none) return;
    if (replica_ && replica_->state == State::master) {
        handover_ = Handover::done;
    } else if (!replica_is_heard(now)) {
        handover_ = silent_ ? Handover::uncertain : Handover::undone;
        taking_back_ = true;
    } else {
        handover_ = Handover::under_way;
        handover_due_ = now + settings_.handover_timeout;
        fall_silent();
    }
    renew();
}

void AgentMachine::tick(Instant now) {
    if (held_until_ && now >= *held_until_) {
        held_until_.reset();
        // A replica that is heard is waited for, however long it takes.
        if (!replica_) silent_ = false;
    }
    if (handover_due_ && now >= *handover_due_) {
        handover_due_.reset();
        if (taking_back_) {
            handover_ = Handover::uncertain;
        } else {
            taking_back_ = true;
            handover_due_ = now + settings_.handover_timeout;
        }
    }
    renew();
}

std::optional<Instant> AgentMachine::next_deadline() const {
    if (held_until_ && handover_due_) return std::min(*held_until_, *handover_due_);
    return held_until_ ? held_until_ : handover_due_;
}

}  // namespace understudy::failover
