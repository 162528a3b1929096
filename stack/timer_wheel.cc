#include "stack/timer_wheel.hh"

#include <algorithm>
#include <bit>

namespace understudy::stack {

TimerWheel::Position TimerWheel::position(std::uint64_t tick) const {
    const std::uint64_t differing = tick ^ now_;
    const int level = differing == 0 ? 0 : (63 - std::countl_zero(differing)) / slot_bits;
    return {level, (tick >> (level * slot_bits)) & (slots - 1)};
}

void TimerWheel::arm(std::uint32_t index, Instant deadline) {
    constexpr std::uint64_t round_up = (1ull << tick_shift) - 1;
    const auto ns =
        static_cast<std::uint64_t>(std::max<std::int64_t>(deadline.time_since_epoch().count(), 0));
    const std::uint64_t tick = std::max((ns + round_up) >> tick_shift, now_ + 1);
    if (index >= nodes_.size()) nodes_.resize(std::max<std::size_t>(index + 1, nodes_.size() * 2));
    Node& node = nodes_[index];
    if (node.tick != 0) {
        if (node.tick <= tick) return;
        unlink(index);
    }
    node.tick = tick;
    link(index);
}

void TimerWheel::cancel(std::uint32_t index) {
    if (index < nodes_.size() && nodes_[index].tick != 0) unlink(index);
}

void TimerWheel::link(std::uint32_t index) {
    Node& node = nodes_[index];
    const Position at = position(node.tick);
    Level& level = levels_[static_cast<std::size_t>(at.level)];
    node.previous = none;
    node.next = level.heads[at.slot];
    if (node.next != none) nodes_[node.next].previous = index;
    level.heads[at.slot] = index;
    level.occupied[at.slot / 64] |= 1ull << (at.slot % 64);
}

void TimerWheel::unlink(std::uint32_t index) {
    Node& node = nodes_[index];
    if (node.next != none) nodes_[node.next].previous = node.previous;
    if (node.previous != none) {
        nodes_[node.previous].next = node.next;
    } else {
        // The head of its list: only the position tells which.
        const Position at = position(node.tick);
        Level& level = levels_[static_cast<std::size_t>(at.level)];
        level.heads[at.slot] = node.next;
        if (node.next == none) level.occupied[at.slot / 64] &= ~(1ull << (at.slot % 64));
    }
    node = Node{};
}

std::optional<std::uint64_t> TimerWheel::next_tick() const {
    for (int l = 0; l < levels; ++l) {
        const Level& level = levels_[static_cast<std::size_t>(l)];
        const int shift = l * slot_bits;
        const std::uint64_t current = (now_ >> shift) & (slots - 1);
        for (std::uint64_t word = current / 64; word < slots / 64; ++word) {
            std::uint64_t bits = level.occupied[word];
            if (word == current / 64) bits &= ~0ull << (current % 64);
            if (bits == 0) continue;
            const std::uint64_t slot = word * 64 + static_cast<std::uint64_t>(std::countr_zero(bits));
            const std::uint64_t block = now_ >> (shift + slot_bits) << (shift + slot_bits);
            return std::max(block | slot << shift, now_);
        }
    }
    return std::nullopt;
}

const std::vector<std::uint32_t>& TimerWheel::collect(Instant now) {
    due_.clear();
    const std::uint64_t target = static_cast<std::uint64_t>(now.time_since_epoch().count()) >> tick_shift;
    while (true) {
        const auto tick = next_tick();
        if (!tick || *tick > target) break;
        // Every entry that starts in the block now reached either is due or moves to a lower level.
        reached_.clear();
        for (int l = levels - 1; l >= 0; --l) {
            Level& level = levels_[static_cast<std::size_t>(l)];
            const std::uint64_t slot = (*tick >> (l * slot_bits)) & (slots - 1);
            if ((*tick ^ now_) >> ((l + 1) * slot_bits) != 0) continue;
            for (std::uint32_t i = level.heads[slot]; i != none; i = nodes_[i].next)
                reached_.push_back(i);
            level.heads[slot] = none;
            level.occupied[slot / 64] &= ~(1ull << (slot % 64));
        }
        now_ = *tick;
        std::sort(reached_.begin(), reached_.end());
        for (const std::uint32_t index : reached_) {
            if (nodes_[index].tick <= now_) {
                nodes_[index] = Node{};
                due_.push_back(index);
            } else {
                link(index);
            }
        }
    }
    now_ = std::max(now_, target);
    return due_;
}

std::optional<Instant> TimerWheel::next() const {
    const auto tick = next_tick();
    if (!tick) return std::nullopt;
    return Instant(Duration(static_cast<std::int64_t>(*tick << tick_shift)));
}

}  // namespace understudy::stack
