#include "tests/sim/mirror.hh"

#include <algorithm>

namespace understudy::sim {
namespace {

bool is_faultless(const MirrorFaults& faults) {
    return faults.loss_per_million == 0 && faults.burst_per_million == 0 && faults.reorder_per_million == 0 &&
           faults.truncate_per_million == 0;
}

DropRule::Kind kind_of(const Packet& packet) {
    if (packet.has(Packet::syn)) return DropRule::Kind::handshake;
    if (packet.has(Packet::fin)) return DropRule::Kind::fin;
    return packet.payload.empty() ? DropRule::Kind::bare_ack : DropRule::Kind::data;
}

}  // namespace

bool MirrorSettings::is_faultless() const {
    return sim::is_faultless(from_client) && sim::is_faultless(from_primary) && drops.empty() && !cut;
}

Mirror::Mirror(EventQueue& queue, Random random, const MirrorSettings& settings, stack::LinkAddress primary,
               stack::LinkAddress replica, Tap tap)
    : queue_(queue),
      random_(random),
      settings_(settings),
      primary_(primary),
      replica_(replica),
      tap_(std::move(tap)) {}

void Mirror::on_passage(const Switch::Passage& passage, const Frame& frame) {
    if (!copies(passage, frame)) return;
    const Packet packet = read_frame(*frame, SIZE_MAX).packet;
    if (packet.source_link == replica_) return;
    const bool from_primary = packet.source_link == primary_;
    const Instant now = queue_.now();
    std::optional<Copy> copy;
    bool dropped = settings_.cut && now >= settings_.cut->first && now < settings_.cut->second;
    if (packet.kind == Packet::Kind::tcp) {
        copy = Copy{from_primary ? packet.destination : packet.source, now,
                    from_primary && packet.has(Packet::ack_flag)};
        const std::size_t number = books_.size();
        const auto [entry, is_new] = books_.try_emplace(copy->client);
        Book& book = entry->second;
        if (is_new) book.number = number;
        dropped |= is_dropped(book, packet, from_primary);
    }
    const MirrorFaults& faults = from_primary ? settings_.from_primary : settings_.from_client;
    std::uint32_t& burst = burst_left_[from_primary ? 0 : 1];
    if (burst == 0 && random_.chance(faults.burst_per_million))
        burst = static_cast<std::uint32_t>(random_.between(1, faults.burst_frames));
    if (burst != 0) {
        --burst;
        dropped = true;
    }
    dropped |= random_.chance(faults.loss_per_million);
    if (dropped) {
        if (copy) note_lost(*copy);
        return;
    }
    Instant at = now + settings_.delay + random_.between(Duration::zero(), settings_.jitter);
    if (random_.chance(faults.reorder_per_million)) {
        at += random_.between(Duration(1), faults.reorder_delay);
    } else {
        Instant& last = last_arrival_[from_primary ? 0 : 1];
        last = at = std::max(last, at);
    }
    if (random_.chance(faults.truncate_per_million)) {
        if (copy) note_lost(*copy);
        const auto length = static_cast<std::ptrdiff_t>(random_.below(frame->size()));
        const auto cut =
            std::make_shared<const std::vector<std::byte>>(frame->begin(), frame->begin() + length);
        return deliver(cut, from_primary, std::nullopt, at);
    }
    deliver(frame, from_primary, copy, at);
    if (random_.chance(faults.duplicate_per_million))
        deliver(frame, from_primary, std::nullopt,
                at + random_.between(Duration(1), std::chrono::milliseconds(3)));
}

void Mirror::deliver(const Frame& frame, bool from_primary, const std::optional<Copy>& copy, Instant at) {
    const std::uint64_t number = next_copy_++;
    if (copy && !books_closed_) under_way_.emplace(number, *copy);
    queue_.at(at, [this, frame, from_primary, number] {
        if (const auto found = under_way_.find(number); found != under_way_.end()) {
            auto& latest = books_.at(found->second.client).acknowledged;
            if (found->second.primary_ack)
                latest = std::max(latest.value_or(Instant{}), found->second.passed);
            under_way_.erase(found);
        }
        tap_(frame, from_primary ? stack::Source::tap_from_primary : stack::Source::tap_from_client);
    });
}

bool Mirror::is_dropped(Book& book, const Packet& packet, bool from_primary) {
    const DropRule::Kind kind = kind_of(packet);
    const std::uint32_t nth = ++book.seen[{kind, from_primary}];
    return std::any_of(settings_.drops.begin(), settings_.drops.end(), [&](const DropRule& rule) {
        return rule.kind == kind && rule.from_primary == from_primary && rule.nth == nth &&
               rule.connection == book.number;
    });
}

void Mirror::note_lost(const Copy& copy) {
    if (books_closed_) return;
    auto& lost = books_.at(copy.client).lost;
    lost = std::max(lost.value_or(Instant{}), copy.passed);
}

void Mirror::close_books() {
    for (const auto& [number, copy] : under_way_)
        note_lost(copy);
    under_way_.clear();
    books_closed_ = true;
}

bool Mirror::was_faithful_to(const stack::Endpoint& client) const {
    const auto found = books_.find(client);
    if (found == books_.end() || !found->second.lost) return true;
    return found->second.acknowledged && *found->second.acknowledged > *found->second.lost;
}

bool Mirror::copies(const Switch::Passage& passage, const Frame& frame) {
    const bool entering = passage.from == passage.to;
    if (settings_.kind == MirrorKind::primary_port) return passage.to == primary_port_;
    if (entering) return client_ports_.contains(passage.from);
    if (!client_ports_.contains(passage.to) || client_ports_.contains(passage.from)) return false;
    return std::exchange(last_copied_, frame) != frame;
}

}  // namespace understudy::sim
