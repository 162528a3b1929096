// An array that grows in place: its address space is reserved at construction, memory comes with use.
#pragma once

#include <sys/mman.h>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace understudy::stack {

// Elements never move, and the i-th is found by arithmetic alone. Beyond the first megabytes huge pages are
// asked for: a million records in random order would miss the TLB at every access.
template <typename T>
class ReservedArray {
  public:
    // Room for `capacity` elements. Throws std::bad_alloc when there is not so much address space.
    explicit ReservedArray(std::size_t capacity)
        : capacity_(capacity), bytes_(round_up(capacity * sizeof(T))) {
        constexpr int protection = PROT_READ | PROT_WRITE;
        void* const space =
            mmap(nullptr, bytes_, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (space == MAP_FAILED) throw std::bad_alloc();
        elements_ = static_cast<T*>(space);
        // A hint: refused, it costs speed and nothing else.
        if (bytes_ > small_bytes)
            (void)madvise(static_cast<std::byte*>(space) + small_bytes, bytes_ - small_bytes, MADV_HUGEPAGE);
    }
    ~ReservedArray() {
        std::destroy_n(elements_, size_);
        munmap(elements_, bytes_);
    }
    ReservedArray(const ReservedArray&) = delete;
    ReservedArray& operator=(const ReservedArray&) = delete;

    std::size_t size() const { return size_; }
    std::size_t capacity() const { return capacity_; }
    // Appends a default element; only while size() < capacity().
    T& append() {
        assert(size_ < capacity_);
        return *std::construct_at(elements_ + size_++);
    }
    T& operator[](std::size_t i) { return elements_[i]; }
    const T& operator[](std::size_t i) const { return elements_[i]; }

  private:
    static constexpr std::size_t page_bytes = 4096;
    // A stack of few connections is small.
    static constexpr std::size_t small_bytes = 4 << 20;
    static std::size_t round_up(std::size_t bytes) {
        return (bytes + page_bytes - 1) / page_bytes * page_bytes;
    }

    std::size_t capacity_;
    std::size_t bytes_;
    std::size_t size_ = 0;
    T* elements_;
};

// For tables that are read in random order: a large one lies in huge pages, if the system has them to give.
template <typename T>
struct HugePageAllocator {
    using value_type = T;

    HugePageAllocator() = default;
    template <typename U>
    explicit HugePageAllocator(const HugePageAllocator<U>&) {}

    T* allocate(std::size_t count) {
        const std::size_t bytes = count * sizeof(T);
        if (bytes < huge_page_bytes) return std::allocator<T>().allocate(count);
        void* const block = ::operator new (bytes, std::align_val_t{huge_page_bytes});
        (void)madvise(block, bytes, MADV_HUGEPAGE);
        return static_cast<T*>(block);
    }
    void deallocate(T* block, std::size_t count) {
        if (count * sizeof(T) < huge_page_bytes) return std::allocator<T>().deallocate(block, count);
        ::operator delete (block, std::align_val_t{huge_page_bytes});
    }
    friend bool operator==(const HugePageAllocator&, const HugePageAllocator&) { return true; }

  private:
    static constexpr std::size_t huge_page_bytes = 2 << 20;
};

// Asks for the cache lines of `object` ahead of their use.
template <typename T>
void prefetch(const T& object, std::size_t bytes = sizeof(T)) {
    constexpr std::size_t line_bytes = 64;
    const auto* const first = reinterpret_cast<const std::byte*>(&object);
    for (std::size_t at = 0; at < bytes; at += line_bytes)
        __builtin_prefetch(first + at);
}

}  // namespace understudy::stack
