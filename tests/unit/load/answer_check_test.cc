#include "tools/load/answer_check.hh"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "shadow_app/pattern.hh"
#include "shadow_app/ticker.hh"

namespace understudy::load {
namespace {

std::vector<std::byte> pattern(std::uint32_t connection, std::uint64_t offset, std::size_t size) {
    std::vector<std::byte> bytes(size);
    shadow_app::fill_pattern(connection, offset, bytes);
    return bytes;
}

void check_text(AnswerCheck& check, std::string_view text) {
    check.check(std::as_bytes(std::span(text)));
}

TEST(PatternCheck, TakesWhatWasSentInAnyPieces) {
    PatternCheck check(3);
    const auto sent = pattern(3, 0, 10'000);
    std::span<const std::byte> rest(sent);
    for (const std::size_t size : {1u, 2u, 4093u, 4096u, 1808u}) {
        check.check(rest.first(size));
        rest = rest.subspan(size);
    }
    EXPECT_EQ(check.checked_bytes(), 10'000u);
    EXPECT_EQ(check.wrong_bytes(), 0u);
    EXPECT_FALSE(check.first_wrong());
}

TEST(PatternCheck, FindsOneChangedByte) {
    PatternCheck check(3);
    auto sent = pattern(3, 0, 9000);
    sent[5001] ^= std::byte{1};
    check.check(sent);
    EXPECT_EQ(check.wrong_bytes(), 1u);
    EXPECT_EQ(check.first_wrong(), 5001u);
}

TEST(PatternCheck, FindsALostByte) {
    PatternCheck check(3);
    auto sent = pattern(3, 0, 1000);
    sent.erase(sent.begin() + 100);
    check.check(sent);
    EXPECT_GT(check.wrong_bytes(), 800u);
    EXPECT_GE(check.first_wrong(), 100u);
}

TEST(PatternCheck, FindsARepeatedMessage) {
    PatternCheck check(3);
    const auto sent = pattern(3, 0, 75);
    check.check(sent);
    check.check(sent);
    EXPECT_GT(check.wrong_bytes(), 60u);
    EXPECT_GE(check.first_wrong(), 75u);
}

TEST(PatternCheck, FindsTheBytesOfAnotherConnection) {
    PatternCheck check(3);
    check.check(pattern(4, 0, 75));
    EXPECT_GT(check.wrong_bytes(), 60u);
}

TEST(DiscardCheck, FindsAnyByteWrong) {
    DiscardCheck check;
    check_text(check, "x");
    EXPECT_EQ(check.wrong_bytes(), 1u);
    EXPECT_EQ(check.first_wrong(), 0u);
}

TEST(TickerCheck, CountsWholeLines) {
    TickerCheck check(0);
    EXPECT_EQ(check.lines(), 0u);
    EXPECT_TRUE(check.at_line_end());
    check_text(check, "tick 1\ntick 2\nti");
    EXPECT_EQ(check.lines(), 2u);
    EXPECT_FALSE(check.at_line_end());
    check_text(check, "ck 3\n");
    EXPECT_EQ(check.lines(), 3u);
    EXPECT_TRUE(check.at_line_end());
    EXPECT_EQ(check.wrong_bytes(), 0u);
}

TEST(TickerCheck, KnowsThePaddingOfEveryLength) {
    TickerCheck check(9);
    for (std::uint64_t number = 1; number <= 1200; ++number)
        check_text(check, shadow_app::format_tick(number, 9));
    EXPECT_EQ(check.wrong_bytes(), 0u);
    EXPECT_EQ(check.lines(), 1200u);
}

TEST(TickerCheck, FindsARepeatedLine) {
    TickerCheck check(0);
    check_text(check, "tick 1\ntick 2\ntick 2\n");
    EXPECT_EQ(check.wrong_bytes(), 1u);
    EXPECT_EQ(check.first_wrong(), 19u);
}

TEST(TickerCheck, FindsASkippedLine) {
    TickerCheck check(0);
    check_text(check, "tick 1\ntick 3\n");
    EXPECT_EQ(check.first_wrong(), 12u);
}

}  // namespace
}  // namespace understudy::load
