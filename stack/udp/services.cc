#include "stack/udp/services.hh"

#include <algorithm>

#include "stack/wire/checksum.hh"
#include "stack/wire/udp.hh"

namespace understudy::stack::udp {
Services::Services(tcp::Core& core, RandomSource& random)
    : core_(core),
      withheld_(random.next(), core.settings.udp.hold_datagrams, core.settings.udp.hold_bytes),
      ahead_(random.next(), core.settings.udp.hold_datagrams, core.settings.udp.hold_bytes),
      links_(random.next(), core.settings.udp.max_peers),
      tap_copies_(core.settings.udp, random.next()) {
    for (const Endpoint& service : core.settings.udp_services)
        tallies_.push_back({.service = service});
}

Services::Tally* Services::tally_of(const Endpoint& endpoint) {
    const auto is_of = [&](const Tally& tally) { return tally.service == endpoint; };
    const auto found = std::find_if(tallies_.begin(), tallies_.end(), is_of);
    return found == tallies_.end() ? nullptr : &*found;
}

bool Services::is_service(const Endpoint& endpoint) const {
    const auto& services = core_.settings.udp_services;
    return std::find(services.begin(), services.end(), endpoint) != services.end();
}

void Services::input(const Datagram& datagram) {
    Tally* tally = tally_of(datagram.local);
    if (tally == nullptr) {
        ++core_.counters.drop_udp_no_service;
        return;
    }
    if (datagram.source != Source::service &&
        tap_copies_.judge(datagram, core_.now, core_.counters.udp_tap_copies_forgotten) ==
            TapCopies::Verdict::copy) {
        ++core_.counters.udp_tap_copies;
        return;
    }
    if (datagram.source == Source::tap_from_primary)
        take_from_primary(datagram, *tally);
    else
        take_from_client(datagram, *tally);
}

void Services::take_from_client(const Datagram& datagram, Tally& tally) {
    if (!tcp::is_possible_peer(datagram.remote.address) || datagram.link_destination.is_group()) {
        ++core_.counters.drop_udp_bad_peer;
        return;
    }
    const bool mirrored = datagram.source != Source::service;
    // After promotion the mirror may show what also came to us. What a client still addresses to the
    // primary's link-level address came by the mirror alone.
    if (mirrored && core_.mode == Mode::master && datagram.link_destination == core_.settings.link_address) {
        ++core_.counters.drop_udp_tap_copy;
        return;
    }
    links_.learn(datagram.remote.address, datagram.link_source,
                 mirrored ? Evidence::mirrored_peer : Evidence::peer);
    ++core_.counters.udp_datagrams_received;
    ++tally.received;
    core_.events.datagram(datagram.local, datagram.remote, datagram.payload);
}

void Services::take_from_primary(const Datagram& datagram, Tally& tally) {
    if (core_.mode == Mode::master) {
        ++core_.counters.primary_frames_after_promotion;
        return;
    }
    links_.learn(datagram.remote.address, datagram.link_destination, Evidence::primary);
    const Flow flow{datagram.local, datagram.remote};
    expire();
    if (withheld_.take(flow, datagram.payload)) {
        ++core_.counters.udp_answers_matched;
        ++tally.matched;
    } else {
        core_.counters.udp_hold_overflow += ahead_.add(flow, datagram.payload, core_.now);
    }
}

bool Services::is_sendable(const Endpoint& service, const Endpoint& client, std::size_t length) const {
    return client.port != 0 && tcp::is_possible_peer(client.address) &&
           client.address.is_v4() == service.address.is_v4() &&
           wire::ip_header_length(service.address) + wire::udp_header_length + length <= core_.settings.mtu;
}

bool Services::send(const Endpoint& service, const Endpoint& client, wire::Bytes bytes) {
    Tally* tally = tally_of(service);
    if (tally == nullptr || !is_sendable(service, client, bytes.size())) {
        ++core_.counters.drop_udp_unsendable;
        return false;
    }
    const Flow flow{service, client};
    ++tally->answered;
    if (core_.mode == Mode::master) return transmit(flow, bytes);
    ++core_.counters.udp_answers_withheld;
    expire();
    if (ahead_.take(flow, bytes)) {
        ++core_.counters.udp_answers_matched;
        ++tally->matched;
    } else {
        core_.counters.udp_hold_overflow += withheld_.add(flow, bytes, core_.now);
    }
    return true;
}

std::size_t Services::release() {
    expire();
    std::size_t sent = 0;
    for (; !withheld_.empty(); withheld_.drop_oldest())
        if (transmit(withheld_.oldest_flow(), withheld_.oldest_bytes())) ++sent;
    while (!ahead_.empty())
        ahead_.drop_oldest();
    core_.counters.udp_answers_released += sent;
    return sent;
}

void Services::expire() {
    core_.counters.udp_answers_expired += expire(withheld_, &Tally::expired);
    core_.counters.udp_primary_unmatched += expire(ahead_, &Tally::unmatched);
}

std::size_t Services::expire(DatagramStore& store, std::uint64_t Tally::*counter) {
    std::size_t gone = 0;
    for (; !store.empty() && store.oldest_at() + core_.settings.udp.hold <= core_.now; ++gone) {
        ++(tally_of(store.oldest_flow().local)->*counter);
        store.drop_oldest();
    }
    return gone;
}

std::optional<Instant> Services::next_deadline() const {
    std::optional<Instant> next;
    for (const DatagramStore* store : {&withheld_, &ahead_})
        if (!store->empty()) next = std::min(next.value_or(Instant::max()), store->oldest_at());
    if (next) *next += core_.settings.udp.hold;
    return next;
}

bool Services::transmit(const Flow& flow, wire::Bytes bytes) {
    const auto link = links_.find(flow.remote.address);
    if (!link) {
        ++core_.counters.drop_udp_no_link;
        return false;
    }
    wire::IpHeader ip;
    ip.source = flow.local.address;
    ip.destination = flow.remote.address;
    ip.protocol = wire::IpProtocol::udp;
    ip.ttl = core_.settings.udp.ttl;
    const auto datagram = core_.begin_packet(*link, ip, wire::udp_header_length + bytes.size());
    if (datagram.empty()) return false;
    const auto length = static_cast<std::uint16_t>(datagram.size());
    wire::write_udp(datagram, {flow.local.port, flow.remote.port, length, 0});
    std::copy(bytes.begin(), bytes.end(), datagram.subspan(wire::udp_header_length).begin());
    const std::uint16_t sum = wire::transport_checksum(datagram, flow.local.address, flow.remote.address,
                                                       static_cast<std::uint8_t>(wire::IpProtocol::udp),
                                                       core_.settings.transport_checksums);
    // RFC 768: zero would mean that there is none.
    wire::store16(datagram.data() + wire::udp_checksum_offset, sum == 0 ? 0xffff : sum);
    core_.gate.commit();
    ++core_.counters.udp_datagrams_sent;
    return true;
}

}  // namespace understudy::stack::udp
