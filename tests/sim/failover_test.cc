// Who serves, under the judge's eyes; and the judge under ours: one that never speaks proves nothing.
#include <algorithm>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include "tests/sim/failover_profile.hh"

namespace understudy::sim {
namespace {

constexpr std::uint64_t seeds_per_kind = 40;

class EveryFailover : public ::testing::TestWithParam<FailoverKind> {};

TEST_P(EveryFailover, SurvivesItsSeeds) {
    std::uint64_t replies = 0;
    for (std::uint64_t seed = 1; seed <= seeds_per_kind; ++seed) {
        const FailoverResult result = run_failover(GetParam(), seed, nullptr);
        ASSERT_FALSE(result.violation) << result.violation->oracle << ": " << result.violation->what
                                       << "\nunderstudy-sim --profile failover-" << GetParam().name << " --seed "
                                       << seed << " --trace";
        ASSERT_NE(result.heartbeats, 0u);
        replies += result.replies;
    }
    EXPECT_NE(replies, 0u);
}

TEST_P(EveryFailover, ReplaysASeedExactly) {
    const FailoverResult first = run_failover(GetParam(), 7, nullptr);
    std::ostringstream text;
    EXPECT_EQ(first.trace_hash, run_failover(GetParam(), 7, &text).trace_hash);
    EXPECT_NE(text.str().find("fault"), std::string::npos);
    EXPECT_NE(first.trace_hash, run_failover(GetParam(), 8, nullptr).trace_hash);
}

INSTANTIATE_TEST_SUITE_P(Simulation, EveryFailover,
                         ::testing::ValuesIn(failover_kinds().begin(), failover_kinds().end()),
                         [](const auto& test) {
                             std::string name(test.param.name);
                             std::replace(name.begin(), name.end(), '-', '_');
                             return name;
                         });

// A rule that is turned off, the kind of scenario that needs it, and the judge who must notice.
struct Broken {
    const char* rule;
    FailoverSabotage sabotage;
    const char* kind;
    const char* oracle;
};

class BrokenRule : public ::testing::TestWithParam<Broken> {};

TEST_P(BrokenRule, IsCaught) {
    const FailoverKind* kind = find_failover_kind(GetParam().kind);
    ASSERT_NE(kind, nullptr);
    constexpr std::uint64_t seeds = 1000;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        const FailoverResult result = run_failover(*kind, seed, nullptr, GetParam().sabotage);
        if (result.violation && result.violation->oracle == GetParam().oracle) return;
    }
    FAIL() << "no seed of " << seeds << " showed it";
}

INSTANTIATE_TEST_SUITE_P(
    Simulation, BrokenRule,
    ::testing::Values(
        Broken{"tap", FailoverSabotage::deaf_to_tap, "heartbeat-cut", "silence"},
        Broken{"address_answers", FailoverSabotage::deaf_to_address_answers, "heartbeat-cut", "silence"},
        Broken{"reading", FailoverSabotage::concludes_unread, "stall", "silence"},
        Broken{"witness", FailoverSabotage::invents_witness, "partition", "connectivity"},
        Broken{"fence", FailoverSabotage::believes_failed_fence, "fence", "fence"},
        Broken{"veto", FailoverSabotage::deaf_to_veto, "veto", "veto"},
        Broken{"agent", FailoverSabotage::agent_ignores_master, "return-link", "two speakers"},
        Broken{"word", FailoverSabotage::agent_says_too_early, "switchover", "word"},
        Broken{"liveness", FailoverSabotage::sleeps_through_death, "power", "nobody"}),
    [](const auto& test) { return std::string(test.param.rule); });

}  // namespace
}  // namespace understudy::sim
