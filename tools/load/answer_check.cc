#include "tools/load/answer_check.hh"

#include <algorithm>
#include <array>

#include "shadow_app/ticker.hh"

namespace understudy::load {
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

void fill_pattern(std::uint32_t connection, std::uint64_t offset, std::span<std::byte> out) {
    const std::uint64_t seed = mix(connection);
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < out.size(); ++i) {
        const std::uint64_t at = offset + i;
        if (i == 0 || at % word_bytes == 0) word = mix(seed ^ (at / word_bytes));
        out[i] = static_cast<std::byte>(word >> (8 * (at % word_bytes)));
    }
}

void AnswerCheck::check(std::span<const std::byte> bytes) {
    std::array<std::byte, 4096> expected;
    while (!bytes.empty()) {
        const std::size_t wanted = std::min(bytes.size(), expected.size());
        const std::size_t known = expect(std::span(expected).first(wanted));
        for (std::size_t i = 0; i < wanted; ++i)
            if (i >= known || bytes[i] != expected[i]) note_wrong(checked_bytes_ + i);
        checked_bytes_ += wanted;
        bytes = bytes.subspan(wanted);
    }
}

void AnswerCheck::note_wrong(std::uint64_t offset) {
    ++wrong_bytes_;
    if (!first_wrong_) first_wrong_ = offset;
}

std::size_t EchoCheck::expect(std::span<std::byte> out) {
    fill_pattern(connection_, offset_, out);
    offset_ += out.size();
    return out.size();
}

std::size_t TickerCheck::expect(std::span<std::byte> out) {
    for (std::byte& byte : out) {
        if (at_line_end()) {
            current_ = shadow_app::format_tick(++line_, line_bytes_);
            used_ = 0;
        }
        byte = static_cast<std::byte>(current_[used_++]);
    }
    return out.size();
}

}  // namespace understudy::load
