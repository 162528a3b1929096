#include "stack/udp/datagram_store.hh"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>

#include "stack/mix.hh"

namespace understudy::stack::udp {
namespace {

std::uint64_t mix_bytes(std::uint64_t state, std::uint64_t secret, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        std::uint64_t word = 0;
        const std::size_t length = std::min(bytes.size(), sizeof word);
        std::memcpy(&word, bytes.data(), length);
        state = mix(state ^ word, secret ^ 0xd1b54a32d192ed03);
        bytes = bytes.subspan(length);
    }
    return state;
}

}  // namespace

DatagramStore::DatagramStore(std::uint64_t secret, std::uint32_t max_datagrams, std::uint32_t max_bytes)
    : secret_(secret),
      max_datagrams_(max_datagrams),
      max_bytes_(max_bytes),
      chains_(std::bit_ceil(std::max<std::size_t>(max_datagrams, 1))) {}

std::uint64_t DatagramStore::hash(const Flow& flow, std::span<const std::byte> bytes) const {
    std::uint64_t state = mix(secret_ ^ bytes.size(), 0x9e3779b97f4a7c15);
    state = mix_bytes(state, secret_, std::as_bytes(std::span(flow.local.address.octets)));
    state = mix_bytes(state, secret_, std::as_bytes(std::span(flow.remote.address.octets)));
    state = mix(state ^ (std::uint64_t{flow.local.port} << 16 | flow.remote.port), secret_);
    return mix_bytes(state, secret_, bytes);
}

std::size_t DatagramStore::add(const Flow& flow, std::span<const std::byte> bytes, Instant at) {
    if (bytes.size() > max_bytes_ || max_datagrams_ == 0) return 1;
    std::size_t gone = 0;
    for (; size_ == max_datagrams_ || bytes_ + bytes.size() > max_bytes_; ++gone)
        drop_oldest();
    const std::uint32_t index = free_slot();
    Slot& slot = slots_[index];
    slot.flow = flow;
    slot.at = at;
    slot.bytes.assign(bytes.begin(), bytes.end());
    slot.hash = hash(flow, bytes);
    slot.next_in_chain = none;
    slot.older = newest_;
    slot.newer = none;
    (newest_ == none ? oldest_ : slots_[newest_].newer) = index;
    newest_ = index;
    Chain& chain = chain_of(slot.hash);
    (chain.first == none ? chain.first : slots_[chain.last].next_in_chain) = index;
    chain.last = index;
    ++size_;
    bytes_ += bytes.size();
    return gone;
}

bool DatagramStore::take(const Flow& flow, std::span<const std::byte> bytes) {
    if (empty()) return false;
    const std::uint64_t wanted = hash(flow, bytes);
    std::uint32_t before = none;
    for (std::uint32_t i = chain_of(wanted).first; i != none; before = i, i = slots_[i].next_in_chain) {
        const Slot& slot = slots_[i];
        if (slot.hash != wanted || slot.flow != flow || !std::ranges::equal(slot.bytes, bytes)) continue;
        release(i, before);
        return true;
    }
    return false;
}

void DatagramStore::drop_oldest() {
    assert(!empty());
    // Chains are in order of age as well: it is the first of its own.
    release(oldest_, none);
}

std::uint32_t DatagramStore::free_slot() {
    if (free_ == none) {
        slots_.emplace_back();
        return static_cast<std::uint32_t>(slots_.size() - 1);
    }
    const std::uint32_t index = free_;
    free_ = slots_[index].next_in_chain;
    return index;
}

void DatagramStore::release(std::uint32_t index, std::uint32_t before_in_chain) {
    Slot& slot = slots_[index];
    Chain& chain = chain_of(slot.hash);
    (before_in_chain == none ? chain.first : slots_[before_in_chain].next_in_chain) = slot.next_in_chain;
    if (chain.last == index) chain.last = before_in_chain;
    (slot.older == none ? oldest_ : slots_[slot.older].newer) = slot.newer;
    (slot.newer == none ? newest_ : slots_[slot.newer].older) = slot.older;
    --size_;
    bytes_ -= slot.bytes.size();
    slot.bytes.clear();
    // A large buffer is not kept for datagrams that may never be that large again.
    if (slot.bytes.capacity() > kept_buffer_bytes) slot.bytes = {};
    slot.next_in_chain = free_;
    free_ = index;
}

}  // namespace understudy::stack::udp
