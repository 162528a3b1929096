#include "stack/stack.hh"

#include <algorithm>
#include <array>
#include <stdexcept>

#include "stack/host_protocols.hh"
#include "stack/ingress.hh"
#include "stack/primary_probe.hh"
#include "stack/ip/fragments.hh"
#include "stack/tcp/core.hh"
#include "stack/udp/services.hh"

namespace understudy::stack {
namespace {

using tcp::Connection;
using tcp::Core;
using tcp::Segment;

const Settings& validated(const Settings& settings) {
    const auto require = [](bool ok, const char* what) {
        if (!ok) throw std::invalid_argument(what);
    };
    require(settings.mtu >= 576 && settings.mtu <= 65535, "mtu must be 576 to 65535 bytes");
    require(settings.max_connections > 0 && settings.max_connections <= FlowTable::max_flows,
            "max_connections must be 1 to 16777215");
    require(settings.tcp.max_time_wait <= FlowTable::max_flows, "max_time_wait must be at most 16777215");
    require(settings.tcp.window_scale <= 14 || settings.tcp.window_scale == automatic_window_scale,
            "window_scale must be 0 to 14 (RFC 7323 2.3)");
    require(settings.tcp.delayed_ack_max <= std::chrono::milliseconds(500),
            "delayed_ack_max must not be greater than 500 ms (RFC 9293 3.8.6.3)");
    require(settings.udp.hold >= Duration::zero(), "udp hold must not be negative");
    require(settings.udp.taps >= 1 && settings.udp.taps <= max_taps, "udp taps must be 1 to 8");
    require(settings.udp.max_tap_copies > 0, "udp max_tap_copies must be at least 1");
    require(settings.super_segment_bytes <= 65535, "super_segment_bytes must be at most 65535");
    require(settings.super_segment_bytes == 0 || settings.transport_checksums == wire::Summing::port,
            "super_segment_bytes needs a port that fills in checksums");
    require(settings.tcp.mss >= 88, "mss must be at least 88 bytes");
    require(settings.tcp.rto_min <= settings.tcp.rto_max, "rto_min must not be greater than rto_max");
    require(!settings.vlan || (*settings.vlan >= 1 && *settings.vlan <= 4094), "vlan must be 1 to 4094");
    require(settings.neighbours.max_entries > 0, "neighbours.max_entries must be at least 1");
    for (const Route& route : settings.routes)
        require(route.length <= (route.prefix.is_v4() ? 32 : 128) &&
                    (route.gateway == IpAddress{} || route.gateway.is_v4() == route.prefix.is_v4()),
                "a route needs a prefix length of its family, and a gateway of the same family");
    require(settings.fragments.max_packets > 0, "fragments.max_packets must be at least 1");
    for (const auto& services : {settings.services, settings.udp_services})
        for (const Endpoint& service : services)
            require((tcp::is_possible_peer(service.address) ||
                     (settings.loopback_services && tcp::is_loopback(service.address))) &&
                        service.port != 0,
                    "a service needs a unicast address and a port");
    return settings;
}

}  // namespace

struct Stack::Impl {
    Impl(const Settings& settings, FrameSink& sink, ConnectionEvents& events, RandomSource& random)
        : core(validated(settings), sink, events, random),
          udp(core, random),
          host(core),
          probe(core),
          fragments(core.settings.fragments, core.counters) {}

    Core core;
    udp::Services udp;
    HostProtocols host;
    PrimaryProbe probe;
    ip::Fragments fragments;
    std::vector<Duration> announcements_due;  // after promotion, soonest last
    bool promoted = false;

    // Of the burst at hand; too large to begin anew with each.
    std::array<Segment, FlowTable::max_burst> segments;
    std::array<FlowKey, FlowTable::max_burst> keys;
    std::array<std::uint32_t, FlowTable::max_burst> found;
    std::size_t segments_read = 0;
    // Each with the number of segments before it: both kinds go on in the order of arrival.
    std::array<std::pair<std::size_t, udp::Datagram>, FlowTable::max_burst> datagrams;
    std::size_t datagrams_read = 0;
    std::size_t datagrams_done = 0;

    bool is_master() const { return core.mode == Mode::master; }
    void receive_burst(std::span<const ReceivedFrame> burst);
    // True when the frame is a segment for a connection; it is then read into `segment`. Datagrams are
    // queued.
    bool read_frame(const ReceivedFrame& frame, Segment& segment);
    bool read_packet(const IpPacket& packet, Source source, Segment& segment);
    void queue_datagram(const IpPacket& packet, const udp::Datagram& datagram);
    // Whether what came in fragments, to every instance of this host, is this one's.
    bool is_own_flow(const IpPacket& packet, const Endpoint& remote, const Endpoint& local);
    void dispatch_datagrams(std::size_t segments_before);
    void dispatch(Connection* c, const Segment& segment);
    void serve(Connection* c, const Segment& segment);
    void hear_primary(const Connection* c, const Segment& segment);
    ConnectionSnapshot snapshot_of(const Connection& c) const;
};

// Three passes over a burst: read every header, look up every flow, then run every segment.
void Stack::Impl::receive_burst(std::span<const ReceivedFrame> burst) {
    segments_read = datagrams_read = datagrams_done = 0;
    constexpr std::size_t headers = 128;
    for (const ReceivedFrame& frame : burst)
        if (!frame.bytes.empty()) prefetch(frame.bytes.front(), std::min(headers, frame.bytes.size()));
    fragments.release();
    for (const ReceivedFrame& frame : burst) {
        Segment& segment = segments[segments_read];
        segment = Segment{};
        if (!read_frame(frame, segment)) continue;
        keys[segments_read++] = core.key_of(segment.remote, segment.local);
    }
    core.table.flows().find_burst(std::span(keys).first(segments_read), found);
    for (std::size_t i = 0; i < segments_read; ++i)
        if (found[i] != FlowTable::none) core.prefetch(found[i]);
    const std::uint64_t version = core.table.flows().version();
    for (std::size_t i = 0; i < segments_read; ++i) {
        dispatch_datagrams(i);
        if (core.table.flows().version() != version) found[i] = core.table.flows().find(keys[i]);
        Core::Batch batch(core);
        dispatch(found[i] == FlowTable::none ? nullptr : &core.table.at(found[i]), segments[i]);
    }
    dispatch_datagrams(segments_read);
}

void Stack::Impl::dispatch_datagrams(std::size_t segments_before) {
    while (datagrams_done < datagrams_read && datagrams[datagrams_done].first <= segments_before) {
        Core::Batch batch(core);
        udp.input(datagrams[datagrams_done++].second);
    }
}

bool Stack::Impl::read_frame(const ReceivedFrame& frame, Segment& segment) {
    Counters& counters = core.counters;
    ++counters.frames_received;
    const auto linked = read_link(frame, core.settings, counters);
    if (!linked) return false;
    if (frame.source == Source::service && !is_master()) {
        if (probe.is_answer(*linked))
            ++counters.primary_probes_answered;
        else
            ++counters.drop_silent;  // ARP included: the address is the primary's
        return false;
    }
    const wire::EthernetHeader& link = linked->link;
    if (frame.source == Source::service && link.destination != core.settings.link_address &&
        !link.destination.is_group()) {
        ++counters.drop_not_ours;
        return false;
    }
    if (link.type == wire::EtherType::arp && frame.source == Source::service) {
        host.on_arp(linked->payload);
        return false;
    }
    if (link.type != wire::EtherType::ipv4 && link.type != wire::EtherType::ipv6) {
        ++counters.drop_ether_type;
        return false;
    }
    auto packet = read_ip(*linked, frame.source, core.settings.shadow, counters);
    if (!packet) return false;
    packet->tap = frame.tap;
    const bool from_primary = frame.source == Source::tap_from_primary;
    const wire::IpHeader& header = packet->header;
    // Neighbour discovery goes to groups, too.
    const bool to_group = header.protocol == wire::IpProtocol::icmp6 && frame.source == Source::service;
    const bool is_ours =
        core.local_address_index(from_primary ? header.source : header.destination).has_value();
    if (!is_ours && (!to_group || header.fragment)) {
        ++counters.drop_not_ours;
        return false;
    }
    if (header.fragment) {
        packet = fragments.take(*packet, frame.source, core.now);
        if (!packet) return false;
        packet->tap = frame.tap;
    }
    return read_packet(*packet, frame.source, segment);
}

bool Stack::Impl::is_own_flow(const IpPacket& packet, const Endpoint& remote, const Endpoint& local) {
    const auto& owns = core.settings.owns_flow;
    if (!packet.reassembled || !owns || owns(packet.header.protocol, remote, local)) return true;
    ++core.counters.drop_not_our_flow;
    return false;
}

bool Stack::Impl::read_packet(const IpPacket& packet, Source source, Segment& segment) {
    Counters& counters = core.counters;
    switch (packet.header.protocol) {
        case wire::IpProtocol::icmp:
        case wire::IpProtocol::icmp6:
            host.on_icmp(packet, source);
            return false;
        case wire::IpProtocol::udp:
            if (const auto datagram = udp::read_datagram(packet, source, core.settings.shadow, counters))
                queue_datagram(packet, *datagram);
            return false;
        case wire::IpProtocol::tcp:
            break;
        default:
            ++counters.drop_ip_protocol;
            if (source == Source::service) host.errors.answer(packet, ip::protocol_unreachable);
            return false;
    }
    if (!read_tcp(packet, source, core.settings.shadow, counters, segment)) return false;
    if (!is_own_flow(packet, segment.remote, segment.local)) return false;
    // A mirrored frame belongs to a service, or to somebody else's conversation with the same host.
    if (source != Source::service && !core.is_service(segment.local)) {
        ++counters.drop_no_service;
        return false;
    }
    return true;
}

void Stack::Impl::queue_datagram(const IpPacket& packet, const udp::Datagram& datagram) {
    if (!is_own_flow(packet, datagram.remote, datagram.local)) return;
    // RFC 1122 4.1.3.1, RFC 4443 3.1; what is no service is counted in its turn.
    if (datagram.source == Source::service && !udp.is_service(datagram.local))
        host.errors.answer(packet, ip::port_unreachable);
    datagrams[datagrams_read++] = {segments_read, datagram};
}

void Stack::Impl::dispatch(Connection* c, const Segment& segment) {
    if (is_master()) {
        if (segment.source == Source::tap_from_primary)
            hear_primary(c, segment);
        else
            serve(c, segment);
    } else if (segment.source == Source::tap_from_primary) {
        tcp::shadow_primary_input(core, c, segment);
    } else {
        tcp::shadow_client_input(core, c, segment);
    }
}

void Stack::Impl::serve(Connection* c, const Segment& segment) {
    const ConnectionId id = c == nullptr ? ConnectionId{} : c->id();
    tcp::master_input(core, c, segment);
    if (c == nullptr || core.watch.client_knows_us()) return;
    c = core.table.find(id);
    if (c != nullptr) core.watch.client_acknowledged(id.index, c->promoted, c->iss, c->snd_una);
}

// A bare acknowledgement proves a live kernel, not a live service (rules.md 13).
void Stack::Impl::hear_primary(const Connection* c, const Segment& segment) {
    ++core.counters.primary_frames_after_promotion;
    if (c == nullptr || segment.has(wire::TcpFlags::rst) || segment.has(wire::TcpFlags::syn)) {
        if (segment.length() != 0 || segment.has(wire::TcpFlags::rst)) core.watch.primary_spoke();
    } else if (segment.length() != 0) {
        core.watch.primary_spoke(c->id().index, c->promoted, segment.end());
    }
}

ConnectionSnapshot Stack::Impl::snapshot_of(const Connection& c) const {
    ConnectionSnapshot s;
    s.id = c.id();
    s.client = core.remote_of(c);
    s.service = core.local_of(c);
    s.state = c.state;
    s.coverage = c.coverage;
    s.detail = c.rare().uncovered_at;
    if (c.coverage == Coverage::covered || c.coverage == Coverage::half_open) {
        if (const auto doubt = tcp::doubt_of(core, c)) {
            s.coverage = doubt->coverage;
            s.detail = doubt->offset;
        }
    }
    if (c.is_silent()) {
        const bool hole = s.coverage == Coverage::hole;
        const Instant since = hole ? c.shadow->hole_since : c.shadow->gap_since;
        if ((hole || s.coverage == Coverage::uncompared) && since != tcp::never) {
            s.missing_bytes = tcp::missing_bytes(c, hole ? Direction::from_client : Direction::from_primary);
            s.missing_for = core.now - since;
        }
        s.lag_time = tcp::lag_time(core, c);
        s.overlapped = c.shadow->overlapped;
        s.hindrance = c.shadow->hindrance;
        if (c.coverage == Coverage::diverged && c.shadow->divergence != nullptr)
            s.difference = c.shadow->divergence->difference;
        if (c.send_queue.primary_nxt() > c.send_queue.app_nxt())
            s.output_lag_bytes = distance(c.send_queue.app_nxt(), c.send_queue.primary_nxt());
    }
    s.iss = c.iss.raw();
    s.irs = c.irs.raw();
    s.snd_una = c.snd_una.raw();
    s.snd_nxt = c.snd_nxt.raw();
    s.snd_wnd = c.snd_wnd;
    s.rcv_nxt = c.rcv_nxt.raw();
    s.rcv_wnd = c.rcv_edge > c.rcv_nxt ? distance(c.rcv_nxt, c.rcv_edge) : 0;
    s.primary_ack = c.is_silent() ? c.shadow->primary_ack.raw() : 0;
    s.app_nxt = c.send_queue.app_nxt().raw();
    s.unread_bytes = c.unread.size();
    s.cwnd = c.congestion.cwnd * c.mss;
    s.cwnd_segments = c.congestion.cwnd;
    s.ssthresh_segments = c.congestion.ssthresh;
    s.reordering_segments = c.reordering;
    if (c.recovery != nullptr) {
        s.recovery = c.recovery->state;
        s.unacked_segments = c.recovery->sent.size();
        s.sacked_segments = c.recovery->sacked();
        s.lost_segments = c.recovery->sent.lost();
        s.resent_segments = c.recovery->sent.resent();
    }
    s.rtt_variation = c.rtt.variation();
    s.min_rtt = c.rtt.min_rtt();
    s.bytes_received = c.bytes_received;
    s.bytes_sent = c.bytes_sent;
    s.retransmitted_segments = c.rare().retransmitted;
    s.srtt = c.rtt.srtt();
    s.rto = c.rtt.rto();
    s.since_data = std::chrono::milliseconds(tcp::milliseconds(core.now) - c.data_at);
    s.mss = static_cast<std::uint16_t>(tcp::segment_room(c));
    s.timestamps = c.timestamps;
    s.sack = c.sack;
    s.window_scaling = c.window_scaling;
    s.send_scale = c.snd_scale;
    s.receive_scale = c.rcv_scale;
    s.verified = c.verified;
    return s;
}

Stack::Stack(const Settings& settings, FrameSink& sink, ConnectionEvents& events, RandomSource& random)
    : impl_(std::make_unique<Impl>(settings, sink, events, random)) {}

Stack::~Stack() = default;

void Stack::receive(std::span<const ReceivedFrame> burst, Instant now) {
    impl_->core.now = now;
    while (!burst.empty()) {
        const std::size_t count = std::min(burst.size(), FlowTable::max_burst);
        impl_->receive_burst(burst.first(count));
        burst = burst.subspan(count);
    }
}

void Stack::advance(Instant now) {
    Core& core = impl_->core;
    core.now = now;
    auto& due = impl_->announcements_due;
    while (!due.empty() && *core.promoted_at + due.back() <= now) {
        due.pop_back();
        impl_->host.announce();
    }
    impl_->udp.expire();
    impl_->fragments.expire(now);
    impl_->host.resolve_neighbours();
    const std::vector<std::uint32_t>& expired = core.collect_due();
    constexpr std::size_t ahead = 8;
    for (std::size_t i = 0; i < expired.size(); ++i) {
        if (i + ahead < expired.size()) core.prefetch(expired[i + ahead]);
        Connection& c = core.table.at(expired[i]);
        if (!c.in_use) continue;
        Core::Batch batch(core);
        tcp::on_timer(core, c);
    }
}

std::size_t Stack::missing(std::span<MissingBytes> out, Duration min_age, Instant now) {
    impl_->core.now = now;
    return tcp::collect_missing(impl_->core, out, min_age);
}

bool Stack::lacks_bytes() const {
    return !impl_->core.incomplete.empty();
}

bool Stack::repair(const RepairBytes& answer, Instant now) {
    Core& core = impl_->core;
    core.now = now;
    Core::Batch batch(core);
    return tcp::repair(core, answer);
}

std::optional<Instant> Stack::next_deadline() const {
    auto next = impl_->core.next_deadline();
    const auto consider = [&next](const std::optional<Instant>& other) {
        if (other) next = next ? std::min(*next, *other) : other;
    };
    consider(impl_->udp.next_deadline());
    consider(impl_->fragments.next_deadline());
    consider(impl_->core.neighbours.next_deadline());
    if (!impl_->announcements_due.empty()) {
        consider(*impl_->core.promoted_at + impl_->announcements_due.back());
    }
    return next;
}

Mode Stack::mode() const {
    return impl_->core.mode;
}

void Stack::open_gate(Instant now) {
    Core& core = impl_->core;
    if (impl_->is_master()) return;
    core.now = now;
    core.gate.open();
    impl_->host.announce();
    impl_->announcements_due = core.settings.announce_repeats;
    std::sort(impl_->announcements_due.begin(), impl_->announcements_due.end(), std::greater<>());
    core.mode = Mode::master;
    core.promoted_at = now;
}

PromotionReport Stack::promote(Instant now) {
    Core& core = impl_->core;
    PromotionReport report;
    if (impl_->promoted || core.settings.initial_mode == Mode::master) return report;
    open_gate(now);
    impl_->promoted = true;
    core.now = now;
    std::vector<std::pair<std::uint64_t, ConnectionId>> order;
    order.reserve(core.table.size());
    for (std::uint32_t i = 0; i < core.table.index_end(); ++i) {
        const Connection& c = core.table.at(i);
        if (c.in_use) order.emplace_back(c.bytes_received + c.bytes_sent, c.id());
    }
    std::stable_sort(order.begin(), order.end(),
                     [](const auto& a, const auto& b) { return a.first > b.first; });
    tcp::judge_states(core);
    Core::Batch batch(core);
    for (const auto& [bytes, id] : order) {
        Connection* c = core.table.find(id);
        if (c == nullptr) continue;
        core.watch.promoted(id.index, max(c->send_queue.primary_nxt(), c->snd_nxt));
        switch (tcp::promote_connection(core, *c)) {
            case tcp::Promoted::carried_on:
                ++report.promoted;
                break;
            case tcp::Promoted::half_open:
                ++report.half_open;
                break;
            case tcp::Promoted::reset:
                ++report.reset;
                break;
            case tcp::Promoted::ended:
            case tcp::Promoted::left:
                break;
        }
    }
    report.datagrams = impl_->udp.release();
    return report;
}

void Stack::announce(Instant now) {
    impl_->core.now = now;
    if (impl_->is_master()) impl_->host.announce();
}

void Stack::mute(Instant now) {
    Core& core = impl_->core;
    if (!impl_->is_master()) return;
    core.now = now;
    core.gate.close();
    core.mode = Mode::silent;
    core.promoted_at.reset();
    impl_->promoted = false;
    impl_->announcements_due.clear();
    for (std::uint32_t i = 0; i < core.table.index_end(); ++i) {
        Connection& c = core.table.at(i);
        if (!c.in_use) continue;
        ++core.counters.connections_muted;
        core.finish(c, CloseReason::muted);
    }
    core.time_wait.expire(Instant::max());
    core.watch.reset();
}

void Stack::probe_primary(const IpAddress& address, const LinkAddress& primary, Instant now) {
    impl_->core.now = now;
    if (!impl_->is_master()) impl_->probe.send(address, primary);
}

const ServiceWatch& Stack::service_watch() const {
    return impl_->core.watch;
}

bool Stack::is_settled() const {
    const Core& core = impl_->core;
    for (std::uint32_t i = 0; i < core.table.index_end(); ++i) {
        const Connection& c = core.table.at(i);
        if (c.in_use && c.is_silent() && !tcp::is_settled(c)) return false;
    }
    return true;
}

bool Stack::attest(const Endpoint& service) {
    tcp::Listener* const listener = impl_->core.listener(service);
    if (listener == nullptr) return false;
    if (listener->state == ServiceState::stateless) return true;
    listener->state = ServiceState::attested;
    ++impl_->core.counters.states_attested;
    return true;
}

bool Stack::forget_state(const Endpoint& service) {
    const tcp::Listener* const listener = impl_->core.listener(service);
    if (listener != nullptr) tcp::lose_state(impl_->core, service);
    return listener != nullptr;
}

std::vector<ServiceSnapshot> Stack::services() const {
    std::vector<ServiceSnapshot> result;
    for (const tcp::Listener& listener : impl_->core.listeners())
        result.push_back({listener.service, listener.state});
    return result;
}

bool Stack::listen(const Endpoint& service) {
    if (service.port == 0 || !impl_->core.local_address_index(service.address)) return false;
    impl_->core.add_service(service);
    return true;
}

void Stack::unlisten(const Endpoint& service) {
    impl_->core.remove_service(service);
}

std::optional<ConnectionId> Stack::connect(const Endpoint& local, const Endpoint& remote,
                                           const LinkAddress& remote_link, Instant now,
                                           const std::optional<ConnectionOptions>& options) {
    Core& core = impl_->core;
    core.now = now;
    if (!impl_->is_master() || !core.local_address_index(local.address)) return std::nullopt;
    const Connection* c =
        tcp::open_active(core, local, remote, remote_link, options.value_or(core.settings.tcp.options));
    if (c == nullptr) return std::nullopt;
    return c->id();
}

std::size_t Stack::send(ConnectionId id, std::span<const std::byte> bytes, Instant now, bool more,
                        WriteEnd end) {
    impl_->core.now = now;
    Core::Batch batch(impl_->core);
    Connection* c = impl_->core.table.find(id);
    return c == nullptr ? 0 : tcp::app_send(impl_->core, *c, bytes, more, end);
}

std::size_t Stack::send_room(ConnectionId id) const {
    const Connection* c = impl_->core.table.find(id);
    return c == nullptr ? 0 : tcp::app_send_room(impl_->core, *c);
}

void Stack::shutdown_send(ConnectionId id, Instant now) {
    impl_->core.now = now;
    Core::Batch batch(impl_->core);
    if (Connection* c = impl_->core.table.find(id)) tcp::app_shutdown_send(impl_->core, *c);
}

void Stack::close(ConnectionId id, Instant now) {
    impl_->core.now = now;
    Core::Batch batch(impl_->core);
    if (Connection* c = impl_->core.table.find(id)) tcp::app_close(impl_->core, *c);
}

void Stack::set_options(ConnectionId id, const ConnectionOptions& options, Instant now) {
    impl_->core.now = now;
    Core::Batch batch(impl_->core);
    if (Connection* c = impl_->core.table.find(id)) tcp::app_set_options(impl_->core, *c, options);
}

std::optional<ConnectionOptions> Stack::options(ConnectionId id) const {
    const Connection* c = impl_->core.table.find(id);
    if (c == nullptr) return std::nullopt;
    return tcp::options_of(impl_->core, *c);
}

bool Stack::set_service_options(const Endpoint& service, const ConnectionOptions& options) {
    tcp::Listener* listener = impl_->core.listener(service);
    if (listener != nullptr) listener->options = options;
    return listener != nullptr;
}

void Stack::acknowledge(ConnectionId id, bool quickly, Instant now) {
    impl_->core.now = now;
    Core::Batch batch(impl_->core);
    if (Connection* c = impl_->core.table.find(id)) tcp::app_acknowledge(impl_->core, *c, quickly);
}

void Stack::abort(ConnectionId id, Instant now) {
    impl_->core.now = now;
    Core::Batch batch(impl_->core);
    if (Connection* c = impl_->core.table.find(id)) tcp::app_abort(impl_->core, *c);
}

void Stack::resume_receive(ConnectionId id, Instant now) {
    impl_->core.now = now;
    Core::Batch batch(impl_->core);
    if (Connection* c = impl_->core.table.find(id)) tcp::app_resume_receive(impl_->core, *c);
}

bool Stack::send_datagram(const Endpoint& service, const Endpoint& client, std::span<const std::byte> bytes,
                          Instant now) {
    impl_->core.now = now;
    return impl_->udp.send(service, client, bytes);
}

std::size_t Stack::connection_count() const {
    return impl_->core.table.size();
}

std::uint64_t Stack::reassembly_bytes() const {
    return impl_->core.reassembly_bytes;
}

std::uint64_t Stack::fragment_bytes() const {
    return impl_->fragments.bytes();
}

std::size_t Stack::time_wait_count() const {
    return impl_->core.time_wait.size();
}

std::optional<ConnectionSnapshot> Stack::snapshot(ConnectionId id) const {
    const Connection* c = impl_->core.table.find(id);
    if (c == nullptr || c->refused) return std::nullopt;
    return impl_->snapshot_of(*c);
}

std::vector<ConnectionSnapshot> Stack::snapshots(std::uint32_t& cursor, std::size_t limit) const {
    std::vector<ConnectionSnapshot> result;
    const std::uint32_t end = impl_->core.table.index_end();
    for (; cursor < end && result.size() < limit; ++cursor) {
        const Connection& c = impl_->core.table.at(cursor);
        // What was reset at the promotion is nobody's connection any more.
        if (c.in_use && !c.refused) result.push_back(impl_->snapshot_of(c));
    }
    if (cursor >= end) cursor = 0;
    return result;
}

std::vector<DatagramServiceSnapshot> Stack::datagram_services() const {
    return impl_->udp.snapshots();
}

const Counters& Stack::counters() const {
    return impl_->core.counters;
}

}  // namespace understudy::stack
