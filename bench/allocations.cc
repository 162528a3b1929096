#include "bench/allocations.hh"

#include <malloc.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <new>

namespace {

std::size_t held = 0;

// What malloc keeps before each block.
constexpr std::size_t block_header = sizeof(std::size_t);

void* counted(void* block) {
    if (block == nullptr) throw std::bad_alloc();
    held += malloc_usable_size(block) + block_header;
    return block;
}

void release(void* block) {
    if (block == nullptr) return;
    held -= malloc_usable_size(block) + block_header;
    std::free(block);
}

}  // namespace

namespace understudy::bench {

std::size_t allocated_bytes() {
    return held;
}

std::size_t resident_bytes() {
    std::ifstream statm("/proc/self/statm");
    std::size_t size = 0, resident = 0;
    statm >> size >> resident;
    return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace understudy::bench

void* operator new(std::size_t size) {
    return counted(std::malloc(size));
}
void* operator new(std::size_t size, std::align_val_t alignment) {
    return counted(std::aligned_alloc(static_cast<std::size_t>(alignment), size));
}
void operator delete(void* block) noexcept {
    release(block);
}
void operator delete(void* block, std::size_t) noexcept {
    release(block);
}
void operator delete(void* block, std::align_val_t) noexcept {
    release(block);
}
void operator delete(void* block, std::size_t, std::align_val_t) noexcept {
    release(block);
}
