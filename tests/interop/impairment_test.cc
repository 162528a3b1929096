// The bad link does what it was asked to, and the same every time.
#include "tests/interop/impairment.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/interop/pattern.hh"

namespace understudy::interop {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t frames = 100'000;

// When the copies of `frames` frames of 1000 bytes arrive, one sent every 10 µs.
std::vector<std::vector<Instant>> arrivals(const ImpairmentSettings& settings, std::uint64_t direction = 0) {
    Impairment impairment(settings, direction);
    std::vector<std::vector<Instant>> result;
    for (std::size_t i = 0; i < frames; ++i) {
        const Fate fate = impairment.pass(1000, Instant(i * 10us));
        result.emplace_back(fate.arrivals().begin(), fate.arrivals().end());
    }
    return result;
}

TEST(Impairment, WithoutSettingsChangesNothing) {
    const auto all = arrivals({});
    for (std::size_t i = 0; i < frames; ++i)
        ASSERT_EQ(all[i], std::vector{Instant(i * 10us)});
}

TEST(Impairment, LosesAndDoublesAsOftenAsAsked) {
    ImpairmentSettings settings;
    settings.loss_per_million = 50'000;
    settings.duplicate_per_million = 20'000;
    const auto all = arrivals(settings);
    const auto with = [&](std::size_t copies) {
        return std::count_if(all.begin(), all.end(), [&](const auto& at) { return at.size() == copies; });
    };
    EXPECT_NEAR(static_cast<double>(with(0)), 0.05 * frames, 0.005 * frames);
    EXPECT_NEAR(static_cast<double>(with(2)), 0.02 * 0.95 * frames, 0.002 * frames);
}

TEST(Impairment, CutsAsOftenAsAskedAndLeavesTheLinkHeader) {
    ImpairmentSettings settings;
    settings.truncate_per_million = 50'000;
    Impairment impairment(settings, 0);
    std::size_t cut = 0;
    for (std::size_t i = 0; i < frames; ++i) {
        const Fate fate = impairment.pass(1000, Instant(i * 10us));
        EXPECT_EQ(fate.arrivals().size(), 1u);
        EXPECT_GE(fate.bytes, 14u);
        cut += fate.bytes < 1000 ? 1 : 0;
    }
    EXPECT_NEAR(static_cast<double>(cut), 0.05 * frames, 0.005 * frames);
    EXPECT_EQ(impairment.counters().truncated, cut);
}

TEST(Impairment, GivesTheSameFatesToTheSameSeedAndOthersToTheOtherDirection) {
    ImpairmentSettings settings;
    settings.loss_per_million = 100'000;
    EXPECT_EQ(arrivals(settings), arrivals(settings));
    EXPECT_NE(arrivals(settings, 0), arrivals(settings, 1));
    const auto before = arrivals(settings);
    settings.seed = 2;
    EXPECT_NE(arrivals(settings), before);
}

TEST(Impairment, OneFateDoesNotMoveTheNext) {
    ImpairmentSettings settings;
    settings.loss_per_million = 100'000;
    const auto before = arrivals(settings);
    settings.jitter = 1us;
    settings.duplicate_per_million = 100'000;
    const auto after = arrivals(settings);
    for (std::size_t i = 0; i < frames; ++i)
        ASSERT_EQ(before[i].empty(), after[i].empty()) << i;
}

TEST(Impairment, JitterKeepsTheOrderAndReorderingBreaksIt) {
    ImpairmentSettings settings;
    settings.delay = 1ms;
    settings.jitter = 1ms;
    const auto in_order = [](const std::vector<std::vector<Instant>>& all) {
        return std::is_sorted(all.begin(), all.end(),
                              [](const auto& a, const auto& b) { return a.front() < b.front(); });
    };
    const auto kept = arrivals(settings);
    EXPECT_TRUE(in_order(kept));
    for (std::size_t i = 0; i < frames; ++i)
        ASSERT_GE(kept[i].front(), Instant(i * 10us + 1ms));
    settings.reorder_per_million = 10'000;
    settings.reorder_delay = 1ms;
    EXPECT_FALSE(in_order(arrivals(settings)));
}

TEST(Impairment, TheRateSpacesFramesAndTheQueueIsBounded) {
    ImpairmentSettings settings;
    settings.rate_bits_per_second = 80'000'000;  // 1000 bytes in 100 µs
    settings.queue_bytes = 10'000;
    Impairment impairment(settings, 0);
    std::vector<Instant> at;
    for (int i = 0; i < 20; ++i) {
        const Fate fate = impairment.pass(1000, Instant(0s));
        at.insert(at.end(), fate.arrivals().begin(), fate.arrivals().end());
    }
    ASSERT_EQ(at.size(), 11u) << "one on the line, ten behind it";
    for (std::size_t i = 0; i < at.size(); ++i)
        EXPECT_EQ(at[i], Instant((i + 1) * 100us));
    EXPECT_EQ(impairment.counters().queue_full, 9u);
    EXPECT_EQ(impairment.pass(1000, Instant(1s)).arrivals()[0], Instant(1s + 100us));
}

TEST(Impairment, DropsWhatIsLongerThanTheMtu) {
    ImpairmentSettings settings;
    settings.mtu = 1200;
    Impairment impairment(settings, 0);
    EXPECT_EQ(impairment.pass(1214, Instant(0s)).arrivals().size(), 1u);
    EXPECT_EQ(impairment.pass(1215, Instant(0s)).arrivals().size(), 0u);
    EXPECT_EQ(impairment.counters().too_long, 1u);
}

TEST(Pattern, IsTheSameHoweverItIsCutAndShowsAnyChange) {
    const Pattern pattern(77);
    std::vector<std::byte> whole(200'000);
    pattern.fill(1000, whole);
    std::vector<std::byte> part(70'000);
    pattern.fill(1000 + 65'000, part);
    EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + 65'000));
    EXPECT_FALSE(pattern.first_difference(1000, whole));
    whole[150'000] ^= std::byte{1};
    EXPECT_EQ(pattern.first_difference(1000, whole), 151'000u);
    EXPECT_TRUE(pattern.first_difference(1001, std::span(whole).first(10)));
    EXPECT_TRUE(Pattern(78).first_difference(1000, std::span(whole).first(10)));
}

}  // namespace
}  // namespace understudy::interop
