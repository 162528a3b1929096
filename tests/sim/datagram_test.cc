// A connectionless service through takeovers, in virtual time; and its judges under ours.
#include <gtest/gtest.h>

#include "tests/sim/datagram_world.hh"

namespace understudy::sim {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t seeds = 20;

DatagramResult run(std::uint64_t seed, DatagramFaults faults, bool crashes) {
    return DatagramWorld(make_datagram_scenario(seed, faults, crashes, World::start()), seed, nullptr).run();
}

void expect_clean(const DatagramResult& result, std::uint64_t seed) {
    ASSERT_TRUE(result.violations.empty()) << "seed " << seed << ": " << result.violations.front().oracle
                                           << ": " << result.violations.front().what;
    EXPECT_EQ(result.replica_frames_before_takeover, 0u);
}

TEST(Datagrams, TheReplicaIsSilentAndAgreesWithThePrimary) {
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        const DatagramResult result = run(seed, DatagramFaults::none, false);
        ASSERT_NO_FATAL_FAILURE(expect_clean(result, seed));
        EXPECT_EQ(result.repeats, 0u);
        EXPECT_GT(result.answered, 0u);
        EXPECT_EQ(result.service.received, result.answered);
        EXPECT_EQ(result.service.matched, result.answered);
        EXPECT_EQ(result.service.expired + result.service.unmatched, 0u);
    }
}

TEST(Datagrams, NobodyHasToAskAgainForATakeover) {
    std::uint64_t asked_in_outage = 0, released = 0;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        const DatagramResult result = run(seed, DatagramFaults::none, true);
        ASSERT_NO_FATAL_FAILURE(expect_clean(result, seed));
        EXPECT_TRUE(result.took_over);
        EXPECT_EQ(result.repeats, 0u) << "seed " << seed;
        asked_in_outage += result.asked_in_outage;
        released += result.replica.udp_answers_released;
    }
    EXPECT_GT(asked_in_outage, seeds);
    EXPECT_GT(released, seeds) << "most of them are answered from what was withheld";
}

TEST(Datagrams, WhatTheMirrorLosesCostsNoWrongAnswer) {
    std::uint64_t expired = 0, unmatched = 0;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        ASSERT_NO_FATAL_FAILURE(expect_clean(run(seed, DatagramFaults::mirror, true), seed));
        const DatagramResult result = run(seed, DatagramFaults::mirror, false);
        ASSERT_NO_FATAL_FAILURE(expect_clean(result, seed));
        expired += result.replica.udp_answers_expired;
        unmatched += result.replica.udp_primary_unmatched;
    }
    EXPECT_GT(expired, 0u) << "of an answer of the primary that the mirror lost";
    EXPECT_GT(unmatched, 0u) << "of a request that it lost";
}

TEST(Datagrams, ClientsOnALossyPathGoOn) {
    std::uint64_t repeats = 0;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        const DatagramResult result = run(seed, DatagramFaults::network, true);
        ASSERT_NO_FATAL_FAILURE(expect_clean(result, seed));
        repeats += result.repeats;
    }
    EXPECT_GT(repeats, 0u);
}

TEST(Datagrams, ASeedReplaysExactly) {
    const std::uint64_t hash = run(7, DatagramFaults::network, true).trace_hash;
    EXPECT_EQ(run(7, DatagramFaults::network, true).trace_hash, hash);
    EXPECT_NE(run(8, DatagramFaults::network, true).trace_hash, hash);
}

// --- The judge ---

class DatagramClientTest : public ::testing::Test {
  protected:
    static DatagramPlan plan(std::uint16_t port) {
        return {.client = {stack::IpAddress::from_v4(0x0a4d0101), port},
                .link_address = {{2, 0, 0, 0, 1, 1}},
                .requests = 2,
                .think = 1ms,
                .patience = 10ms,
                .begins_at = World::start()};
    }
    // Plays the server: the client's own frame, turned round by swapping the two ends.
    static Frame answer_to(const Frame& request) {
        std::vector<std::byte> frame = *request;
        std::swap_ranges(frame.begin(), frame.begin() + 6, frame.begin() + 6);
        std::swap_ranges(frame.begin() + 26, frame.begin() + 30, frame.begin() + 30);
        std::swap_ranges(frame.begin() + 34, frame.begin() + 36, frame.begin() + 36);
        return std::make_shared<const std::vector<std::byte>>(std::move(frame));
    }
    // The same checksum holds for what both changes together give.
    static Frame with_words_changed(const Frame& answer, std::size_t raised, std::size_t lowered) {
        std::vector<std::byte> frame = *answer;
        const auto raise = [&](std::size_t at, int by) {
            const int word = std::to_integer<int>(frame[at]) << 8 | std::to_integer<int>(frame[at + 1]);
            frame[at] = static_cast<std::byte>((word + by) >> 8);
            frame[at + 1] = static_cast<std::byte>(word + by);
        };
        raise(raised, 1);
        raise(lowered, -1);
        return std::make_shared<const std::vector<std::byte>>(std::move(frame));
    }
    void run_until(Instant limit) {
        while (queue.run_next(limit)) {
        }
    }

    const stack::Endpoint server{stack::IpAddress::from_v4(0x0a4d0001), 7000};
    EventQueue queue;
    std::vector<Frame> sent;
    std::vector<std::string> accusations;
    DatagramClient client{
        plan(40000),
        server,
        {{2, 0, 0, 0, 0, 1}},
        queue,
        Random(1),
        [this](const Frame& frame) { sent.push_back(frame); },
        [this](const std::string& oracle, const std::string&) { accusations.push_back(oracle); }};
};

TEST_F(DatagramClientTest, AsksAgainAndGoesOnWhenAnswered) {
    run_until(World::start() + 15ms);
    ASSERT_EQ(sent.size(), 2u);
    EXPECT_EQ(client.repeats(), 1u);
    client.arrive(answer_to(sent.back()));
    run_until(World::start() + 17ms);
    EXPECT_EQ(client.answered(), 1u);
    EXPECT_EQ(sent.size(), 3u);
    EXPECT_TRUE(accusations.empty());
}

TEST_F(DatagramClientTest, AccusesOfWrongBytesWrongSourcesAndTooManyAnswers) {
    constexpr std::size_t source_port = 34, payload = 42;
    run_until(World::start());
    ASSERT_EQ(sent.size(), 1u);
    ASSERT_GE(sent.front()->size(), payload + 8);
    const Frame answer = answer_to(sent.front());
    client.arrive(with_words_changed(answer, payload + 4, payload + 6));
    client.arrive(with_words_changed(answer, source_port, payload + 4));
    EXPECT_EQ(client.answered(), 0u);
    client.arrive(answer);
    EXPECT_EQ(accusations, (std::vector<std::string>{"answer", "source"}));
    client.arrive(answer);
    EXPECT_EQ(accusations.back(), "repeat");
}

TEST_F(DatagramClientTest, BelievesNoWrongChecksum) {
    run_until(World::start());
    std::vector<std::byte> damaged = *answer_to(sent.front());
    damaged.back() ^= std::byte{1};
    client.arrive(std::make_shared<const std::vector<std::byte>>(damaged));
    EXPECT_EQ(client.answered(), 0u);
    EXPECT_TRUE(accusations.empty());
}

}  // namespace
}  // namespace understudy::sim
