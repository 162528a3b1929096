// Frames through a port, in both directions, for the tests of ports over a kernel interface.
#pragma once

#include <gtest/gtest.h>

#include <chrono>

#include "tap/port.hh"
#include "tests/unit/tap/frames.hh"

namespace understudy::tap::test {

// The kernel hands frames over when it comes to it; only a failing test waits this long.
constexpr std::chrono::seconds patience{20};

// Calls `done` until it says so; false when patience ran out.
template <typename Done>
bool wait_until(Done done) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (!done())
        if (std::chrono::steady_clock::now() > deadline) return false;
    return true;
}

inline void send(Port& port, const Bytes& frame) {
    const auto room = port.reserve(frame.size());
    ASSERT_EQ(room.size(), frame.size());
    std::copy(frame.begin(), frame.end(), room.begin());
    port.commit();
}

// Frames told apart by their payload's length.
inline std::vector<Bytes> numbered_frames(std::size_t count) {
    std::vector<Bytes> frames;
    for (std::size_t i = 0; i < count; ++i)
        frames.push_back(build({.payload = 60 + i}));
    return frames;
}

// Everything that arrives until `count` frames have.
inline std::vector<Bytes> receive_frames(Port& port, std::size_t count) {
    std::vector<Bytes> received;
    wait_until([&] {
        std::array<Frame, 32> burst;
        const auto taken = std::span(burst).first(port.receive(burst));
        for (const Frame& frame : taken) {
            EXPECT_EQ(frame.wire_length, frame.bytes.size());
            received.emplace_back(frame.bytes.begin(), frame.bytes.end());
        }
        port.release(taken);
        return received.size() >= count;
    });
    return received;
}

// On a loopback interface what a port sends comes back to it.
inline void expect_frames_come_back(Port& port, std::size_t count) {
    const std::vector<Bytes> frames = numbered_frames(count);
    for (const Bytes& frame : frames)
        send(port, frame);
    port.flush();
    EXPECT_EQ(receive_frames(port, count), frames);
    EXPECT_EQ(port.statistics().sent_frames, count);
    EXPECT_EQ(port.statistics().received_frames, count);
    EXPECT_EQ(port.statistics().received_bytes, port.statistics().sent_bytes);
    EXPECT_EQ(port.statistics().missed_frames, 0u);
    EXPECT_EQ(port.statistics().send_failures, 0u);
}

}  // namespace understudy::tap::test
