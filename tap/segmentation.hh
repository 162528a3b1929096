// What a port does that cuts TCP segments (PortQueue::commit_segments), in software: for ports whose device
// does not, and for wires of memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

namespace understudy::tap {

// Gives `sink` one frame after the other, each valid until it returns. `frame` holds TCP over IPv4 without
// options or IPv6 without extension headers, behind at most one tag; of anything else, and of what needs no
// cutting, it gets `frame` itself.
void cut_segments(std::span<const std::byte> frame, std::uint16_t segment_bytes,
                  const std::function<void(std::span<const std::byte>)>& sink);

}  // namespace understudy::tap
