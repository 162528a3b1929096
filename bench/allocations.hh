// Bytes that the program holds from operator new, allocator's overhead included.
#pragma once

#include <cstddef>

namespace understudy::bench {

std::size_t bytes_held();

}  // namespace understudy::bench
