// From a flow's addresses to its connection: open addressing, looked up in bursts.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <vector>

#include "stack/address.hh"
#include "stack/reserved_array.hh"

namespace understudy::stack {

// A flow of one of our services: who the peer is, and which of our endpoints it talks to.
struct FlowKey {
    IpAddress remote;
    std::uint16_t remote_port = 0;
    std::uint16_t local_port = 0;
    std::uint32_t local_address = 0;  // index into the stack's local addresses
    friend constexpr bool operator==(const FlowKey&, const FlowKey&) = default;
};
static_assert(sizeof(FlowKey) == 24);

class FlowTable {
  public:
    static constexpr std::uint32_t none = 0xffffffff;
    static constexpr std::uint32_t max_flows = (1 << 24) - 1;  // an index takes 24 bits
    static constexpr std::size_t max_burst = 64;

    // `secret` keys the hash, so that no client can choose colliding ports. `key_of` gives the key of an
    // index, which is below max_flows; the table itself keeps only a tag of it.
    FlowTable(std::uint64_t secret, std::function<const FlowKey&(std::uint32_t)> key_of);

    std::uint32_t find(const FlowKey& key) const;
    // Looks up keys.size() <= max_burst flows in three passes (hash and prefetch the slot, compare tags and
    // prefetch the key, compare keys), so that the memory latencies of a burst overlap.
    void find_burst(std::span<const FlowKey> keys, std::span<std::uint32_t> found) const;
    // `key` must not be in the table.
    void insert(const FlowKey& key, std::uint32_t index);
    void erase(const FlowKey& key);
    std::size_t size() const { return size_; }
    // Changes with every insert and erase: a result of find_burst is good while it stays the same.
    std::uint64_t version() const { return version_; }

  private:
    // An index with eight bits of the hash above it: a lookup of another flow seldom reads a key, and a cache
    // line holds sixteen.
    using Slot = std::uint32_t;
    static constexpr std::uint32_t index_mask = 0xffffff;
    static constexpr Slot empty = none;
    static Slot slot_for(std::uint64_t hash, std::uint32_t index) { return tag(hash) | index; }
    static std::uint32_t index_in(Slot slot) { return slot & index_mask; }
    static bool may_be(Slot slot, std::uint64_t hash) { return (slot & ~index_mask) == tag(hash); }

    std::uint64_t hash(const FlowKey& key) const;
    std::size_t home(std::uint64_t hash) const {
        return static_cast<std::size_t>(hash) & (slots_.size() - 1);
    }
    static std::uint32_t tag(std::uint64_t hash) {
        return static_cast<std::uint32_t>(hash >> 32) & ~index_mask;
    }
    std::uint32_t probe(std::uint64_t hash, const FlowKey& key) const;
    std::size_t slot_of(const FlowKey& key) const;
    void grow();

    std::uint64_t secret_;
    std::function<const FlowKey&(std::uint32_t)> key_of_;
    std::vector<Slot, HugePageAllocator<Slot>> slots_;
    std::size_t size_ = 0;
    std::uint64_t version_ = 0;
};

}  // namespace understudy::stack
