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
    if (size_ + count > capacity_) grow(size_ + count);
    const std::uint32_t tail = (head_ + size_) & (capacity_ - 1);
    const std::uint32_t first = std::min(count, capacity_ - tail);
    std::memcpy(ring_.get() + tail, bytes.data(), first);
    std::memcpy(ring_.get(), bytes.data() + first, count - first);
    size_ += count;
}

void ByteQueue::pop(std::uint32_t count) {
    assert(count <= size_);
    size_ -= count;
    if (size_ == 0)
        clear();
    else
        head_ = (head_ + count) & (capacity_ - 1);
}

void ByteQueue::clear() {
    ring_.reset();
    capacity_ = head_ = size_ = 0;
}

void ByteQueue::truncate(std::uint32_t size) {
    assert(size <= size_);
    size_ = size;
    if (size_ == 0) clear();
}

void ByteQueue::overwrite(std::uint32_t offset, std::span<const std::byte> bytes) {
    assert(offset + bytes.size() <= size_);
    if (bytes.empty()) return;
    const std::uint32_t start = (head_ + offset) & (capacity_ - 1);
    const std::size_t first = std::min<std::size_t>(bytes.size(), capacity_ - start);
    std::memcpy(ring_.get() + start, bytes.data(), first);
    std::memcpy(ring_.get(), bytes.data() + first, bytes.size() - first);
}

std::array<std::span<const std::byte>, 2> ByteQueue::view(std::uint32_t offset, std::uint32_t length) const {
    if (offset >= size_) return {};
    length = std::min(length, size_ - offset);
    const std::uint32_t start = (head_ + offset) & (capacity_ - 1);
    const std::uint32_t first = std::min(length, capacity_ - start);
    return {std::span(ring_.get() + start, first), std::span(ring_.get(), length - first)};
}

void ByteQueue::copy(std::uint32_t offset, std::span<std::byte> out) const {
    assert(offset + out.size() <= size_);
    const auto [first, second] = view(offset, static_cast<std::uint32_t>(out.size()));
    std::copy(second.begin(), second.end(), std::copy(first.begin(), first.end(), out.begin()));
}

std::size_t ByteQueue::mismatch(std::uint32_t offset, std::span<const std::byte> bytes) const {
    assert(offset + bytes.size() <= size_);
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
    auto ring = std::make_unique_for_overwrite<std::byte[]>(capacity);
    copy(0, std::span(ring.get(), size_));
    ring_ = std::move(ring);
    capacity_ = capacity;
    head_ = 0;
}

}  // namespace understudy::stack
