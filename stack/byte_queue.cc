#include "stack/byte_queue.hh"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>

namespace understudy::stack {
namespace {
constexpr std::uint32_t smallest_ring = 256;
}

void ByteQueue::push(std::span<const std::byte> bytes) {
    if (bytes.empty()) return;
    const auto count = static_cast<std::uint32_t>(bytes.size());
    if (ring_ == nullptr || ring_->size + count > ring_->capacity) grow(size() + count);
    Ring& ring = *ring_;
    const std::uint32_t tail = (ring.head + ring.size) & (ring.capacity - 1);
    const std::uint32_t first = std::min(count, ring.capacity - tail);
    std::memcpy(ring.bytes() + tail, bytes.data(), first);
    std::memcpy(ring.bytes(), bytes.data() + first, count - first);
    ring.size += count;
}

void ByteQueue::pop(std::uint32_t count) {
    assert(count <= size());
    if (count == size()) return clear();
    ring_->size -= count;
    ring_->head = (ring_->head + count) & (ring_->capacity - 1);
}

void ByteQueue::clear() {
    ring_.reset();
}

void ByteQueue::truncate(std::uint32_t size) {
    assert(size <= this->size());
    if (size == 0) return clear();
    ring_->size = size;
}

void ByteQueue::overwrite(std::uint32_t offset, std::span<const std::byte> bytes) {
    assert(offset + bytes.size() <= size());
    if (bytes.empty()) return;
    Ring& ring = *ring_;
    const std::uint32_t start = (ring.head + offset) & (ring.capacity - 1);
    const std::size_t first = std::min<std::size_t>(bytes.size(), ring.capacity - start);
    std::memcpy(ring.bytes() + start, bytes.data(), first);
    std::memcpy(ring.bytes(), bytes.data() + first, bytes.size() - first);
}

std::array<std::span<const std::byte>, 2> ByteQueue::view(std::uint32_t offset, std::uint32_t length) const {
    if (offset >= size()) return {};
    Ring& ring = *ring_;
    length = std::min(length, ring.size - offset);
    const std::uint32_t start = (ring.head + offset) & (ring.capacity - 1);
    const std::uint32_t first = std::min(length, ring.capacity - start);
    return {std::span(ring.bytes() + start, first), std::span(ring.bytes(), length - first)};
}

void ByteQueue::copy(std::uint32_t offset, std::span<std::byte> out) const {
    assert(offset + out.size() <= size());
    const auto [first, second] = view(offset, static_cast<std::uint32_t>(out.size()));
    std::copy(second.begin(), second.end(), std::copy(first.begin(), first.end(), out.begin()));
}

std::size_t ByteQueue::mismatch(std::uint32_t offset, std::span<const std::byte> bytes) const {
    assert(offset + bytes.size() <= size());
    std::size_t at = 0;
    for (const auto& piece : view(offset, static_cast<std::uint32_t>(bytes.size()))) {
        const auto [mine, theirs] =
            std::mismatch(piece.begin(), piece.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
        at += static_cast<std::size_t>(mine - piece.begin());
        if (mine != piece.end()) return at;
    }
    return at;
}

void ByteQueue::grow(std::uint32_t needed) {
    const std::uint32_t capacity = std::bit_ceil(std::max(needed, smallest_ring));
    std::unique_ptr<Ring, Free> larger(new (::operator new(sizeof(Ring) + capacity)) Ring);
    larger->capacity = capacity;
    larger->size = size();
    copy(0, std::span(larger->bytes(), larger->size));
    ring_ = std::move(larger);
}

}  // namespace understudy::stack
