// The step of the stack's keyed hashes.
#pragma once

#include <cstdint>

namespace understudy::stack {

// Both halves of the product, folded into one.
inline std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
    __extension__ using Wide = unsigned __int128;
    const auto product = static_cast<Wide>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

}  // namespace understudy::stack
