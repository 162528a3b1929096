#include "shadow_app/ticker.hh"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "tests/unit/shadow_app/fake_connection.hh"

namespace understudy::shadow_app {
namespace {

using namespace std::chrono_literals;

class TickerTest : public ::testing::Test {
  protected:
    TickerTest() { ticker.accepted(connection); }

    void receive(std::string_view text) {
        ASSERT_EQ(ticker.received(connection, bytes_of(text)), text.size());
    }
    void fire(int times) {
        for (int i = 0; i < times; ++i)
            ticker.timer(connection);
    }

    Ticker ticker;
    FakeConnection connection;
};

TEST(TickerProtocol, ReadsASubscription) {
    EXPECT_EQ(parse_subscription("subscribe 1000 32"), (TickerSubscription{1000, 32}));
    EXPECT_EQ(parse_subscription("subscribe 1 0"), (TickerSubscription{1, 0}));
    EXPECT_EQ(format_subscription({1000, 32}), "subscribe 1000 32\n");
}

TEST(TickerProtocol, RefusesEverythingElse) {
    for (const char* line :
         {"", "subscribe", "subscribe ", "subscribe 10", "subscribe 10 ", "subscribe  10 20",
          "subscribe 10 20 ", "subscribe 10 20 30", "subscribe ten 20", "subscribe -1 20", "subscribe 0 20",
          "Subscribe 10 20", "subscribe 10 20\r", "subscribe 3600000001 1", "subscribe 10 65537",
          "subscribe 99999999999999999999 1"})
        EXPECT_FALSE(parse_subscription(line)) << line;
}

TEST(TickerProtocol, PadsALineBeforeItsNewline) {
    EXPECT_EQ(format_tick(7, 0), "tick 7\n");
    EXPECT_EQ(format_tick(7, 7), "tick 7\n");
    EXPECT_EQ(format_tick(7, 10), "tick 7...\n");
    EXPECT_EQ(format_tick(12345, 7), "tick 12345\n");
}

TEST_F(TickerTest, TicksOnceAnInterval) {
    receive("subscribe 2000 10\n");
    EXPECT_EQ(connection.timer, Duration(2ms));
    EXPECT_EQ(connection.written, "");
    connection.timer.reset();
    fire(1);
    EXPECT_EQ(connection.written, "tick 1...\n");
    EXPECT_EQ(connection.timer, Duration(2ms));
    fire(1);
    EXPECT_EQ(connection.written, "tick 1...\ntick 2...\n");
}

TEST_F(TickerTest, ReadsASubscriptionInPieces) {
    for (const char* piece : {"sub", "scribe 1", "000 ", "0", "\n"}) {
        EXPECT_FALSE(connection.timer);
        receive(piece);
    }
    EXPECT_EQ(connection.timer, Duration(1ms));
}

TEST_F(TickerTest, IgnoresWhatFollowsTheSubscription) {
    receive("subscribe 1000 0\nsubscribe 9 9\n");
    receive("nonsense");
    fire(1);
    EXPECT_EQ(connection.written, "tick 1\n");
    EXPECT_EQ(connection.shutdowns, 0);
}

TEST_F(TickerTest, AnswersAMalformedLineWithErrorAndFin) {
    receive("subscribe many 0\n");
    EXPECT_EQ(connection.written, "error\n");
    EXPECT_EQ(connection.shutdowns, 1);
    EXPECT_FALSE(connection.timer);
}

TEST_F(TickerTest, RefusesALineThatIsTooLong) {
    receive(std::string(TickerSubscription::max_line_bytes, 's'));
    EXPECT_EQ(connection.written, "");
    receive("s");
    EXPECT_EQ(connection.written, "error\n");
    EXPECT_EQ(connection.shutdowns, 1);
}

TEST_F(TickerTest, WritesLateLinesInOrderOnceThereIsRoom) {
    receive("subscribe 1000 0\n");
    connection.room = 9;
    fire(3);
    EXPECT_EQ(connection.written, "tick 1\nti");
    connection.room = 1000;
    ticker.writable(connection);
    EXPECT_EQ(connection.written, "tick 1\ntick 2\ntick 3\n");
}

TEST_F(TickerTest, CatchesUpInBoundedBatches) {
    receive("subscribe 1000 4096\n");
    connection.room = 0;
    fire(1000);
    connection.room = 1 << 30;
    ticker.writable(connection);
    const std::size_t first_batch = connection.written.size();
    EXPECT_GT(first_batch, 100'000u);
    EXPECT_LT(first_batch, 2'000'000u);
    for (int i = 0; i < 10; ++i)
        fire(1);
    std::string expected;
    for (std::uint64_t n = 1; n <= 1010; ++n)
        expected += format_tick(n, 4096);
    EXPECT_EQ(connection.written, expected);
}

TEST_F(TickerTest, EndsAtTheEndOfALineWhenTheClientCloses) {
    receive("subscribe 1000 0\n");
    connection.room = 3;
    fire(2);
    ticker.peer_closed(connection);
    EXPECT_EQ(connection.shutdowns, 0);
    EXPECT_FALSE(connection.timer);
    connection.room = 1000;
    ticker.writable(connection);
    EXPECT_EQ(connection.written, "tick 1\n");
    EXPECT_EQ(connection.shutdowns, 1);
}

TEST_F(TickerTest, ClosesAtOnceWhenNothingWaits) {
    ticker.peer_closed(connection);
    EXPECT_EQ(connection.shutdowns, 1);
}

}  // namespace
}  // namespace understudy::shadow_app
