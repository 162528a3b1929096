#include "tests/sim/repair_source.hh"

#include <algorithm>
#include <string>

namespace understudy::sim {
namespace {

std::int32_t distance(std::uint32_t from, std::uint32_t to) {
    return static_cast<std::int32_t>(to - from);
}

}  // namespace

void RepairSource::keep(const Packet& packet, bool from_primary) {
    if (packet.kind != Packet::Kind::tcp || packet.has(Packet::rst)) return;
    auto& stream = streams_[{from_primary ? packet.destination : packet.source, from_primary}];
    if (packet.has(Packet::syn)) return stream.clear();
    if (packet.payload.empty() && !packet.has(Packet::fin)) return;
    stream.push_back({packet.seq, {packet.payload.begin(), packet.payload.end()}, packet.has(Packet::fin)});
}

// What follows without a gap from the beginning of the range.
proto::v1::RepairAnswer RepairSource::find(const proto::v1::RepairRequest& what) const {
    proto::v1::RepairAnswer piece;
    piece.set_id(what.id());
    piece.set_begin(what.begin());
    stack::Endpoint client;
    std::copy(what.client_address().begin(), what.client_address().end(), client.address.octets.begin());
    client.port = static_cast<std::uint16_t>(what.client_port());
    const auto stream = streams_.find({client, what.from_primary()});
    const std::uint32_t last = what.begin() + what.length();
    std::uint32_t at = what.begin();
    for (bool grew = stream != streams_.end(); grew && at != last && !piece.fin();) {
        grew = false;
        for (const Segment& segment : stream->second) {
            const std::uint32_t end = segment.begin + static_cast<std::uint32_t>(segment.bytes.size());
            if (distance(segment.begin, at) < 0 || distance(at, end) < 0) continue;
            const std::int32_t wanted = std::min(distance(at, end), distance(at, last));
            const auto* const first = reinterpret_cast<const char*>(segment.bytes.data()) + distance(segment.begin, at);
            piece.mutable_data()->append(first, static_cast<std::size_t>(wanted));
            at += static_cast<std::uint32_t>(wanted);
            piece.set_fin(segment.fin && at == end && at != last);
            if (wanted == 0 && !piece.fin()) continue;
            grew = true;
            break;
        }
    }
    piece.set_not_held(piece.data().empty() && !piece.fin());
    return piece;
}

void RepairSource::distort(proto::v1::RepairAnswer& piece, const proto::v1::RepairRequest& what) {
    const auto noise = [this](std::size_t count) {
        std::string bytes(count, '\0');
        for (char& byte : bytes)
            byte = static_cast<char>(random_.below(256));
        return bytes;
    };
    const std::uint32_t count = static_cast<std::uint32_t>(1 + random_.below(2000));
    switch (random_.below(4)) {
        case 0:  // bytes before what was asked for
            piece.set_data(noise(count) + piece.data());
            piece.set_begin(piece.begin() - count);
            break;
        case 1:  // bytes behind it
            piece.set_data(noise(what.length() + count));
            break;
        case 2:  // in answer to nothing
            piece.set_id(piece.id() + (1ull << 32) + random_.below(1 << 30));
            break;
        case 3:
            piece.clear_data();
            piece.set_fin(false);
            break;
    }
}

void RepairSource::ask(const proto::v1::RepairRequest& what, const Answer& answer) {
    if (!alive_ || (settings_.dies_at && queue_.now() >= *settings_.dies_at)) return;
    if (random_.chance(settings_.loss_per_million)) return;
    proto::v1::RepairAnswer piece = find(what);
    const std::uint64_t held = piece.data().size();
    if (held > 1 && !piece.fin() && random_.chance(250'000)) piece.mutable_data()->resize(random_.between(1, held - 1));
    if (random_.chance(settings_.nonsense_per_million)) {
        proto::v1::RepairAnswer nonsense = piece;
        distort(nonsense, what);
        send(nonsense, answer);
        if (random_.chance(500'000)) return;
    }
    send(piece, answer);
}

void RepairSource::send(const proto::v1::RepairAnswer& piece, const Answer& answer) {
    const Duration delay = settings_.delay + random_.between(Duration::zero(), settings_.jitter);
    queue_.after(delay, [this, piece, answer] {
        if (alive_) answer(piece);
    });
}

}  // namespace understudy::sim
