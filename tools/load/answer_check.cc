#include "tools/load/answer_check.hh"

#include <algorithm>
#include <array>

#include "shadow_app/pattern.hh"
#include "shadow_app/ticker.hh"

namespace understudy::load {
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

std::size_t PatternCheck::expect(std::span<std::byte> out) {
    shadow_app::fill_pattern(connection_, offset_, out);
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
