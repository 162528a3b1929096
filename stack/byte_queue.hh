// A first-in first-out queue of bytes that holds memory only while it holds bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace understudy::stack {

class ByteQueue {
  public:
    std::uint32_t size() const { return size_; }
    bool empty() const { return size_ == 0; }

    void push(std::span<const std::byte> bytes);
    // Drops the first `count` bytes, count <= size(); an empty queue gives its memory back.
    void pop(std::uint32_t count);
    void clear();
    // Drops all bytes from `size` on, size <= size().
    void truncate(std::uint32_t size);
    // Replaces what starts at `offset`; the range must lie inside the queue.
    void overwrite(std::uint32_t offset, std::span<const std::byte> bytes);

    // The bytes from `offset` on, at most `length`, in at most two pieces (the second may be empty).
    std::array<std::span<const std::byte>, 2> view(std::uint32_t offset, std::uint32_t length) const;
    // Copies view(offset, out.size()) into `out`; the range must lie inside the queue.
    void copy(std::uint32_t offset, std::span<std::byte> out) const;
    // The first offset at which `bytes` differs from the queue's content from `offset` on, or bytes.size()
    // when they are equal; the range must lie inside the queue.
    std::size_t mismatch(std::uint32_t offset, std::span<const std::byte> bytes) const;

  private:
    void grow(std::uint32_t needed);

    std::unique_ptr<std::byte[]> ring_;
    std::uint32_t capacity_ = 0;  // a power of two, or 0
    std::uint32_t head_ = 0;
    std::uint32_t size_ = 0;
};

}  // namespace understudy::stack
