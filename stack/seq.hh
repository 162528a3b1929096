// TCP sequence numbers: arithmetic modulo 2^32 (RFC 9293 3.4).
#pragma once

#include <algorithm>
#include <cstdint>

namespace understudy::stack {

// A point in a connection's sequence space. Comparison is modular: it is meaningful for points less than 2^31
// apart, which every pair inside one window is.
class Seq {
  public:
    constexpr Seq() = default;
    constexpr explicit Seq(std::uint32_t raw) : raw_(raw) {}

    constexpr std::uint32_t raw() const { return raw_; }

    friend constexpr bool operator==(Seq, Seq) = default;
    friend constexpr bool operator<(Seq a, Seq b) { return static_cast<std::int32_t>(a.raw_ - b.raw_) < 0; }
    friend constexpr bool operator>(Seq a, Seq b) { return b < a; }
    friend constexpr bool operator<=(Seq a, Seq b) { return !(b < a); }
    friend constexpr bool operator>=(Seq a, Seq b) { return !(a < b); }

    friend constexpr Seq operator+(Seq a, std::uint32_t n) { return Seq(a.raw_ + n); }
    friend constexpr Seq operator-(Seq a, std::uint32_t n) { return Seq(a.raw_ - n); }
    constexpr Seq& operator+=(std::uint32_t n) {
        raw_ += n;
        return *this;
    }

  private:
    std::uint32_t raw_ = 0;
};

// Octets from `from` up to `to`; `from` must not be after `to`.
constexpr std::uint32_t distance(Seq from, Seq to) {
    return to.raw() - from.raw();
}
// Further apart than any window reaches (RFC 7323 2.3): their order means nothing, and at 2^31 each is before
// the other.
constexpr bool are_far_apart(Seq a, Seq b) {
    constexpr std::uint32_t reach = 1u << 30;
    return distance(a, b) + reach > 2 * reach;
}
constexpr Seq max(Seq a, Seq b) {
    return a < b ? b : a;
}
constexpr Seq min(Seq a, Seq b) {
    return b < a ? b : a;
}

}  // namespace understudy::stack
