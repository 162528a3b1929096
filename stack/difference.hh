// Where two writers of one stream differ, and what each of them wrote there: for whoever must find out why.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace understudy::stack {

struct Difference {
    static constexpr std::size_t most_before = 16;
    static constexpr std::size_t most_bytes = 32;

    // Some bytes of one writer: up to most_before that are equal, then its own from the difference on. Fewer
    // where it has written no more.
    struct Excerpt {
        std::array<std::byte, most_bytes> bytes{};
        std::uint8_t size = 0;

        void append(std::span<const std::byte> more) {
            for (const std::byte byte : more.first(std::min(more.size(), most_bytes - size)))
                bytes[size++] = byte;
        }
        std::span<const std::byte> view() const { return std::span(bytes).first(size); }
    };

    std::uint64_t offset = 0;  // in the stream, of the first byte that differs
    std::uint8_t before = 0;   // bytes of either excerpt that lie before it
    Excerpt application;
    Excerpt primary;
};

}  // namespace understudy::stack
