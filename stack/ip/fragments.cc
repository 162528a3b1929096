#include "stack/ip/fragments.hh"

#include <algorithm>

#include "stack/wire/ipv6.hh"

namespace understudy::stack::ip {
namespace {

constexpr std::uint32_t largest_packet = 65535;
constexpr std::uint8_t ecn_mask = 3, not_ect = 0, congestion_experienced = 3;

std::uint8_t bit(std::uint8_t field) {
    return static_cast<std::uint8_t>(1u << field);
}

}  // namespace

std::optional<IpPacket> Fragments::take(const IpPacket& fragment, Source source, Instant now) {
    ++counters_.fragments_received;
    expire(now);
    const wire::IpHeader& header = fragment.header;
    const std::size_t length = fragment.payload.size();
    // All but the last hold a multiple of eight bytes (RFC 791 3.2, RFC 8200 4.5), and each holds some.
    if (length == 0 || (header.more_fragments && length % 8 != 0) ||
        header.header_length + header.fragment_offset + length > largest_packet) {
        ++counters_.drop_malformed_fragment;
        return std::nullopt;
    }
    const bool v4 = header.source.is_v4();
    const Key key{source, header.source, header.destination, header.identification,
                  v4 ? static_cast<std::uint8_t>(header.protocol) : std::uint8_t{0}};
    const Entry entry = find_or_begin(key, now);
    Unfinished& packet = *entry;
    if (packet.refused) {
        ++counters_.drop_fragment_refused;
        return std::nullopt;
    }
    if (!add(packet, fragment)) {
        refuse(packet);
        return std::nullopt;
    }
    if (!packet.end || packet.have != *packet.end) return std::nullopt;
    return finish(entry);
}

Fragments::Entry Fragments::find_or_begin(const Key& key, Instant now) {
    const auto found = index_.find(key);
    if (found != index_.end()) return found->second;
    // What still completes does so soon: the oldest makes room.
    if (order_.size() >= settings_.max_packets) {
        ++counters_.fragments_evicted;
        drop(order_.begin());
    }
    const Entry entry = order_.emplace(order_.end());
    entry->key = key;
    entry->began = now;
    index_.emplace(key, entry);
    return entry;
}

bool Fragments::add(Unfinished& packet, const IpPacket& fragment) {
    const wire::IpHeader& header = fragment.header;
    const std::uint32_t begin = header.fragment_offset;
    const std::uint32_t end = begin + static_cast<std::uint32_t>(fragment.payload.size());
    const bool is_last = !header.more_fragments;
    const bool ends_differ = packet.end && (is_last ? end != *packet.end : end > *packet.end);
    if (ends_differ || (is_last && !packet.pieces.empty() && packet.pieces.back().end() > end)) {
        ++counters_.drop_fragment_overlap;
        return false;
    }
    const auto next =
        std::lower_bound(packet.pieces.begin(), packet.pieces.end(), begin,
                         [](const Piece& piece, std::uint32_t at) { return piece.end() <= at; });
    if (next != packet.pieces.end() && next->begin < end) {
        const bool repeats = next->begin <= begin && end <= next->end() &&
                             std::equal(fragment.payload.begin(), fragment.payload.end(),
                                        next->bytes.begin() + (begin - next->begin));
        ++(repeats ? counters_.fragments_duplicate : counters_.drop_fragment_overlap);
        return repeats;
    }
    const std::uint64_t cost = fragment.payload.size() + piece_overhead_bytes;
    if (packet.pieces.size() >= settings_.max_pieces || !make_room(packet, cost)) {
        ++counters_.drop_fragment_limit;
        return false;
    }
    bytes_ += cost;
    packet.have += end - begin;
    packet.congestion |= bit(header.traffic_class & ecn_mask);
    if (is_last) packet.end = end;
    if (begin == 0) {
        packet.first = fragment;
        packet.first->payload = packet.first->whole = {};
        packet.first->reassembled = true;
    }
    packet.pieces.insert(next, {begin, {fragment.payload.begin(), fragment.payload.end()}});
    return true;
}

bool Fragments::make_room(const Unfinished& keep, std::uint64_t bytes) {
    while (bytes_ + bytes > settings_.budget_bytes) {
        const auto oldest = std::find_if(order_.begin(), order_.end(), [&](const Unfinished& packet) {
            return &packet != &keep && !packet.pieces.empty();
        });
        if (oldest == order_.end()) return false;
        ++counters_.fragments_evicted;
        drop(oldest);
    }
    return true;
}

void Fragments::refuse(Unfinished& packet) {
    for (const Piece& piece : packet.pieces)
        bytes_ -= piece.bytes.size() + piece_overhead_bytes;
    packet.pieces = {};
    packet.first.reset();
    packet.refused = true;
}

void Fragments::drop(Entry entry) {
    refuse(*entry);
    index_.erase(entry->key);
    order_.erase(entry);
}

std::optional<IpPacket> Fragments::finish(Entry entry) {
    Unfinished& packet = *entry;
    std::vector<std::byte> whole;
    whole.reserve(packet.have);
    for (const Piece& piece : packet.pieces)
        whole.insert(whole.end(), piece.bytes.begin(), piece.bytes.end());
    IpPacket result = *packet.first;
    const std::uint8_t congestion = packet.congestion;
    drop(entry);
    result.header.total_length = result.header.header_length + static_cast<std::uint32_t>(whole.size());
    result.header.fragment = result.header.more_fragments = false;
    // RFC 3168 5.3: one mark marks the whole; a mark beside a piece that could not be marked is forged.
    if ((congestion & bit(congestion_experienced)) != 0) {
        if ((congestion & bit(not_ect)) != 0) {
            ++counters_.drop_fragment_ecn;
            return std::nullopt;
        }
        result.header.traffic_class |= congestion_experienced;
    }
    done_.push_back(std::move(whole));
    result.payload = done_.back();
    if (!result.header.source.is_v4()) {
        // More extension headers may follow, in what was fragmented.
        const auto next = static_cast<std::uint8_t>(result.header.protocol);
        const std::uint16_t before = result.header.header_length;
        const wire::IpError error = wire::skip_extensions(result.payload, 0, next, result.header);
        if (error != wire::IpError::none || result.header.fragment) {
            ++counters_.drop_malformed_fragment;
            return std::nullopt;
        }
        result.payload = result.payload.subspan(result.header.header_length);
        result.header.header_length = static_cast<std::uint16_t>(result.header.header_length + before);
    }
    ++counters_.fragments_reassembled;
    return result;
}

void Fragments::expire(Instant now) {
    while (!order_.empty() && order_.front().began + settings_.timeout <= now) {
        if (!order_.front().refused) ++counters_.fragments_expired;
        drop(order_.begin());
    }
}

std::optional<Instant> Fragments::next_deadline() const {
    if (order_.empty()) return std::nullopt;
    return order_.front().began + settings_.timeout;
}

}  // namespace understudy::stack::ip
