#include "shadow_app/pattern.hh"

namespace understudy::shadow_app {
namespace {

constexpr std::size_t word_bytes = 8;

// SplitMix64's finalizer: neighbouring inputs give unrelated words.
std::uint64_t mix(std::uint64_t value) {
    value += 0x9e3779b97f4a7c15;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return value ^ (value >> 31);
}

}  // namespace

void fill_pattern(std::uint64_t stream, std::uint64_t offset, std::span<std::byte> out) {
    const std::uint64_t seed = mix(stream);
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < out.size(); ++i) {
        const std::uint64_t at = offset + i;
        if (i == 0 || at % word_bytes == 0) word = mix(seed ^ (at / word_bytes));
        out[i] = static_cast<std::byte>(word >> (8 * (at % word_bytes)));
    }
}

}  // namespace understudy::shadow_app
