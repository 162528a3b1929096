#include "tap/memory_port.hh"

#include <gtest/gtest.h>

#include "tests/unit/tap/frames.hh"

namespace understudy::tap {
namespace {

using test::filled;

TEST(MemoryPort, HandsFramesOutInOrderAndAtMostABurst) {
    MemoryPort port;
    for (unsigned i = 0; i < 5; ++i)
        port.push(filled(60 + i, i));
    std::array<Frame, 3> frames;
    ASSERT_EQ(port.receive(frames), 3u);
    EXPECT_EQ(frames[0].bytes.size(), 60u);
    EXPECT_EQ(frames[2].bytes[0], std::byte{2});
    EXPECT_EQ(frames[2].wire_length, 62u);
    EXPECT_EQ(port.waiting(), 2u);
    port.release(frames);
    ASSERT_EQ(port.receive(frames), 2u);
    EXPECT_EQ(frames[1].bytes[0], std::byte{4});
    port.release(std::span(frames).first(2));
    EXPECT_EQ(port.receive(frames), 0u);
    EXPECT_EQ(port.statistics().received_frames, 5u);
    EXPECT_EQ(port.statistics().received_bytes, 60u + 61 + 62 + 63 + 64);
    EXPECT_FALSE(port.exhausted());
}

TEST(MemoryPort, TellsTheWireLengthOfACutFrame) {
    MemoryPort port;
    port.push(filled(100, 1), 1514);
    std::array<Frame, 1> frames;
    ASSERT_EQ(port.receive(frames), 1u);
    EXPECT_EQ(frames[0].bytes.size(), 100u);
    EXPECT_EQ(frames[0].wire_length, 1514u);
}

TEST(MemoryPort, SendsAtTheEndOfTheBurst) {
    MemoryPort port;
    for (unsigned i = 0; i < 2; ++i) {
        const auto room = port.reserve(60);
        ASSERT_EQ(room.size(), 60u);
        room[0] = static_cast<std::byte>(i);
        port.commit();
    }
    EXPECT_TRUE(port.take_sent().empty());
    port.flush();
    const auto sent = port.take_sent();
    ASSERT_EQ(sent.size(), 2u);
    EXPECT_EQ(sent[1][0], std::byte{1});
    EXPECT_TRUE(port.take_sent().empty());
    EXPECT_EQ(port.statistics().sent_frames, 2u);
    EXPECT_EQ(port.statistics().sent_bytes, 120u);
}

TEST(MemoryPort, ForgetsAReservationThatIsNotCommitted) {
    MemoryPort port;
    (void)port.reserve(60);
    (void)port.reserve(70);
    port.commit();
    port.commit();
    port.flush();
    const auto sent = port.take_sent();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].size(), 70u);
}

TEST(MemoryPort, CountsWhatItRefuses) {
    MemoryPort port(1500, 1);
    EXPECT_TRUE(port.reserve(1515).empty());
    EXPECT_EQ(port.reserve(1514).size(), 1514u);
    port.commit();
    (void)port.reserve(60);
    port.commit();
    port.flush();
    EXPECT_EQ(port.take_sent().size(), 1u);
    EXPECT_EQ(port.statistics().no_buffer, 1u);
    EXPECT_EQ(port.statistics().send_failures, 1u);
}

TEST(MemoryPort, QueuesAreIndependent) {
    MemoryPort port(1500, 512, 3);
    ASSERT_EQ(port.queues(), 3u);
    EXPECT_EQ(&port.queue(0), static_cast<PortQueue*>(&port));
    EXPECT_FALSE(port.spreads_by_flow());
    EXPECT_TRUE(MemoryPort().spreads_by_flow());
    port.push(filled(60, 1), 0, 2);
    port.push(filled(60, 2), 0, 0);
    std::array<Frame, 4> frames;
    EXPECT_EQ(port.queue(1).receive(frames), 0u);
    ASSERT_EQ(port.queue(2).receive(frames), 1u);
    EXPECT_EQ(frames[0].bytes[0], std::byte{1});
    port.queue(2).release(std::span(frames).first(1));
    EXPECT_EQ(port.waiting(), 1u);
    ASSERT_EQ(port.receive(frames), 1u);
    port.release(std::span(frames).first(1));
    EXPECT_EQ(port.queue(1).reserve(70).size(), 70u);
    port.queue(1).commit();
    port.flush();
    EXPECT_TRUE(port.take_sent(1).empty());
    port.queue(1).flush();
    EXPECT_EQ(port.take_sent(1).size(), 1u);
    EXPECT_TRUE(port.take_sent().empty());
    EXPECT_EQ(port.statistics().received_frames, 2u);
    EXPECT_EQ(port.statistics().sent_frames, 1u);
}

}  // namespace
}  // namespace understudy::tap
