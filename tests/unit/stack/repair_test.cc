// Bytes that the mirror did not show, filled from another source (design.md 4, rules.md 9).
#include <array>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/stack/mirror.hh"

namespace understudy::stack::test {
namespace {

using ::testing::ElementsAre;

class Repairing : public Mirror {
  protected:
    static constexpr Duration deadline = 200ms;

    Repairing()
        : Mirror([] {
              Settings settings = settings_for(Mode::silent);
              settings.shadow.repair_deadline = deadline;
              return settings;
          }()) {
        handshake();
    }

    std::vector<MissingBytes> missing(Duration min_age = Duration::zero(), std::size_t limit = 32) {
        std::vector<MissingBytes> found(limit);
        found.resize(host.stack.missing(found, min_age, host.now));
        return found;
    }
    bool fill(const MissingBytes& what, std::string_view bytes, bool fin = false, std::uint32_t from = 0) {
        return host.stack.repair(
            {what.connection, what.direction, what.begin + from, std::as_bytes(std::span(bytes)), fin},
            host.now);
    }
    Coverage coverage() { return host.snapshot().coverage; }
    const Counters& counters() { return host.stack.counters(); }
};

TEST_F(Repairing, NothingIsMissingFromACompleteMirror) {
    client(0, 0, "request");
    primary(0, 7, "");
    EXPECT_FALSE(host.stack.lacks_bytes());
    EXPECT_TRUE(missing().empty());
}

TEST_F(Repairing, AHoleIsFilledAndTheConnectionCoveredAgain) {
    client(7, 0, "more");
    primary(0, 11, "");
    ASSERT_TRUE(host.stack.lacks_bytes());
    EXPECT_EQ(coverage(), Coverage::hole);
    host.pass(100ms);
    const auto asked = missing();
    ASSERT_EQ(asked.size(), 1u);
    EXPECT_EQ(asked[0].direction, Direction::from_client);
    EXPECT_EQ(asked[0].begin, host.client_seq(0).raw());
    EXPECT_EQ(asked[0].end, host.client_seq(7).raw()) << "what waits is not asked for";
    EXPECT_EQ(asked[0].client, client_endpoint);
    EXPECT_EQ(asked[0].service, service_endpoint);
    EXPECT_TRUE(fill(asked[0], "request"));
    EXPECT_EQ(host.events.input, "requestmore");
    EXPECT_EQ(coverage(), Coverage::covered);
    EXPECT_TRUE(missing().empty());
    host.pass(10s);
    EXPECT_EQ(coverage(), Coverage::covered);
    EXPECT_EQ(counters().holes, 0u);
    EXPECT_EQ(counters().repairs, 1u);
    EXPECT_EQ(counters().repaired_bytes, 7u);
}

TEST_F(Repairing, AHoleThatNobodyFillsIsOneAfterTheDeadline) {
    primary(0, 7, "");
    host.pass(deadline - 1ms);
    EXPECT_EQ(counters().holes, 0u);
    const auto asked = missing();
    ASSERT_EQ(asked.size(), 1u);
    host.pass(2ms);
    EXPECT_EQ(counters().holes, 1u);
    EXPECT_TRUE(missing().empty());
    EXPECT_FALSE(fill(asked[0], "request"));
    EXPECT_EQ(counters().repairs_too_late, 1u);
    EXPECT_EQ(coverage(), Coverage::hole);
}

TEST_F(Repairing, ATakeoverBeforeTheRepairResets) {
    primary(0, 7, "");
    host.stack.promote(host.now);
    EXPECT_EQ(counters().connections_reset_at_promotion, 1u);
}

TEST_F(Repairing, SeveralHolesAreAskedForAtOnceAndFilledInAnyOrder) {
    client(3, 0, "d");
    client(6, 0, "g");
    primary(0, 9, "");
    auto asked = missing();
    ASSERT_EQ(asked.size(), 3u);
    EXPECT_TRUE(fill(asked[2], "hi"));
    EXPECT_TRUE(fill(asked[1], "ef"));
    EXPECT_EQ(host.events.input, "");
    EXPECT_TRUE(fill(asked[0], "abc"));
    EXPECT_EQ(host.events.input, "abcdefghi");
    EXPECT_EQ(coverage(), Coverage::covered);
}

TEST_F(Repairing, AHoleMayBeFilledInPieces) {
    primary(0, 7, "");
    const auto asked = missing();
    ASSERT_EQ(asked.size(), 1u);
    EXPECT_TRUE(fill(asked[0], "req"));
    EXPECT_EQ(coverage(), Coverage::hole);
    EXPECT_EQ(missing().at(0).begin, host.client_seq(3).raw());
    EXPECT_TRUE(fill(asked[0], "uest", false, 3));
    EXPECT_EQ(host.events.input, "request");
    EXPECT_EQ(coverage(), Coverage::covered);
}

TEST_F(Repairing, WhileOthersGoMissingBehindThemFilledBytesKeepTheConnection) {
    std::uint32_t at = 0;
    for (int i = 0; i < 20; ++i) {
        primary(0, at + 4, "");
        host.pass(deadline / 2);
        const auto asked = missing();
        ASSERT_EQ(asked.size(), 1u);
        primary(0, at + 8, "");
        EXPECT_TRUE(fill(asked[0], "abcd"));
        at += 4;
    }
    EXPECT_EQ(counters().holes, 0u);
}

TEST_F(Repairing, TheMirrorMayBeFasterThanTheRepair) {
    primary(0, 7, "");
    const auto asked = missing();
    ASSERT_EQ(asked.size(), 1u);
    client(0, 0, "request");
    EXPECT_FALSE(fill(asked[0], "request"));
    EXPECT_EQ(counters().repairs_too_late + counters().repairs_out_of_range, 1u);
    EXPECT_EQ(host.events.input, "request");
}

TEST_F(Repairing, OnlyWhatIsMissingIsTaken) {
    primary(0, 7, "");
    const auto asked = missing();
    ASSERT_EQ(asked.size(), 1u);
    EXPECT_FALSE(fill(asked[0], "requests")) << "beyond what the primary acknowledged";
    EXPECT_FALSE(fill(asked[0], "x", false, 100));
    EXPECT_FALSE(fill(asked[0], "x", false, 1u << 31));
    EXPECT_FALSE(fill(asked[0], "request", true)) << "a FIN that the primary did not acknowledge";
    EXPECT_EQ(counters().repairs_out_of_range, 4u);
    EXPECT_FALSE(fill(asked[0], ""));
    EXPECT_EQ(host.events.input, "");
}

TEST_F(Repairing, AMissingFinIsFilled) {
    primary(0, 4, "");
    const auto asked = missing();
    ASSERT_EQ(asked.size(), 1u);
    EXPECT_TRUE(fill(asked[0], "end", true));
    EXPECT_EQ(host.events.input, "end");
    EXPECT_EQ(host.events.log.back(), "peer_closed");
    EXPECT_EQ(coverage(), Coverage::covered);
}

TEST_F(Repairing, UncomparedBytesOfThePrimaryAreFilledAndCompared) {
    client(0, 0, "request");
    host.send("answer");
    primary(0, 7, "");
    client(7, 6, "");
    EXPECT_EQ(coverage(), Coverage::uncompared);
    const auto asked = missing();
    ASSERT_EQ(asked.size(), 1u);
    EXPECT_EQ(asked[0].direction, Direction::from_primary);
    EXPECT_EQ(asked[0].begin, host.server_seq(0).raw());
    EXPECT_EQ(asked[0].end, host.server_seq(6).raw());
    EXPECT_TRUE(fill(asked[0], "answer"));
    EXPECT_EQ(coverage(), Coverage::covered);
    EXPECT_EQ(host.snapshot().snd_una, host.server_seq(6).raw());
    host.pass(10s);
    EXPECT_EQ(counters().uncompared, 0u);
}

TEST_F(Repairing, RepairedBytesThatDifferDiverge) {
    client(0, 0, "request");
    host.send("answer");
    client(7, 6, "");
    const auto asked = missing();
    ASSERT_EQ(asked.size(), 1u);
    EXPECT_TRUE(fill(asked[0], "ANSWER"));
    EXPECT_EQ(coverage(), Coverage::diverged);
}

TEST_F(Repairing, RepairGivesNoRoundTrip) {
    client(0, 6, "");
    const auto asked = missing();
    ASSERT_EQ(asked.size(), 1u);
    EXPECT_TRUE(fill(asked[0], "answer"));
    EXPECT_EQ(host.snapshot().srtt, Duration::zero());
}

TEST_F(Repairing, APieceMayReachBeyondTheClientsAcknowledgement) {
    client(0, 0, "request");
    host.send("answers");
    primary(6, 7, "s");
    client(7, 3, "");
    const auto asked = missing();
    ASSERT_EQ(asked.size(), 1u);
    EXPECT_TRUE(fill(asked[0], "answer"));
    EXPECT_EQ(coverage(), Coverage::covered);
    EXPECT_EQ(counters().uncompared, 0u);
    EXPECT_EQ(host.snapshot().snd_una, host.server_seq(3).raw());
}

TEST_F(Repairing, WhatAResetOfThePrimaryProvesIsAskedFor) {
    client(0, 0, "request");
    primary(0, 7, "");
    host.inject(primary_packet(6, 7, TcpFlags::rst | TcpFlags::ack), Source::tap_from_primary);
    const auto asked = missing();
    ASSERT_EQ(asked.size(), 1u);
    EXPECT_EQ(asked[0].direction, Direction::from_primary);
    EXPECT_EQ(asked[0].end, host.server_seq(6).raw());
    EXPECT_TRUE(fill(asked[0], "answer"));
    EXPECT_EQ(coverage(), Coverage::covered);
    EXPECT_TRUE(missing().empty());
}

TEST_F(Repairing, AnApplicationHearsOfAResetOnceWhatWasMissingBeforeItIsFilled) {
    client(0, 0, "request");
    host.send("answer");
    primary(0, 7, "");
    host.inject(primary_packet(6, 7, TcpFlags::rst | TcpFlags::ack), Source::tap_from_primary);
    host.pass(150ms);
    EXPECT_THAT(host.events.log, ElementsAre("accepted")) << "longer than any other reset waits";
    const auto asked = missing();
    ASSERT_EQ(asked.size(), 1u);
    EXPECT_TRUE(fill(asked[0], "answer"));
    host.pass(1ms);
    EXPECT_THAT(host.events.log, ElementsAre("accepted", "reset_by_primary"));
}

TEST_F(Repairing, AResetOfTheClientWaitsForTheRepairOfWhatThePrimaryHasOfIt) {
    primary(0, 7, "");
    host.inject(client_packet(7, 0, TcpFlags::rst), Source::tap_from_client);
    host.pass(150ms);
    const auto asked = missing();
    ASSERT_EQ(asked.size(), 1u);
    EXPECT_TRUE(fill(asked[0], "request"));
    EXPECT_EQ(host.events.input, "request");
    host.pass(100ms);
    EXPECT_THAT(host.events.log, ElementsAre("accepted", "reset_by_peer"));
}

TEST_F(Repairing, AResetIsToldAfterTheDeadlineWhateverIsMissing) {
    client(0, 0, "request");
    primary(0, 7, "");
    host.inject(primary_packet(6, 7, TcpFlags::rst | TcpFlags::ack), Source::tap_from_primary);
    host.pass(deadline + 10s);
    EXPECT_EQ(host.events.log.back(), "reset_by_primary");
    EXPECT_EQ(host.stack.connection_count(), 0u);
}

TEST_F(Repairing, YoungGapsAreLeftToReordering) {
    primary(0, 7, "");
    EXPECT_TRUE(missing(5ms).empty());
    EXPECT_TRUE(host.stack.lacks_bytes()) << "and not forgotten";
    host.pass(5ms);
    EXPECT_EQ(missing(5ms).size(), 1u);
}

TEST_F(Repairing, AShortListGivesEachConnectionItsTurn) {
    Packet syn = client_packet(0, 0, TcpFlags::syn);
    syn.source.port = 40001;
    host.inject(syn, Source::tap_from_client);
    Packet syn_ack = primary_packet(0, 0, TcpFlags::syn | TcpFlags::ack);
    syn_ack.destination.port = 40001;
    host.inject(syn_ack, Source::tap_from_primary);
    Packet ack = client_packet(0, 0, TcpFlags::ack);
    ack.source.port = 40001;
    host.inject(ack, Source::tap_from_client);
    primary(0, 7, "");
    Packet acknowledgement = primary_packet(0, 7, TcpFlags::ack);
    acknowledgement.destination.port = 40001;
    host.inject(acknowledgement, Source::tap_from_primary);
    const auto first = missing(Duration::zero(), 1);
    const auto second = missing(Duration::zero(), 1);
    ASSERT_EQ(first.size(), 1u);
    ASSERT_EQ(second.size(), 1u);
    EXPECT_NE(first[0].client, second[0].client);
}

TEST(RepairWithoutASource, NothingIsListed) {
    class Plain : public Mirror {
      public:
        void TestBody() override {
            handshake();
            primary(0, 7, "");
            EXPECT_FALSE(host.stack.lacks_bytes());
            host.pass(60ms);
            EXPECT_EQ(host.stack.counters().holes, 1u);
        }
    } plain;
    plain.TestBody();
}

}  // namespace
}  // namespace understudy::stack::test
