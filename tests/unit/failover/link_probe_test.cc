#include "failover/link_probe.hh"

#include <chrono>

#include <gtest/gtest.h>

namespace understudy::failover {
namespace {

using boost::asio::ip::make_address;
using boost::asio::ip::udp;

// A link to this very host.
class LinkProbeTest : public testing::TestWithParam<const char*> {
  protected:
    void SetUp() override {
        if (!probe.available()) GTEST_SKIP() << probe.why();
    }
    // Longer than any machine needs.
    bool answered_in_time() {
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
        while (std::chrono::steady_clock::now() < end)
            if (probe.read_answers()) return true;
        return false;
    }

    udp::endpoint here{make_address(GetParam()), 7800};
    LinkProbe probe{{{here, here, ""}}, [] { return 0x1122334455667788; }};
};

TEST_P(LinkProbeTest, TheKernelAnswers) {
    EXPECT_FALSE(probe.read_answers());
    probe.send();
    EXPECT_EQ(probe.counters().sent, 1u);
    EXPECT_TRUE(answered_in_time());
    EXPECT_EQ(probe.counters().answers, 1u);
}

TEST_P(LinkProbeTest, AnswersToSomebodyElseAreRefused) {
    LinkProbe other({{here, here, ""}}, [] { return 42; });
    other.send();
    probe.send();
    ASSERT_TRUE(answered_in_time());
    EXPECT_EQ(probe.counters().answers, 1u);
    EXPECT_EQ(probe.counters().refused, 1u);
}

INSTANTIATE_TEST_SUITE_P(Loopback, LinkProbeTest, testing::Values("127.0.0.1", "::1"));

TEST(LinkProbe, SaysWhyItIsNotToBeHad) {
    const udp::endpoint nowhere(make_address("192.0.2.1"), 7800);
    LinkProbe probe({{nowhere, nowhere, ""}}, [] { return 42; });
    EXPECT_FALSE(probe.available());
    EXPECT_NE(probe.why().find("192.0.2.1"), std::string::npos);
}

TEST(LinkProbe, RefusesAnInterfaceThatIsNotThere) {
    const udp::endpoint here(make_address("127.0.0.1"), 7800);
    EXPECT_FALSE(LinkProbe({{here, here, "no-such-link"}}, [] { return 42; }).available());
}

}  // namespace
}  // namespace understudy::failover
