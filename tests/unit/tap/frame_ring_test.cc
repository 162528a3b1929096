#include "tap/frame_ring.hh"

#include <gtest/gtest.h>

#include <array>
#include <thread>
#include <vector>

#include "tests/unit/tap/frames.hh"

namespace understudy::tap {
namespace {

using test::filled;

TEST(FrameRing, CarriesFramesWithTheirNotesInOrder) {
    FrameRing ring(FrameRing::min_bytes);
    EXPECT_TRUE(ring.push(filled(60, 1), {.number = 7, .wire_length = 61, .tag = 3}));
    EXPECT_TRUE(ring.push(filled(1514, 2), {.number = 8, .wire_length = 1514, .tag = 4}));
    std::array<RingFrame, 8> frames;
    EXPECT_EQ(ring.receive(frames), 0u) << "not flushed yet";
    EXPECT_TRUE(ring.flush());
    EXPECT_FALSE(ring.flush());
    ASSERT_EQ(ring.receive(frames), 2u);
    EXPECT_EQ(frames[0].note.number, 7u);
    EXPECT_EQ(frames[0].note.wire_length, 61u);
    EXPECT_EQ(frames[0].note.tag, 3u);
    EXPECT_EQ(frames[1].bytes.size(), 1514u);
    EXPECT_EQ(frames[1].bytes[1513], std::byte{2});
    ring.release(2);
    EXPECT_TRUE(ring.empty());
    EXPECT_EQ(ring.handed_over(), 2u);
    EXPECT_EQ(ring.lost(), 0u);
}

TEST(FrameRing, WhatIsNotReleasedComesAgain) {
    FrameRing ring(FrameRing::min_bytes);
    for (std::size_t i = 0; i < 3; ++i)
        ring.push(filled(60, i), {.number = i});
    ring.flush();
    std::array<RingFrame, 8> frames;
    ASSERT_EQ(ring.receive(frames), 3u);
    ring.release(1);
    ASSERT_EQ(ring.receive(frames), 2u);
    EXPECT_EQ(frames[0].note.number, 1u);
    ring.release(0);
    EXPECT_EQ(ring.receive(frames), 2u);
}

TEST(FrameRing, AFullRingRefusesAndCounts) {
    FrameRing ring(FrameRing::min_bytes);
    std::size_t taken = 0;
    while (ring.has_room(1, 1514)) {
        ASSERT_TRUE(ring.push(filled(1514, taken), {.number = taken}));
        ++taken;
    }
    EXPECT_GT(taken, 150u);
    while (ring.push(filled(1514, taken), {.number = taken}))
        ++taken;
    EXPECT_EQ(ring.lost(), 1u);
    ring.flush();
    std::array<RingFrame, 64> frames;
    std::size_t seen = 0;
    while (const std::size_t count = ring.receive(frames)) {
        for (std::size_t i = 0; i < count; ++i)
            EXPECT_EQ(frames[i].note.number, seen++);
        ring.release(count);
    }
    EXPECT_EQ(seen, taken);
    EXPECT_TRUE(ring.has_room(100, 1514));
    EXPECT_TRUE(ring.push(filled(1514, 0), {}));
}

TEST(FrameRing, RefusesWhatNoFrameIs) {
    FrameRing ring(FrameRing::min_bytes);
    EXPECT_FALSE(ring.push({}, {}));
    EXPECT_FALSE(ring.push(filled(FrameRing::max_frame + 1, 0), {}));
    EXPECT_EQ(ring.lost(), 2u);
    EXPECT_TRUE(ring.push(filled(FrameRing::max_frame, 5), {}));
}

TEST(FrameRing, AReservationThatIsNotCommittedIsForgotten) {
    FrameRing ring(FrameRing::min_bytes);
    ring.commit({});
    EXPECT_EQ(ring.reserve(100).size(), 100u);
    EXPECT_EQ(ring.reserve(60).size(), 60u);
    ring.commit({.number = 1});
    ring.commit({.number = 2});
    ring.flush();
    std::array<RingFrame, 8> frames;
    ASSERT_EQ(ring.receive(frames), 1u);
    EXPECT_EQ(frames[0].bytes.size(), 60u);
}

TEST(FrameRing, EveryLengthPassesTheEndOfTheRing) {
    FrameRing ring(FrameRing::min_bytes);
    std::array<RingFrame, 8> frames;
    std::size_t length = 1;
    for (std::size_t i = 0; i < 3000; ++i, length = length * 7 % 65521) {
        ASSERT_TRUE(ring.push(filled(length, i), {.number = i})) << length;
        ring.flush();
        ASSERT_EQ(ring.receive(frames), 1u);
        ASSERT_EQ(frames[0].note.number, i);
        ASSERT_EQ(frames[0].bytes.size(), length);
        ASSERT_EQ(frames[0].bytes.front(), static_cast<std::byte>(i));
        ASSERT_EQ(frames[0].bytes.back(), static_cast<std::byte>(i));
        ring.release(1);
    }
}

TEST(FrameRing, TwoThreadsShareIt) {
    FrameRing ring(FrameRing::min_bytes);
    constexpr std::uint64_t frames_sent = 50000;
    std::thread producer([&] {
        for (std::uint64_t i = 0; i < frames_sent; ++i) {
            const std::size_t length = 60 + i % 1400;
            while (!ring.has_room(1, length))
                std::this_thread::yield();
            ring.push(filled(length, i), {.number = i});
            ring.flush();
        }
    });
    std::array<RingFrame, 32> frames;
    std::uint64_t seen = 0;
    bool in_order = true;
    while (seen < frames_sent) {
        const std::size_t count = ring.receive(frames);
        for (std::size_t i = 0; i < count; ++i, ++seen)
            in_order = in_order && frames[i].note.number == seen &&
                       frames[i].bytes.size() == 60 + seen % 1400 &&
                       frames[i].bytes.back() == static_cast<std::byte>(seen);
        ring.release(count);
        if (count == 0) std::this_thread::yield();
    }
    producer.join();
    EXPECT_TRUE(in_order);
    EXPECT_EQ(ring.lost(), 0u);
}

}  // namespace
}  // namespace understudy::tap
