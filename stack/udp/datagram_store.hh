// Datagrams that wait, a bounded time, for an equal one of the same flow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "stack/address.hh"
#include "stack/time.hh"

namespace understudy::stack::udp {

struct Flow {
    Endpoint local;
    Endpoint remote;
    friend bool operator==(const Flow&, const Flow&) = default;
};

// Kept in the order in which they came. In steady state nothing is allocated: slots and their buffers are
// used again.
class DatagramStore {
  public:
    // `secret` keys the hash. Holds at most `max_datagrams` of together at most `max_bytes`.
    DatagramStore(std::uint64_t secret, std::uint32_t max_datagrams, std::uint32_t max_bytes);

    // Keeps a copy as the newest. The oldest make room: returns how many went, itself counted if it is too
    // large to be kept at all.
    std::size_t add(const Flow& flow, std::span<const std::byte> bytes, Instant at);
    // Removes the oldest one of this flow with these bytes. False: there is none.
    bool take(const Flow& flow, std::span<const std::byte> bytes);

    bool empty() const { return oldest_ == none; }
    std::size_t size() const { return size_; }
    std::size_t bytes() const { return bytes_; }
    // Of the oldest; not when empty. Valid until the next change.
    Instant oldest_at() const { return slots_[oldest_].at; }
    const Flow& oldest_flow() const { return slots_[oldest_].flow; }
    std::span<const std::byte> oldest_bytes() const { return slots_[oldest_].bytes; }
    void drop_oldest();

  private:
    static constexpr std::uint32_t none = 0xffffffff;
    static constexpr std::size_t kept_buffer_bytes = 2048;

    struct Slot {
        Flow flow;
        Instant at{};
        std::vector<std::byte> bytes;
        std::uint64_t hash = 0;
        std::uint32_t older = none;
        std::uint32_t newer = none;
        std::uint32_t next_in_chain = none;  // of the same bucket, newer; of a free slot: the next free one
    };
    struct Chain {
        std::uint32_t first = none;
        std::uint32_t last = none;
    };

    std::uint64_t hash(const Flow& flow, std::span<const std::byte> bytes) const;
    Chain& chain_of(std::uint64_t hash) { return chains_[hash & (chains_.size() - 1)]; }
    std::uint32_t free_slot();
    void release(std::uint32_t index, std::uint32_t before_in_chain);

    const std::uint64_t secret_;
    const std::uint32_t max_datagrams_;
    const std::uint32_t max_bytes_;
    std::vector<Chain> chains_;
    std::vector<Slot> slots_;
    std::uint32_t free_ = none;
    std::uint32_t oldest_ = none;
    std::uint32_t newest_ = none;
    std::size_t size_ = 0;
    std::size_t bytes_ = 0;
};

}  // namespace understudy::stack::udp
