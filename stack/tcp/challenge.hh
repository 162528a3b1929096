// What all connections together may answer to segments that could be forged (RFC 5961 7).
#pragma once

#include <cstdint>

namespace understudy::stack::tcp {

// Numbers for jitter that outsiders should not guess, from one seed (SplitMix64).
class Noise {
  public:
    explicit Noise(std::uint64_t seed) : state_(seed) {}
    std::uint64_t next() {
        std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }

  private:
    std::uint64_t state_;
};

class ChallengeBudget {
  public:
    // Takes one answer of the present second's budget, about `limit`. False when it is used up.
    bool take(std::uint32_t second, std::uint32_t limit, Noise& noise);

  private:
    std::uint32_t second_ = 0;
    std::uint32_t left_ = 0;
};

}  // namespace understudy::stack::tcp
