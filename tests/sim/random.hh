// Randomness that a seed replays: SplitMix64, split into independent streams by name.
#pragma once

#include <cstdint>
#include <string_view>

#include "stack/interfaces.hh"

namespace understudy::sim {

class Random final : public stack::RandomSource {
  public:
    explicit Random(std::uint64_t seed) : seed_(seed), state_(seed) {}

    // A stream of its own: what one part of the world draws does not move what another draws.
    Random stream(std::string_view name, std::uint64_t index = 0) const {
        std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
        for (const char c : name)
            hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
        return Random(mix(seed_ ^ mix(hash + index)));
    }

    std::uint64_t next() override { return mix(state_ += 0x9e3779b97f4a7c15); }
    // 0 to bound − 1; bound is not 0.
    std::uint64_t below(std::uint64_t bound) { return next() % bound; }
    std::uint64_t between(std::uint64_t least, std::uint64_t most) { return least + below(most - least + 1); }
    stack::Duration between(stack::Duration least, stack::Duration most) {
        const auto span = static_cast<std::uint64_t>((most - least).count()) + 1;
        return least + stack::Duration(static_cast<std::int64_t>(below(span)));
    }
    // True in `per_million` of a million draws.
    bool chance(std::uint32_t per_million) { return per_million != 0 && below(1'000'000) < per_million; }

    static std::uint64_t mix(std::uint64_t z) {
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }

  private:
    std::uint64_t seed_;
    std::uint64_t state_;
};

}  // namespace understudy::sim
