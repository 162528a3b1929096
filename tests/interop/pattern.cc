#include "tests/interop/pattern.hh"

#include <algorithm>
#include <array>

#include "tests/sim/random.hh"

namespace understudy::interop {
namespace {

// A prime: no multiple of a segment's size meets the same bytes again. Each block begins `step` bytes
// further.
constexpr std::size_t block_bytes = 65'521;
constexpr std::uint64_t step = 7'919;

// Twice, so that every rotation of the block lies together.
using DoubleBlock = std::array<std::byte, 2 * block_bytes>;

const DoubleBlock& double_block() {
    static const DoubleBlock block = [] {
        DoubleBlock bytes;
        for (std::size_t i = 0; i < block_bytes; ++i)
            bytes[i] = bytes[i + block_bytes] =
                static_cast<std::byte>(sim::Random::mix(i / 8) >> (i % 8 * 8));
        return bytes;
    }();
    return block;
}

}  // namespace

std::span<const std::byte> Pattern::run_at(std::uint64_t offset) const {
    const std::uint64_t begin = (key_ % block_bytes + offset / block_bytes * step) % block_bytes;
    const std::size_t within = offset % block_bytes;
    return std::span(double_block()).subspan(begin + within, block_bytes - within);
}

void Pattern::fill(std::uint64_t offset, std::span<std::byte> bytes) const {
    while (!bytes.empty()) {
        const auto run = run_at(offset);
        const std::size_t count = std::min(run.size(), bytes.size());
        std::copy_n(run.begin(), count, bytes.begin());
        bytes = bytes.subspan(count);
        offset += count;
    }
}

std::optional<std::uint64_t> Pattern::first_difference(std::uint64_t offset,
                                                       std::span<const std::byte> bytes) const {
    while (!bytes.empty()) {
        const auto run = run_at(offset);
        const std::size_t count = std::min(run.size(), bytes.size());
        const auto [wrong, expected] =
            std::mismatch(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count), run.begin());
        const auto equal = static_cast<std::size_t>(wrong - bytes.begin());
        if (equal < count) return offset + equal;
        bytes = bytes.subspan(count);
        offset += count;
    }
    return std::nullopt;
}

}  // namespace understudy::interop
