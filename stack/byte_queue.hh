// A first-in first-out queue of bytes that holds memory only while it holds bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>

namespace understudy::stack {

class ByteQueue {
  public:
    std::uint32_t size() const { return ring_ == nullptr ? 0 : ring_->size; }
    bool empty() const { return ring_ == nullptr; }

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
    // Stands before its bytes: a queue without any is one pointer.
    struct Ring {
        std::uint32_t capacity = 0;  // a power of two
        std::uint32_t head = 0;
        std::uint32_t size = 0;  // never 0

        std::byte* bytes() { return reinterpret_cast<std::byte*>(this + 1); }
    };
    struct Free {
        void operator()(Ring* ring) const { ::operator delete(ring); }
    };
    void grow(std::uint32_t needed);

    std::unique_ptr<Ring, Free> ring_;
};

}  // namespace understudy::stack
