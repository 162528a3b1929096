#include "failover/links.hh"

#include <optional>

#include <gtest/gtest.h>

#include "instant.hh"

namespace understudy::failover {
namespace {

using proto::v1::Heartbeat;
using std::chrono::milliseconds;

Links make(std::uint64_t seed, std::size_t count = 1) {
    return Links({.links = count, .interval = milliseconds(10), .deadline = milliseconds(30)},
                 [seed, drawn = std::uint64_t{0}]() mutable { return seed * 1000 + ++drawn; });
}

// Two ends that have already learned each other's nonces.
class LinksPair : public testing::Test {
  protected:
    // `from` sends a Hello on `link`; the answer comes back at once. Returns what `to` made of the Hello.
    static Acceptance exchange(Links& from, Links& to, Instant now, std::size_t link = 0) {
        const auto received = to.receive(link, from.hello(link, now), now);
        if (received.reply) from.receive(link, *received.reply, now);
        return received.acceptance;
    }
    void SetUp() override {
        EXPECT_EQ(exchange(replica, primary, at(0)), Acceptance::unconfirmed);
        EXPECT_EQ(exchange(replica, primary, at(0)), Acceptance::sign_of_life);
        EXPECT_EQ(exchange(primary, replica, at(0)), Acceptance::sign_of_life);
    }
    Links replica = make(1, 2);
    Links primary = make(2, 2);
};

TEST(LinksFirstContact, HelloThatEchoesNothingProvesNothingButIsAnswered) {
    Links replica = make(1);
    Links primary = make(2);
    const auto received = primary.receive(0, replica.hello(0, at(0)), at(1));
    EXPECT_EQ(received.acceptance, Acceptance::unconfirmed);
    EXPECT_FALSE(primary.status(0, at(1)).heard);
    ASSERT_TRUE(received.reply);
    ASSERT_TRUE(received.reply->has_hello_ack());

    const auto answer = replica.receive(0, *received.reply, at(2));
    EXPECT_EQ(answer.acceptance, Acceptance::sign_of_life);
    EXPECT_FALSE(answer.reply) << "an answer is never answered";
    EXPECT_EQ(replica.status(0, at(2)).heard, at(2));
}

TEST_F(LinksPair, RecordedHelloProvesNothingToALaterProcess) {
    const Heartbeat recorded = primary.hello(0, at(5));
    Links restarted = make(3);
    const auto received = restarted.receive(0, recorded, at(6));
    EXPECT_EQ(received.acceptance, Acceptance::stale_nonce);
    EXPECT_FALSE(restarted.status(0, at(6)).heard);
    EXPECT_EQ(restarted.status(0, at(6)).counters.refused_stale_nonce, 1u);
    EXPECT_TRUE(received.reply) << "the answer tells a live sender our nonce";
}

TEST_F(LinksPair, AFloodOfHellosThatProveNothingIsAnsweredInBounds) {
    Heartbeat hello = primary.hello(0, at(5));
    hello.set_echoed_nonce(0);
    EXPECT_TRUE(replica.receive(0, hello, at(10)).reply);
    for (int i = 0; i < 100; ++i)
        EXPECT_FALSE(replica.receive(0, hello, at(14)).reply);
    EXPECT_TRUE(replica.receive(1, hello, at(14)).reply) << "each link has its own bound";
    EXPECT_TRUE(replica.receive(0, hello, at(15)).reply);
    EXPECT_EQ(replica.status(0, at(15)).counters.unanswered_unproven, 100u);
}

TEST_F(LinksPair, RecordedHelloProvesNothingTwice) {
    const Heartbeat hello = primary.hello(0, at(5));
    EXPECT_EQ(replica.receive(0, hello, at(6)).acceptance, Acceptance::sign_of_life);
    const auto again = replica.receive(0, hello, at(50));
    EXPECT_EQ(again.acceptance, Acceptance::replayed);
    EXPECT_FALSE(again.reply);
    EXPECT_EQ(replica.status(0, at(50)).heard, at(6));
    EXPECT_EQ(replica.receive(1, hello, at(50)).acceptance, Acceptance::replayed) << "nor on another link";
}

TEST_F(LinksPair, RecordedAckProvesNothingTwice) {
    const auto reply = primary.receive(0, replica.hello(0, at(5)), at(5)).reply;
    ASSERT_TRUE(reply);
    EXPECT_EQ(replica.receive(0, *reply, at(6)).acceptance, Acceptance::sign_of_life);
    EXPECT_EQ(replica.receive(0, *reply, at(7)).acceptance, Acceptance::replayed);
}

TEST_F(LinksPair, ReorderedHellosAllCount) {
    const Heartbeat first = primary.hello(0, at(5));
    const Heartbeat second = primary.hello(1, at(5));
    EXPECT_EQ(replica.receive(1, second, at(6)).acceptance, Acceptance::sign_of_life);
    EXPECT_EQ(replica.receive(0, first, at(7)).acceptance, Acceptance::sign_of_life);
}

TEST_F(LinksPair, PeerThatRestartedIsHeardAgainWithinOneExchange) {
    Links restarted = make(3, 2);
    EXPECT_EQ(exchange(restarted, replica, at(10)), Acceptance::unconfirmed);
    EXPECT_EQ(exchange(restarted, replica, at(20)), Acceptance::sign_of_life);
    EXPECT_EQ(replica.status(0, at(20)).heard, at(20));
}

TEST_F(LinksPair, WhatThePeerSaidInItsEarlierLifeIsStaleOnceItRestarted) {
    const Heartbeat recorded = primary.hello(0, at(5));
    Links restarted = make(3, 2);
    exchange(restarted, replica, at(10));
    exchange(restarted, replica, at(20));
    EXPECT_EQ(replica.receive(0, recorded, at(30)).acceptance, Acceptance::stale_nonce);
    EXPECT_EQ(replica.status(0, at(30)).heard, at(20));
    // The nonce drawn for it has reached the new peer, too.
    exchange(replica, restarted, at(30));
    EXPECT_EQ(exchange(restarted, replica, at(40)), Acceptance::sign_of_life);
}

TEST_F(LinksPair, OneDirectionIsEnough) {
    // Nothing of ours arrives any more, but the peer echoes what it heard before.
    for (int ms = 10; ms < 1000; ms += 10)
        EXPECT_EQ(replica.receive(0, primary.hello(0, at(ms)), at(ms)).acceptance, Acceptance::sign_of_life);
}

TEST_F(LinksPair, RecordedHelloDoesNotChangeWhatWeEcho) {
    Links restarted = make(3, 2);
    const Heartbeat recorded = primary.hello(0, at(5));
    exchange(restarted, replica, at(10));
    exchange(restarted, replica, at(20));
    replica.receive(0, recorded, at(25));
    exchange(replica, restarted, at(30));
    EXPECT_EQ(restarted.receive(0, replica.hello(0, at(40)), at(40)).acceptance, Acceptance::sign_of_life);
}

TEST_F(LinksPair, AliveUntilTheDeadline) {
    EXPECT_EQ(replica.receive(0, primary.hello(0, at(10)), at(10)).acceptance, Acceptance::sign_of_life);
    EXPECT_TRUE(replica.status(0, at(39)).alive);
    EXPECT_FALSE(replica.status(0, at(40)).alive);
    EXPECT_FALSE(replica.status(1, at(10)).alive) << "each link has its own";
}

TEST_F(LinksPair, RoundTripAndJitterAreSmoothed) {
    const auto round_trip = [this](int sent_ms, int took_ms) {
        const auto reply = primary.receive(1, replica.hello(1, at(sent_ms)), at(sent_ms)).reply;
        replica.receive(1, *reply, at(sent_ms + took_ms));
    };
    EXPECT_FALSE(replica.status(1, at(0)).rtt);
    EXPECT_FALSE(replica.status(1, at(0)).jitter);
    round_trip(10, 8);
    EXPECT_EQ(replica.status(1, at(20)).rtt, milliseconds(8));
    EXPECT_EQ(replica.status(1, at(20)).jitter, Duration::zero());
    round_trip(20, 16);
    EXPECT_EQ(replica.status(1, at(40)).rtt, milliseconds(9));
    EXPECT_EQ(replica.status(1, at(40)).jitter, std::chrono::microseconds(500));
}

TEST_F(LinksPair, AckOfAHelloThatWasNeverSentGivesNoRoundTrip) {
    auto reply = primary.receive(1, replica.hello(1, at(10)), at(10)).reply;
    ASSERT_TRUE(reply);
    reply->mutable_hello_ack()->set_acknowledged_counter(999);
    EXPECT_EQ(replica.receive(1, *reply, at(20)).acceptance, Acceptance::sign_of_life);
    EXPECT_FALSE(replica.status(1, at(20)).rtt);
}

TEST_F(LinksPair, KindOfALaterVersionIsASignOfLifeAndNotAnswered) {
    Heartbeat message = primary.hello(0, at(5));
    message.clear_kind();
    const auto received = replica.receive(0, message, at(6));
    EXPECT_EQ(received.acceptance, Acceptance::sign_of_life);
    EXPECT_FALSE(received.reply);
    EXPECT_EQ(replica.status(0, at(6)).counters.unknown_kinds_received, 1u);
}

TEST_F(LinksPair, LossCountsHellosThatAreOldEnough) {
    EXPECT_FALSE(replica.status(1, at(0)).loss);
    for (int i = 0; i < 8; ++i) {
        const Heartbeat hello = replica.hello(1, at(10 * i));
        if (i % 4 == 0) continue;  // lost
        const auto reply = primary.receive(1, hello, at(10 * i)).reply;
        replica.receive(1, *reply, at(10 * i + 1));
    }
    // Hellos 0 to 3 are past the deadline at 60 ms; one of them was lost.
    EXPECT_DOUBLE_EQ(replica.status(1, at(60)).loss.value(), 0.25);
    EXPECT_DOUBLE_EQ(replica.status(1, at(1000)).loss.value(), 0.25);
}

TEST_F(LinksPair, LossForgetsWhatIsLongAgo) {
    for (int i = 0; i < 64; ++i)
        (void)replica.hello(1, at(10 * i));
    EXPECT_DOUBLE_EQ(replica.status(1, at(10'000)).loss.value(), 1.0);
    for (int i = 0; i < 64; ++i)
        exchange(replica, primary, at(10'000 + 10 * i), 1);
    EXPECT_DOUBLE_EQ(replica.status(1, at(20'000)).loss.value(), 0.0);
}

TEST_F(LinksPair, TellsThePeersInterval) {
    EXPECT_EQ(replica.peer_interval(), milliseconds(10));
}

TEST(LinksRandom, ZeroIsNeverDrawn) {
    Links links({.links = 1, .interval = milliseconds(10), .deadline = milliseconds(30)}, [] { return 0u; });
    const Heartbeat hello = links.hello(0, at(0));
    EXPECT_NE(hello.incarnation(), 0u);
    EXPECT_NE(hello.nonce(), 0u);
}

TEST(LinksCounters, EveryOneIsDescribed) {
    for (const LinkCounterInfo& info : link_counter_table()) {
        EXPECT_STRNE(info.name, "");
        EXPECT_STRNE(info.help, "");
    }
}

TEST(ReplayWindow, AcceptsEachCounterOnce) {
    ReplayWindow window;
    EXPECT_FALSE(window.accept(0));
    for (const std::uint64_t counter : {5u, 3u, 4u, 260u, 6u}) {
        EXPECT_TRUE(window.accept(counter)) << counter;
        EXPECT_FALSE(window.accept(counter)) << counter;
    }
    EXPECT_FALSE(window.accept(4)) << "too old to tell";
    EXPECT_TRUE(window.accept(7));
    EXPECT_TRUE(window.accept(100'000));
    EXPECT_FALSE(window.accept(260));
    EXPECT_TRUE(window.accept(~std::uint64_t{0}));
    EXPECT_FALSE(window.accept(~std::uint64_t{0}));
}

}  // namespace
}  // namespace understudy::failover
