// The frames of a capture file, and what a mirror may do to them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "stack/time.hh"
#include "tap/decapsulate.hh"
#include "tap/frame.hh"

namespace understudy::corpus {

struct CapturedFrame {
    std::vector<std::byte> bytes;
    std::uint32_t wire_length = 0;
    stack::Instant at{};
};

// Every frame, in the file's order, with time that never goes back. Throws tap::PortError.
std::vector<CapturedFrame> read_capture(const std::filesystem::path& path);

inline tap::Frame as_frame(const CapturedFrame& frame) {
    return {.bytes = frame.bytes, .wire_length = frame.wire_length};
}

// How likely each frame meets each fate.
struct Mutation {
    std::uint64_t seed = 0;
    double loss = 0;
    double reorder = 0;
    double duplicate = 0;
    double truncate = 0;

    bool is_none() const { return loss == 0 && reorder == 0 && duplicate == 0 && truncate == 0; }
};

// Frames lag behind others by less than this: within the stack's grace time.
inline constexpr stack::Duration most_lag = std::chrono::milliseconds(20);

// The same seed and frames give the same result. `salt` sets the files of one run apart.
std::vector<CapturedFrame> mutate(const std::vector<CapturedFrame>& frames, const Mutation& mutation,
                                  std::uint64_t salt);

}  // namespace understudy::corpus
