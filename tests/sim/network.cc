#include "tests/sim/network.hh"

#include <algorithm>
#include <utility>

namespace understudy::sim {
namespace {

stack::LinkAddress link_address(const Frame& frame, std::size_t at) {
    stack::LinkAddress address;
    for (std::size_t i = 0; i < address.octets.size(); ++i)
        address.octets[i] = static_cast<std::uint8_t>((*frame)[at + i]);
    return address;
}

}  // namespace

Switch::Port Switch::add_port(const LinkSettings& link, Receiver receiver) {
    ports_.push_back(std::make_unique<PortState>(
        PortState{link, std::move(receiver), random_.stream("port", ports_.size()), {}, {}}));
    return ports_.size() - 1;
}

void Switch::send(Port port, const Frame& frame) {
    PortState& state = *ports_[port];
    carry(state, state.to_switch, [this, port, frame] { enter(port, frame); });
}

void Switch::cut(Port port, bool lose_in_flight) {
    PortState& state = *ports_[port];
    state.up = false;
    state.accepts = !lose_in_flight;
    std::erase_if(learned_, [port](const auto& entry) { return entry.second == port; });
}

// Schedules the arrival, or the arrivals, or none.
void Switch::carry(PortState& port, Direction& direction, EventQueue::Action arrive) {
    const LinkSettings& link = port.link;
    if (port.random.chance(link.loss_per_million)) {
        ++counters_.lost;
        return;
    }
    Instant arrival = queue_.now() + link.delay + port.random.between(Duration::zero(), link.jitter);
    if (port.random.chance(link.reorder_per_million)) {
        ++counters_.reordered;
        arrival += port.random.between(Duration(1), link.reorder_delay);
    } else {
        arrival = std::max(arrival, direction.last_arrival);
        direction.last_arrival = arrival;
    }
    if (port.random.chance(link.duplicate_per_million)) {
        ++counters_.duplicated;
        queue_.at(arrival + port.random.between(Duration(1), link.reorder_delay), arrive);
    }
    queue_.at(arrival, std::move(arrive));
}

void Switch::enter(Port port, const Frame& frame) {
    const PortState& state = *ports_[port];
    if (!state.accepts) return;
    if (state.up) learned_[link_address(frame, 6)] = port;
    tell({port, port}, frame);
    const stack::LinkAddress destination = link_address(frame, 0);
    const auto known = learned_.find(destination);
    if (!destination.is_group() && known != learned_.end()) {
        if (known->second != port) leave(port, known->second, frame);
        return;
    }
    for (Port to = 0; to < ports_.size(); ++to)
        if (to != port) leave(port, to, frame);
}

void Switch::leave(Port from, Port to, const Frame& frame) {
    PortState& state = *ports_[to];
    if (!state.up) return;
    tell({from, to}, frame);
    carry(state, state.to_host, [&state, frame] {
        if (state.up) state.receiver(frame);
    });
}

void Switch::tell(const Passage& passage, const Frame& frame) const {
    for (const Observer& observer : observers_)
        observer(passage, frame);
}

}  // namespace understudy::sim
