// Network byte order, read and written at any alignment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace understudy::stack::wire {

using Bytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

inline std::uint8_t load8(const std::byte* p) {
    return std::to_integer<std::uint8_t>(*p);
}
inline std::uint16_t load16(const std::byte* p) {
    std::uint16_t value;
    std::memcpy(&value, p, sizeof value);
    return __builtin_bswap16(value);
}
inline std::uint32_t load32(const std::byte* p) {
    std::uint32_t value;
    std::memcpy(&value, p, sizeof value);
    return __builtin_bswap32(value);
}
inline void store8(std::byte* p, std::uint8_t value) {
    *p = std::byte{value};
}
inline void store16(std::byte* p, std::uint16_t value) {
    value = __builtin_bswap16(value);
    std::memcpy(p, &value, sizeof value);
}
inline void store32(std::byte* p, std::uint32_t value) {
    value = __builtin_bswap32(value);
    std::memcpy(p, &value, sizeof value);
}

}  // namespace understudy::stack::wire
