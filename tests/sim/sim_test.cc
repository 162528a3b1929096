// The simulation under the judges' eyes, and the judges under ours: an oracle that never speaks proves
// nothing.
#include <algorithm>

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/sim/oracles.hh"
#include "tests/sim/report.hh"
#include "tests/sim/world.hh"

namespace understudy::sim {
namespace {

constexpr std::uint64_t seeds_per_profile = 40;

RunResult run(const Profile& profile, std::uint64_t seed) {
    return World(make_scenario(profile, seed, World::start()), seed, nullptr).run();
}

class EveryProfile : public ::testing::TestWithParam<Profile> {};

TEST_P(EveryProfile, SurvivesItsSeeds) {
    for (std::uint64_t seed = 1; seed <= seeds_per_profile; ++seed) {
        const RunResult result = run(GetParam(), seed);
        ASSERT_TRUE(result.violations.empty())
            << result.violations.front().oracle << ": " << result.violations.front().what << "\n"
            << replay_command(GetParam().name, seed);
        ASSERT_NE(result.connections, 0u);
    }
}

TEST_P(EveryProfile, ReplaysASeedExactly) {
    const RunResult first = run(GetParam(), 7);
    const RunResult second = run(GetParam(), 7);
    EXPECT_EQ(first.trace_hash, second.trace_hash);
    EXPECT_EQ(first.frames_sent, second.frames_sent);
    EXPECT_NE(first.trace_hash, run(GetParam(), 8).trace_hash);
}

INSTANTIATE_TEST_SUITE_P(Simulation, EveryProfile, ::testing::ValuesIn(profiles().begin(), profiles().end()),
                         [](const auto& test) {
                             std::string name(test.param.name);
                             std::replace(name.begin(), name.end(), '-', '_');
                             return name;
                         });

TEST(Repair, OfAConfusedSourceFillsSomeAndRefusesTheRest) {
    std::uint64_t repairs = 0, refused = 0;
    for (std::uint64_t seed = 1; seed <= seeds_per_profile; ++seed) {
        const RunResult result = run(*find_profile("repair"), seed);
        repairs += result.repairs;
        refused += result.repairs_refused;
    }
    EXPECT_GT(repairs, 0u);
    EXPECT_GT(refused, 0u);
}

TEST(Demo, TellsOfAFailoverThatEveryConnectionSurvives) {
    const RunResult result = World(make_demo_scenario(1, World::start()), 1, nullptr).run();
    EXPECT_TRUE(result.violations.empty());
    EXPECT_EQ(result.open_at_failure, 20u);
    EXPECT_EQ(result.survived, 20u);
    EXPECT_EQ(result.replica_frames_before_takeover, 0u);
    ASSERT_TRUE(result.detection_ms);
    EXPECT_LT(*result.detection_ms, 60.0);
    const auto json = to_lab_json(1, result);
    EXPECT_EQ(json["verdict"], "survived");
    EXPECT_EQ(json["bytes"]["wrong"], 0);
}

// --- The judges ---

const stack::Endpoint client{stack::IpAddress::from_v4(0x0a4d0101), 40000};
const stack::Endpoint server{stack::IpAddress::from_v4(0x0a4d0001), 7000};
constexpr std::uint32_t client_isn = 0xfffffff0, server_isn = 500;

class OracleTest : public ::testing::Test {
  protected:
    Accuse accuse = [this](const std::string&, const std::string& what) { accusations.push_back(what); };
    std::vector<std::string> accusations;
};

class ConversationTest : public OracleTest {
  protected:
    static Packet packet(bool from_server, std::uint8_t flags, std::uint32_t offset,
                         std::uint32_t ack_offset) {
        Packet p;
        p.kind = Packet::Kind::tcp;
        p.source = from_server ? server : client;
        p.destination = from_server ? client : server;
        p.flags = flags;
        p.seq = (from_server ? server_isn : client_isn) + 1 + offset;
        p.ack = (from_server ? client_isn : server_isn) + 1 + ack_offset;
        p.window = 100;
        return p;
    }
    void send(bool from_server, Packet p, const std::string& payload = {}) {
        p.payload = std::as_bytes(std::span(payload));
        oracle.on_sent(from_server ? "primary" : "client", from_server, p);
    }
    void shake_hands() {
        Packet syn = packet(false, Packet::syn, 0, 0);
        syn.seq = client_isn;
        send(false, syn);
        Packet syn_ack = packet(true, Packet::syn | Packet::ack_flag, 0, 0);
        syn_ack.seq = server_isn;
        send(true, syn_ack);
        send(false, packet(false, Packet::ack_flag, 0, 0));
    }

    ConversationOracle oracle{accuse};
};

TEST_F(ConversationTest, AcceptsAnHonestConversation) {
    shake_hands();
    send(false, packet(false, Packet::ack_flag, 0, 0), "hello");
    send(true, packet(true, Packet::ack_flag, 0, 5), "hello");
    send(true, packet(true, Packet::ack_flag, 0, 5), "hello");  // sent again
    send(false, packet(false, Packet::ack_flag | Packet::fin, 5, 5));
    send(true, packet(true, Packet::ack_flag | Packet::fin, 5, 6));
    send(false, packet(false, Packet::ack_flag, 6, 6));
    EXPECT_EQ(accusations, std::vector<std::string>());
}

TEST_F(ConversationTest, SeesASecondVersionOfAByte) {
    shake_hands();
    send(true, packet(true, Packet::ack_flag, 0, 0), "hello");
    send(true, packet(true, Packet::ack_flag, 0, 0), "hellO");
    EXPECT_EQ(accusations.size(), 1u);
}

TEST_F(ConversationTest, SeesAnAcknowledgementOfWhatWasNeverSent) {
    shake_hands();
    send(true, packet(true, Packet::ack_flag, 0, 1));
    EXPECT_EQ(accusations.size(), 1u);
}

TEST_F(ConversationTest, SeesAnAcknowledgementTakenBack) {
    shake_hands();
    send(false, packet(false, Packet::ack_flag, 0, 0), "hello");
    send(true, packet(true, Packet::ack_flag, 0, 5));
    send(true, packet(true, Packet::ack_flag, 0, 4));
    EXPECT_EQ(accusations.size(), 1u);
}

TEST_F(ConversationTest, SeesDataBeyondTheWindow) {
    shake_hands();
    send(false, packet(false, Packet::ack_flag, 0, 0), std::string(101, 'x'));
    EXPECT_EQ(accusations.size(), 0u);  // one byte is a probe
    send(false, packet(false, Packet::ack_flag, 0, 0), std::string(102, 'x'));
    EXPECT_EQ(accusations.size(), 1u);
}

TEST_F(ConversationTest, SeesDataAfterTheFinAndAMovedFin) {
    shake_hands();
    send(true, packet(true, Packet::ack_flag | Packet::fin, 0, 0), "end");
    send(true, packet(true, Packet::ack_flag, 3, 0), "more");
    EXPECT_EQ(accusations.size(), 1u);
    send(true, packet(true, Packet::ack_flag | Packet::fin, 1, 0));
    EXPECT_EQ(accusations.size(), 2u);
}

TEST_F(ConversationTest, SeesASecondInitialSequenceNumber) {
    shake_hands();
    Packet again = packet(true, Packet::syn | Packet::ack_flag, 0, 0);
    again.seq = server_isn + 1;
    send(true, again);
    EXPECT_EQ(accusations.size(), 1u);
}

TEST_F(OracleTest, SilenceEndsWithTheTakeoverOnly) {
    SilenceOracle oracle(accuse);
    oracle.on_replica_sent({});
    EXPECT_EQ(accusations.size(), 1u);
    oracle.on_takeover();
    oracle.on_replica_sent({});
    EXPECT_EQ(accusations.size(), 1u);
    EXPECT_EQ(oracle.frames_before_takeover(), 1u);
}

TEST_F(OracleTest, OnlyALiveConnectionCanBeReset) {
    bool live = true;
    const ResetOracle oracle(accuse, [&live](const stack::Endpoint&) { return live; });
    Packet reset;
    reset.kind = Packet::Kind::tcp;
    reset.flags = Packet::rst;
    oracle.on_server_sent("replica", reset);
    EXPECT_EQ(accusations.size(), 1u);
    live = false;
    oracle.on_server_sent("replica", reset);
    EXPECT_EQ(accusations.size(), 1u);
}

// Every frame of one run, damaged in every byte and shortened: the form is judged by all of it.
TEST(FrameForm, IsNoticedWhenAnyByteOfATcpSegmentChanges) {
    // Ethernet, IPv4 and TCP, "hi", checksums worked out by hand in RFC 1071's manner.
    std::vector<std::uint8_t> frame = {
        2,    0,    0,    0,    0, 1, 2,    0, 0,  0, 1, 0, 8,    0,                           //
        0x45, 0,    0,    42,   0, 0, 0x40, 0, 64, 6, 0, 0, 10,   77,   1, 1,   10, 77, 0, 1,  //
        0x9c, 0x40, 0x1b, 0x58, 0, 0, 0,    1, 0,  0, 0, 2, 0x50, 0x18, 0, 100, 0,  0,  0, 0, 'h', 'i'};
    const auto put_sum = [&frame](std::size_t at, std::uint32_t sum, std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i + 1 < end + 1 && i < end; i += 2)
            sum += std::uint32_t{frame[i]} << 8 | (i + 1 < end ? frame[i + 1] : 0u);
        while (sum > 0xffff)
            sum = (sum & 0xffff) + (sum >> 16);
        frame[at] = static_cast<std::uint8_t>(~sum >> 8);
        frame[at + 1] = static_cast<std::uint8_t>(~sum);
    };
    put_sum(24, 0, 14, 34);
    put_sum(50, 0x0a4d + 0x0101 + 0x0a4d + 0x0001 + 6 + 22, 34, 56);
    const auto fault_of = [](const std::vector<std::uint8_t>& bytes) {
        return read_frame(std::as_bytes(std::span(bytes)), 1500).fault;
    };
    ASSERT_EQ(fault_of(frame), "");
    for (std::size_t at = 12; at < frame.size(); ++at) {
        std::vector<std::uint8_t> damaged = frame;
        damaged[at] ^= 0x04;
        EXPECT_NE(fault_of(damaged), "") << "byte " << at;
    }
    for (std::size_t length = 0; length < frame.size(); ++length)
        EXPECT_NE(fault_of({frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(length)}), "")
            << length;
}

}  // namespace
}  // namespace understudy::sim
