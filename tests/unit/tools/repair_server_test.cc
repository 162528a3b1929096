#include "tools/agent/repair_server.hh"

#include <string>

#include <gtest/gtest.h>

#include "tools/agent/segment_store.hh"

namespace understudy::tools {
namespace {

SegmentStore::Flow flow_of(std::uint16_t client_port, bool from_primary = false) {
    SegmentStore::Flow flow;
    flow.client.port = client_port;
    flow.service.port = 7000;
    flow.from_primary = from_primary;
    return flow;
}

const SegmentStore::Flow flow = flow_of(40000);

void add(SegmentStore& store, std::uint32_t seq, std::string_view bytes, bool fin = false,
         const SegmentStore::Flow& to = flow) {
    store.add(to, seq, std::as_bytes(std::span(bytes)), fin);
}

TEST(SegmentStore, FindsExactlyWhatWasAskedFor) {
    SegmentStore store(1000);
    add(store, 100, "abcd");
    add(store, 104, "efgh");
    const auto pieces = store.find(flow, 102, 107);
    ASSERT_EQ(pieces.size(), 1u);
    EXPECT_EQ(pieces[0].begin, 102u);
    EXPECT_EQ(pieces[0].bytes, "cdefg");
    EXPECT_FALSE(pieces[0].fin);
    EXPECT_TRUE(store.find(flow, 108, 120).empty());
    EXPECT_TRUE(store.find(flow_of(40001), 102, 107).empty());
    EXPECT_TRUE(store.find(flow_of(40000, true), 102, 107).empty());
}

TEST(SegmentStore, OverlapsAndDisorderMakeOnePiece) {
    SegmentStore store(1000);
    add(store, 106, "ghij");
    add(store, 100, "abcd");
    add(store, 102, "cdefg");
    add(store, 102, "XXXXX");
    const auto pieces = store.find(flow, 100, 110);
    ASSERT_EQ(pieces.size(), 1u);
    EXPECT_EQ(pieces[0].bytes, "abcdefghij");
}

TEST(SegmentStore, GapsSeparatePieces) {
    SegmentStore store(1000);
    add(store, 0xfffffffe, "ab");
    add(store, 2, "ef");
    const auto pieces = store.find(flow, 0xfffffffe, 4);
    ASSERT_EQ(pieces.size(), 2u);
    EXPECT_EQ(pieces[0].bytes, "ab");
    EXPECT_EQ(pieces[1].begin, 2u);
    EXPECT_EQ(pieces[1].bytes, "ef");
}

TEST(SegmentStore, FinHasANumber) {
    SegmentStore store(1000);
    add(store, 100, "end", true);
    EXPECT_FALSE(store.find(flow, 100, 103).at(0).fin);
    EXPECT_TRUE(store.find(flow, 100, 104).at(0).fin);
    const auto alone = store.find(flow, 103, 104);
    ASSERT_EQ(alone.size(), 1u);
    EXPECT_EQ(alone[0].begin, 103u);
    EXPECT_TRUE(alone[0].bytes.empty());
    EXPECT_TRUE(alone[0].fin);
}

TEST(SegmentStore, KeepsTheLatestThatFit) {
    SegmentStore store(10);
    add(store, 0, "abcd");
    add(store, 4, "efgh", false, flow_of(40001));
    add(store, 8, "ijkl");
    EXPECT_EQ(store.held_bytes(), 8u);
    EXPECT_TRUE(store.find(flow, 0, 4).empty());
    EXPECT_EQ(store.find(flow_of(40001), 4, 8).at(0).bytes, "efgh");
    EXPECT_EQ(store.find(flow, 8, 12).at(0).bytes, "ijkl") << "across the ring's end";
    add(store, 20, "0123456789");
    EXPECT_EQ(store.segments(), 1u);
    EXPECT_EQ(store.flows(), 1u);
    EXPECT_EQ(store.find(flow, 20, 30).at(0).bytes, "0123456789");
    add(store, 40, "longer than the ring");
    EXPECT_EQ(store.held_bytes(), 10u);
}

TEST(SegmentStore, NothingIsKeptOfSegmentsThatBringNothing) {
    SegmentStore store(10);
    add(store, 0, "");
    EXPECT_EQ(store.segments(), 0u);
}

proto::v1::RepairRequest request(std::uint32_t begin, std::uint32_t length) {
    proto::v1::RepairRequest request;
    request.set_id(5);
    request.set_client_address(std::string(16, '\0'));
    request.set_client_port(40000);
    request.set_service_address(std::string(16, '\0'));
    request.set_service_port(7000);
    request.set_begin(begin);
    request.set_length(length);
    return request;
}

constexpr failover::Instant start{};

TEST(RepairServer, AnswersInChunksThatFitADatagram) {
    SegmentStore store(10'000);
    add(store, 0, std::string(2500, 'x'), true);
    RepairServer server(store, 1'000'000);
    const auto answers = server.answer(request(0, 2501), start);
    ASSERT_EQ(answers.size(), 3u);
    std::size_t bytes = 0;
    for (const auto& answer : answers) {
        EXPECT_EQ(answer.id(), 5u);
        EXPECT_EQ(answer.begin(), bytes);
        EXPECT_LE(answer.data().size(), RepairServer::chunk_bytes);
        bytes += answer.data().size();
        EXPECT_EQ(answer.fin(), bytes == 2500);
    }
    EXPECT_EQ(bytes, 2500u);
}

TEST(RepairServer, SaysWhatItDoesNotHold) {
    SegmentStore store(10);
    RepairServer server(store, 1'000'000);
    const auto answers = server.answer(request(0, 1), start);
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_TRUE(answers[0].not_held());
    EXPECT_EQ(server.counters().not_held, 1u);
}

TEST(RepairServer, RefusesWhatIsMalformed) {
    SegmentStore store(10);
    RepairServer server(store, 1'000'000);
    auto bad = request(0, 1);
    bad.set_client_address("abcd");
    EXPECT_TRUE(server.answer(bad, start).empty());
    bad = request(0, 1);
    bad.set_service_port(70'000);
    EXPECT_TRUE(server.answer(bad, start).empty());
    EXPECT_TRUE(server.answer(request(0, 0), start).empty());
    EXPECT_TRUE(server.answer(request(0, RepairServer::max_request_bytes + 1), start).empty());
    EXPECT_EQ(server.counters().refused_malformed, 4u);
}

TEST(RepairServer, KeepsToItsRate) {
    SegmentStore store(1 << 20);
    add(store, 0, std::string(100'000, 'x'));
    RepairServer server(store, 1'000'000);
    EXPECT_FALSE(server.answer(request(0, 90'000), start).empty());
    EXPECT_TRUE(server.answer(request(0, 90'000), start).empty());
    EXPECT_EQ(server.counters().refused_rate, 1u);
    EXPECT_FALSE(server.answer(request(0, 90'000), start + std::chrono::milliseconds(100)).empty());
}

}  // namespace
}  // namespace understudy::tools
