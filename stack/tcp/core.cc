#include "stack/tcp/core.hh"

#include <algorithm>
#include <cassert>
#include <utility>

#include "stack/ip/routes.hh"

namespace understudy::stack::tcp {
namespace {

constexpr std::size_t most_spare_recoveries = 1024;

std::vector<IpAddress> distinct_addresses(const Settings& settings) {
    std::vector<IpAddress> addresses = settings.addresses;
    std::vector<Endpoint> services = settings.services;
    services.insert(services.end(), settings.udp_services.begin(), settings.udp_services.end());
    for (const Endpoint& service : services)
        if (std::find(addresses.begin(), addresses.end(), service.address) == addresses.end())
            addresses.push_back(service.address);
    return addresses;
}

// The edges of RFC 9293 figure 5, with those that a segment carrying ACK and FIN together takes at once.
bool is_legal(State from, State to) {
    using enum State;
    switch (from) {
        case syn_sent:
            return to == established || to == syn_received;
        case syn_received:
            return to == established || to == fin_wait_1 || to == close_wait;
        case established:
            return to == fin_wait_1 || to == close_wait;
        case fin_wait_1:
            return to == fin_wait_2 || to == closing || to == time_wait;
        case fin_wait_2:
            return to == time_wait;
        case close_wait:
            return to == last_ack;
        case closing:
            return to == time_wait;
        case last_ack:
            return to == time_wait;  // only to let the application read the rest
        case time_wait:
            return false;
    }
    return false;
}

}  // namespace

Core::Core(const Settings& s, FrameSink& sink, ConnectionEvents& e, RandomSource& random)
    : settings(s),
      gate(sink, counters, s.initial_mode == Mode::master),
      events(e),
      sequence(random),
      table(random.next(), s.max_connections),
      time_wait(random.next(), s.tcp.max_time_wait),
      noise(random.next()),
      mode(s.initial_mode),
      neighbours(settings.neighbours, counters),
      local_addresses_(distinct_addresses(s)),
      congestion_(congestion_control(s.tcp.congestion)) {
    for (const Endpoint& service : s.services)
        add_service(service);
}

std::optional<std::uint32_t> Core::local_address_index(const IpAddress& address) const {
    for (std::uint32_t i = 0; i < local_addresses_.size(); ++i)
        if (local_addresses_[i] == address) return i;
    return std::nullopt;
}

bool Core::is_service(const Endpoint& endpoint) const {
    return std::any_of(listeners_.begin(), listeners_.end(),
                       [&](const Listener& listener) { return listener.service == endpoint; });
}

void Core::add_service(const Endpoint& endpoint) {
    if (is_service(endpoint)) return;
    const auto replication = settings.replication.find(endpoint);
    Listener listener;
    listener.service = endpoint;
    listener.options = settings.tcp.options;
    if (replication != settings.replication.end()) listener.replication = replication->second;
    if (listener.replication.stateful) listener.state = ServiceState::unproven;
    listeners_.push_back(listener);
}

void Core::remove_service(const Endpoint& endpoint) {
    std::erase_if(listeners_, [&](const Listener& listener) { return listener.service == endpoint; });
}

const Listener* Core::listener(const Endpoint& service) const {
    const auto at = std::find_if(listeners_.begin(), listeners_.end(),
                                 [&](const Listener& listener) { return listener.service == service; });
    return at == listeners_.end() ? nullptr : &*at;
}

Listener* Core::listener(const Endpoint& service) {
    return const_cast<Listener*>(std::as_const(*this).listener(service));
}

FlowKey Core::key_of(const Endpoint& remote, const Endpoint& local) const {
    const auto index = local_address_index(local.address);
    assert(index.has_value());
    return {remote.address, remote.port, local.port, *index};
}

Endpoint Core::local_of(const Connection& c) const {
    return {local_addresses_[c.key.local_address], c.key.local_port};
}

void Core::set_state(Connection& c, State next) {
    assert(is_legal(c.state, next));
    leave_half_open(c);
    c.state = next;
}

void Core::count_half_open(Connection& c) {
    Listener* const service = listener(local_of(c));
    if (service == nullptr) return;
    c.half_open = true;
    ++service->half_open;
}

void Core::leave_half_open(Connection& c) {
    if (!c.half_open) return;
    c.half_open = false;
    // A service that was given up and begun anew has counted from 0.
    Listener* const service = listener(local_of(c));
    if (service != nullptr && service->half_open != 0) --service->half_open;
}

void Core::arm(const Connection& c) {
    Instant first = std::min({c.retransmit_at, c.ack_at, c.life_at});
    if (c.resumption() != nullptr)
        first =
            std::min({first, c.resumption()->probe_at, c.resumption()->give_up_at, c.resumption()->wake_at});
    if (first != never) wheel_.arm(c.index, first);
}

std::optional<Instant> Core::next_deadline() const {
    const auto timers = wheel_.next(), records = time_wait.next();
    return timers && records ? std::min(*timers, *records) : (timers ? timers : records);
}

wire::MutableBytes Core::begin_frame(const LinkAddress& destination, wire::EtherType type, std::size_t length,
                                     FrameSink* queue) {
    const std::size_t link_length =
        wire::ethernet_header_length + (settings.vlan ? wire::vlan_tag_length : 0);
    const auto frame = gate.reserve(link_length + length, queue);
    if (frame.empty()) return {};
    const wire::EthernetHeader link{destination, settings.link_address, type};
    if (settings.vlan)
        wire::write_tagged_ethernet(frame, link, *settings.vlan);
    else
        wire::write_ethernet(frame, link);
    return frame.subspan(link_length);
}

wire::MutableBytes Core::begin_packet(const LinkAddress& destination, wire::IpHeader& header,
                                      std::size_t length) {
    const std::size_t ip_length = wire::ip_header_length(header.source);
    LinkAddress to = destination;
    FrameSink* queue = nullptr;
    if (to.is_zero() && gate.is_open()) {
        const IpAddress hop = ip::next_hop(settings.routes, header.destination);
        if (const auto link = neighbours.find(hop, now))
            to = *link;
        else
            queue = &neighbours.resolve(hop, header.source, now);
    }
    const auto packet = begin_frame(to, wire::ether_type(header.source), ip_length + length, queue);
    if (packet.empty()) return {};
    header.identification = next_ip_identification++;
    header.total_length = static_cast<std::uint32_t>(ip_length + length);
    wire::write_ip(packet, header);
    return packet.subspan(ip_length);
}

std::uint16_t Core::interface_mss(const IpAddress& peer) const {
    return static_cast<std::uint16_t>(settings.mtu - wire::ip_header_length(peer) - wire::tcp_header_length);
}

Recovery& Core::recovery_of(Connection& c) {
    if (c.recovery != nullptr) return *c.recovery;
    if (spare_recoveries_.empty()) {
        c.recovery = std::make_unique<Recovery>();
    } else {
        c.recovery = std::move(spare_recoveries_.back());
        spare_recoveries_.pop_back();
    }
    return *c.recovery;
}

void Core::put_recovery_aside(Connection& c) {
    if (spare_recoveries_.size() >= most_spare_recoveries) {
        c.recovery.reset();
        return;
    }
    SentSegments sent = std::move(c.recovery->sent);
    sent.clear();
    sent.shrink();
    *c.recovery = Recovery{};
    c.recovery->sent = std::move(sent);
    spare_recoveries_.push_back(std::move(c.recovery));
}

void Core::mark_dirty(Connection& c) {
    if (c.dirty || c.is_silent()) return;
    c.dirty = true;
    dirty_.push_back(c.id());
}

void Core::flush() {
    if (batch_depth_ != 0) return;
    // Output may call the application (writable), whose calls mark more connections: walk by index.
    ++batch_depth_;
    for (std::size_t i = 0; i < dirty_.size(); ++i) {
        Connection* c = table.find(dirty_[i]);
        if (c == nullptr) continue;
        c->dirty = false;
        output(*this, *c);
    }
    dirty_.clear();
    --batch_depth_;
}

void Core::finish(Connection& c, CloseReason reason) {
    const ConnectionId id = c.id();
    // An active open that came to nothing is known to the application as well: it asked for it.
    const bool failed_open = c.active_open && !c.is_synchronized();
    if ((c.announced || failed_open) && !tell_closed(c, reason)) return;
    leave_half_open(c);
    if (c.is_silent()) leave_service(*this, c);
    wheel_.cancel(id.index);
    table.destroy(c);
}

bool Core::tell_closed(Connection& c, CloseReason reason) {
    // The application may call back with this id: it finds a connection that takes no more.
    const ConnectionId id = c.id();
    if (c.announced) ++counters.connections_closed;
    c.announced = false;
    c.active_open = false;
    c.send_shut = true;
    events.closed(id, reason);
    return table.find(id) != nullptr;
}

}  // namespace understudy::stack::tcp
