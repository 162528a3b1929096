#include "stack/timer_wheel.hh"

#include <algorithm>
#include <bit>

namespace understudy::stack {

std::size_t TimerWheel::slot_of(std::uint64_t tick) const {
    const std::uint64_t differing = tick ^ now_;
    const int level = differing == 0 ? 0 : (63 - std::countl_zero(differing)) / slot_bits;
    return static_cast<std::size_t>(level) * slots + ((tick >> (level * slot_bits)) & (slots - 1));
}

void TimerWheel::arm(std::uint32_t index, Instant deadline) {
    constexpr std::uint64_t round_up = (1ull << tick_shift) - 1;
    const auto ns =
        static_cast<std::uint64_t>(std::max<std::int64_t>(deadline.time_since_epoch().count(), 0));
    std::uint64_t tick = std::clamp((ns + round_up) >> tick_shift, now_ + 1, now_ + most_ahead - 2);
    if (static_cast<std::uint32_t>(tick) == 0) ++tick;
    if (index >= armed_.size()) armed_.resize(std::max<std::size_t>(index + 1, armed_.size() * 2));
    if (armed_[index] == 0)
        ++armed_count_;
    else if (whole(armed_[index]) <= tick)
        return;
    armed_[index] = static_cast<std::uint32_t>(tick);
    add(tick, index);
    if (entries_ > 2 * armed_count_ + passed_over_allowance) sweep();
}

void TimerWheel::cancel(std::uint32_t index) {
    if (index >= armed_.size() || armed_[index] == 0) return;
    armed_[index] = 0;
    --armed_count_;
}

void TimerWheel::add(std::uint64_t tick, std::uint32_t index) {
    const std::size_t slot = slot_of(tick);
    std::uint32_t head = heads_[slot];
    if (head == none || chunks_[head].count == chunks_[head].entries.size()) {
        std::uint32_t fresh = free_chunk_;
        if (fresh == none) {
            fresh = static_cast<std::uint32_t>(chunks_.size());
            chunks_.emplace_back();
        } else {
            free_chunk_ = chunks_[fresh].next;
        }
        chunks_[fresh].count = 0;
        chunks_[fresh].next = head;
        heads_[slot] = head = fresh;
        occupied_[slot / 64] |= 1ull << (slot % 64);
    }
    Chunk& chunk = chunks_[head];
    chunk.entries[chunk.count++] = {static_cast<std::uint32_t>(tick), index};
    ++entries_;
}

void TimerWheel::take(std::size_t slot) {
    std::uint32_t at = heads_[slot];
    if (at == none) return;
    heads_[slot] = none;
    occupied_[slot / 64] &= ~(1ull << (slot % 64));
    while (at != none) {
        Chunk& chunk = chunks_[at];
        for (std::size_t i = 0; i < chunk.count; ++i)
            if (armed_[chunk.entries[i].index] == chunk.entries[i].tick) reached_.push_back(chunk.entries[i]);
        entries_ -= chunk.count;
        const std::uint32_t next = chunk.next;
        chunk.next = free_chunk_;
        free_chunk_ = at;
        at = next;
    }
}

// So many timers were moved forward, or stopped, that most entries are to be passed over.
void TimerWheel::sweep() {
    reached_.clear();
    for (std::size_t slot = 0; slot < heads_.size(); ++slot)
        take(slot);
    for (const Entry& entry : reached_)
        armed_[entry.index] = 0;
    for (const Entry& entry : reached_) {
        if (armed_[entry.index] != 0) continue;  // a timer armed for the same tick again stands there twice
        armed_[entry.index] = entry.tick;
        add(whole(entry.tick), entry.index);
    }
}

std::optional<std::uint64_t> TimerWheel::next_tick() const {
    if (armed_count_ == 0) return std::nullopt;
    for (int l = 0; l < levels; ++l) {
        const int shift = l * slot_bits;
        const std::uint64_t current = (now_ >> shift) & (slots - 1);
        for (std::uint64_t word = current / 64; word < slots / 64; ++word) {
            std::uint64_t bits = occupied_[static_cast<std::size_t>(l) * (slots / 64) + word];
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
            if ((*tick ^ now_) >> ((l + 1) * slot_bits) != 0) continue;
            take(static_cast<std::size_t>(l) * slots + ((*tick >> (l * slot_bits)) & (slots - 1)));
        }
        now_ = *tick;
        std::sort(reached_.begin(), reached_.end(),
                  [](const Entry& a, const Entry& b) { return a.index < b.index; });
        for (std::size_t i = 0; i < reached_.size(); ++i) {
            const Entry entry = reached_[i];
            if (i != 0 && reached_[i - 1].index == entry.index) continue;  // armed for the same tick again
            if (whole(entry.tick) <= now_) {
                armed_[entry.index] = 0;
                --armed_count_;
                due_.push_back(entry.index);
            } else {
                add(whole(entry.tick), entry.index);
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
