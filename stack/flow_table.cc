#include "stack/flow_table.hh"

#include <cassert>

#include "stack/mix.hh"

namespace understudy::stack {
namespace {

constexpr std::size_t smallest_table = 1024;

}  // namespace

FlowTable::FlowTable(std::uint64_t secret, std::function<const FlowKey&(std::uint32_t)> key_of)
    : secret_(secret), key_of_(std::move(key_of)), slots_(smallest_table, empty) {}

std::uint64_t FlowTable::hash(const FlowKey& key) const {
    std::array<std::uint64_t, 3> words;
    std::memcpy(words.data(), &key, sizeof key);
    const std::uint64_t first = mix(words[0] ^ secret_, words[1] ^ 0x9e3779b97f4a7c15);
    return mix(first ^ words[2], secret_ ^ 0xd1b54a32d192ed03);
}

std::uint32_t FlowTable::probe(std::uint64_t hash, const FlowKey& key) const {
    for (std::size_t at = home(hash);; at = (at + 1) & (slots_.size() - 1)) {
        const Slot slot = slots_[at];
        if (slot == empty) return none;
        if (may_be(slot, hash) && key_of_(index_in(slot)) == key) return index_in(slot);
    }
}

std::uint32_t FlowTable::find(const FlowKey& key) const {
    return probe(hash(key), key);
}

void FlowTable::find_burst(std::span<const FlowKey> keys, std::span<std::uint32_t> found) const {
    assert(keys.size() <= max_burst && found.size() >= keys.size());
    std::array<std::uint64_t, max_burst> hashes;
    for (std::size_t i = 0; i < keys.size(); ++i) {
        hashes[i] = hash(keys[i]);
        __builtin_prefetch(&slots_[home(hashes[i])]);
    }
    for (std::size_t i = 0; i < keys.size(); ++i) {
        const Slot slot = slots_[home(hashes[i])];
        if (slot != empty && may_be(slot, hashes[i])) __builtin_prefetch(&key_of_(index_in(slot)));
    }
    for (std::size_t i = 0; i < keys.size(); ++i)
        found[i] = probe(hashes[i], keys[i]);
}

void FlowTable::insert(const FlowKey& key, std::uint32_t index) {
    assert(index < max_flows);
    if ((size_ + 1) * 2 > slots_.size()) grow();
    const std::uint64_t h = hash(key);
    std::size_t at = home(h);
    while (slots_[at] != empty)
        at = (at + 1) & (slots_.size() - 1);
    slots_[at] = slot_for(h, index);
    ++size_;
    ++version_;
}

std::size_t FlowTable::slot_of(const FlowKey& key) const {
    const std::uint64_t h = hash(key);
    std::size_t at = home(h);
    while (slots_[at] == empty || !may_be(slots_[at], h) || !(key_of_(index_in(slots_[at])) == key)) {
        assert(slots_[at] != empty);
        at = (at + 1) & (slots_.size() - 1);
    }
    return at;
}

void FlowTable::erase(const FlowKey& key) {
    // Backward shift: no tombstones, so lookups never grow longer with age.
    std::size_t hole = slot_of(key);
    for (std::size_t at = hole;;) {
        at = (at + 1) & (slots_.size() - 1);
        if (slots_[at] == empty) break;
        const std::size_t wanted = home(hash(key_of_(index_in(slots_[at]))));
        const std::size_t mask = slots_.size() - 1;
        if (((at - wanted) & mask) >= ((at - hole) & mask)) {
            slots_[hole] = slots_[at];
            hole = at;
        }
    }
    slots_[hole] = empty;
    --size_;
    ++version_;
}

void FlowTable::grow() {
    decltype(slots_) old(slots_.size() * 2, empty);
    old.swap(slots_);
    for (const Slot slot : old) {
        if (slot == empty) continue;
        std::size_t at = home(hash(key_of_(index_in(slot))));
        while (slots_[at] != empty)
            at = (at + 1) & (slots_.size() - 1);
        slots_[at] = slot;
    }
}

}  // namespace understudy::stack
