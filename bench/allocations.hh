// Memory that the program holds.
#pragma once

#include <cstddef>

namespace understudy::bench {

// From operator new, the allocator's overhead included.
std::size_t allocated_bytes();
// Mapped and touched, whoever asked for it.
std::size_t resident_bytes();

}  // namespace understudy::bench
