// A fuzzer's input, taken piece by piece. When it is used up, zeros and nothing follow.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace understudy::fuzz {

class Input {
  public:
    Input(const std::uint8_t* data, std::size_t size) : left_(data, size) {}

    bool empty() const { return left_.empty(); }
    std::uint8_t u8() {
        const auto one = take(1);
        return one.empty() ? std::uint8_t{0} : one[0];
    }
    std::uint16_t u16() { return static_cast<std::uint16_t>(u8() << 8 | u8()); }
    std::int16_t i16() { return static_cast<std::int16_t>(u16()); }
    std::uint32_t u32() { return std::uint32_t{u16()} << 16 | u16(); }
    // The next `count` bytes, or what is left.
    std::span<const std::uint8_t> take(std::size_t count) {
        const auto taken = left_.first(std::min(count, left_.size()));
        left_ = left_.subspan(taken.size());
        return taken;
    }
    std::span<const std::uint8_t> rest() { return take(left_.size()); }

  private:
    std::span<const std::uint8_t> left_;
};

}  // namespace understudy::fuzz
