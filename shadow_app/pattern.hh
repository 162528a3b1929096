// Bytes that two ends can make each for itself, to be compared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace understudy::shadow_app {

// Writes the bytes from `offset` on of stream number `stream`. Every byte depends on both numbers, so a lost,
// repeated or foreign byte shows. However a stream is cut into pieces, its bytes are the same.
void fill_pattern(std::uint64_t stream, std::uint64_t offset, std::span<std::byte> out);

}  // namespace understudy::shadow_app
