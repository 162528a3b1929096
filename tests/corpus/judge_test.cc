// The judge of captures: what it reads, what it repairs, what it says.
#include <gtest/gtest.h>
#include <pcap/pcap.h>
#include <sodium.h>

#include <filesystem>
#include <fstream>

#include "tests/corpus/verdict.hh"
#include "tests/unit/stack/harness.hh"

namespace understudy::corpus {
namespace {

using stack::Seq;
using stack::test::Packet;
using stack::wire::TcpFlags;

constexpr std::uint32_t client_isn = 4'294'967'290;  // the stream wraps
constexpr std::uint32_t server_isn = 7000;

std::string hash_of(const std::string& text) {
    unsigned char hash[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(hash, reinterpret_cast<const unsigned char*>(text.data()), text.size());
    char hex[2 * sizeof hash + 1];
    return sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
}

std::vector<std::byte> segment(bool from_client, std::uint32_t seq, std::uint32_t ack, std::uint8_t flags,
                               std::string payload = "") {
    Packet packet;
    if (!from_client) std::swap(packet.source, packet.destination);
    packet.tcp.seq = Seq((from_client ? client_isn : server_isn) + seq);
    packet.tcp.ack = Seq((from_client ? server_isn : client_isn) + ack);
    packet.tcp.flags.bits = flags;
    packet.tcp.window = 1000;
    packet.payload = std::move(payload);
    return stack::test::encode(packet);
}

const std::string request = "a request that wraps around zero", answer = "an answer";

std::vector<std::vector<std::byte>> conversation() {
    const auto length = static_cast<std::uint32_t>(request.size());
    const auto answered = static_cast<std::uint32_t>(answer.size());
    return {segment(true, 0, 0, TcpFlags::syn),
            segment(false, 0, 1, TcpFlags::syn | TcpFlags::ack),
            segment(true, 1, 1, TcpFlags::ack),
            segment(true, 1, 1, TcpFlags::ack | TcpFlags::psh, request),
            segment(false, 1, 1 + length, TcpFlags::ack | TcpFlags::psh, answer),
            segment(true, 1 + length, 1 + answered, TcpFlags::ack)};
}

class CorpusTest : public ::testing::Test {
  protected:
    CorpusTest() {
        folder_ = std::filesystem::temp_directory_path() / ("corpus_test." + std::to_string(getpid()));
        std::filesystem::create_directory(folder_);
        conversation_.file = "one.pcap";
        conversation_.client = stack::test::client_endpoint;
        conversation_.server_port = stack::test::service_endpoint.port;
        conversation_.client_isn = client_isn;
        conversation_.server_isn = server_isn;
        conversation_.strict = true;
        conversation_.client_to_server = {request.size(), hash_of(request)};
        conversation_.server_to_client = {answer.size(), hash_of(answer)};
    }
    ~CorpusTest() override { std::filesystem::remove_all(folder_); }

    Judged judge(const std::vector<std::vector<std::byte>>& frames, const Mutation& mutation = {}) {
        pcap_t* dead = pcap_open_dead(DLT_EN10MB, 65535);
        pcap_dumper_t* dumper = pcap_dump_open(dead, (folder_ / conversation_.file).c_str());
        pcap_pkthdr header{};
        for (const auto& frame : frames) {
            header.ts.tv_usec += 1000;
            header.caplen = header.len = static_cast<std::uint32_t>(frame.size());
            pcap_dump(reinterpret_cast<u_char*>(dumper), &header,
                      reinterpret_cast<const u_char*>(frame.data()));
        }
        pcap_dump_close(dumper);
        pcap_close(dead);
        return CaptureJudge(folder_, {&conversation_}).judge(mutation).at(0);
    }

    std::filesystem::path folder_;
    Conversation conversation_;
};

TEST_F(CorpusTest, AWholeConversationIsIdentical) {
    const Judged judged = judge(conversation());
    EXPECT_EQ(judged.verdict, Verdict::identical) << judged.reason;
    EXPECT_TRUE(judged.all_bytes_shown);
}

TEST_F(CorpusTest, AnotherAnswerIsDifferent) {
    conversation_.server_to_client.sha256 = hash_of("an Answer");
    const Judged judged = judge(conversation());
    EXPECT_EQ(judged.verdict, Verdict::different);
    EXPECT_EQ(judged.reason, "server_to_client");
}

TEST_F(CorpusTest, BytesThatOnlyThePrimarySawAreAHole) {
    auto frames = conversation();
    frames.erase(frames.begin() + 3);
    const Judged judged = judge(frames);
    EXPECT_EQ(judged.verdict, Verdict::uncovered);
    EXPECT_EQ(judged.reason, "hole");
    EXPECT_FALSE(judged.all_bytes_shown);
}

TEST_F(CorpusTest, ADamagedSegmentIsLoss) {
    auto frames = conversation();
    frames[3].back() ^= std::byte{1};
    EXPECT_EQ(judge(frames).reason, "hole");
}

TEST_F(CorpusTest, AConversationWithoutAHandshakeIsOlderThanTheReplica) {
    auto frames = conversation();
    frames.erase(frames.begin() + 1);
    frames.erase(frames.begin());
    EXPECT_EQ(judge(frames).verdict, Verdict::uncovered);
}

TEST_F(CorpusTest, AddressesThatWereRewrittenLeaveTheChecksumsRepairable) {
    auto frames = conversation();
    // As from_v4 writes 10.77.x.y: another second byte at both ends, and no sum is put right.
    for (auto& frame : frames)
        frame[27] = frame[31] = std::byte{99};
    conversation_.client.address = stack::IpAddress::from_v4(0x0a630064);
    EXPECT_EQ(judge(frames).verdict, Verdict::identical);
    frames[3].back() ^= std::byte{1};
    EXPECT_EQ(judge(frames).reason, "hole") << "what does not fit is still loss";
}

TEST_F(CorpusTest, AMutationReplaysExactly) {
    std::vector<CapturedFrame> frames;
    for (const auto& bytes : conversation())
        frames.push_back({bytes, static_cast<std::uint32_t>(bytes.size()),
                          stack::Instant(std::chrono::milliseconds(10 * frames.size()))});
    const Mutation mutation{.seed = 5, .loss = 0.3, .reorder = 0.3, .duplicate = 0.3, .truncate = 0.3};
    const auto digest = [](const std::vector<CapturedFrame>& result) {
        std::string text;
        for (const CapturedFrame& frame : result) {
            text.append(reinterpret_cast<const char*>(frame.bytes.data()), frame.bytes.size());
            text += std::to_string(frame.at.time_since_epoch().count());
        }
        return text;
    };
    EXPECT_EQ(digest(mutate(frames, mutation, 1)), digest(mutate(frames, mutation, 1)));
    EXPECT_NE(digest(mutate(frames, mutation, 1)), digest(mutate(frames, mutation, 2)));
    EXPECT_EQ(digest(mutate(frames, {}, 1)), digest(frames));
    EXPECT_TRUE(mutate(frames, {.seed = 1, .loss = 1}, 1).empty());
    EXPECT_EQ(mutate(frames, {.seed = 1, .duplicate = 1}, 1).size(), 2 * frames.size());
    for (const CapturedFrame& frame : mutate(frames, {.seed = 1, .truncate = 1}, 1))
        EXPECT_LT(frame.bytes.size(), frame.wire_length);
}

TEST_F(CorpusTest, TheManifestIsReadLineByLine) {
    const auto write = [this](const std::string& text) {
        std::ofstream(folder_ / "manifest.jsonl") << text;
        return read_manifest(folder_ / "manifest.jsonl");
    };
    const std::string line =
        R"({"file": "a.pcap", "tshark_stream": 3, "client": "2001:db8::1:80", "server_port": 25, "client_isn": 1,)"
        R"( "server_isn": 2, "strict": true, "client_to_server": {"bytes": 0, "sha256": null},)"
        R"( "server_to_client": {"bytes": 4, "sha256": "ab"}})";
    const auto read = write(line + "\n\n");
    ASSERT_EQ(read.size(), 1u);
    EXPECT_EQ(stack::to_string(read[0].client), "[2001:db8::1]:80");
    EXPECT_EQ(read[0].client_to_server.sha256, "");
    EXPECT_EQ(read[0].server_to_client.sha256, "ab");
    EXPECT_THROW(write(line + "\n{}\n"), std::runtime_error);
    EXPECT_THROW(read_manifest(folder_ / "none"), std::runtime_error);
}

}  // namespace
}  // namespace understudy::corpus
