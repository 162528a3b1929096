// Live capture, on the loopback interface of a network that belongs to the test.
#include <gtest/gtest.h>

#include "tap/open_port.hh"
#include "tests/unit/tap/own_network.hh"
#include "tests/unit/tap/port_traffic.hh"

namespace understudy::tap {
namespace {

class LivePortTest : public ::testing::Test {
  protected:
    static void SetUpTestSuite() { why_not() = test::enter_own_network(); }
    void SetUp() override {
        if (!why_not().empty()) GTEST_SKIP() << why_not();
    }

    static std::string& why_not() {
        static std::string text;
        return text;
    }
};

TEST_F(LivePortTest, SendsAndReceives) {
    const auto port = open_port("pcap:lo", {.promiscuous = true});
    EXPECT_EQ(port->driver(), "pcap");
    EXPECT_EQ(port->spec(), "pcap:lo");
    EXPECT_TRUE(port->carrier());
    EXPECT_EQ(port->mtu(), 65536u);
    test::expect_frames_come_back(*port, 100);
}

TEST_F(LivePortTest, CountsWhatItCannotReserve) {
    const auto port = open_port("pcap:lo", {});
    EXPECT_TRUE(port->reserve(0).empty());
    EXPECT_TRUE(port->reserve(65536 + 14 + 1).empty());
    EXPECT_EQ(port->statistics().no_buffer, 2u);
}

TEST_F(LivePortTest, CountsWhatADeadLinkRefuses) {
    const auto port = open_port("pcap:lo", {});
    ASSERT_TRUE(test::set_loopback(false));
    EXPECT_FALSE(port->carrier());
    test::send(*port, test::build({}));
    port->flush();
    ASSERT_TRUE(test::set_loopback(true));
    EXPECT_TRUE(port->carrier());
    EXPECT_EQ(port->statistics().send_failures, 1u);
    EXPECT_EQ(port->statistics().sent_frames, 0u);
}

TEST_F(LivePortTest, RefusesAnInterfaceThatIsDown) {
    ASSERT_TRUE(test::set_loopback(false));
    try {
        open_port("pcap:lo", {});
        ADD_FAILURE() << "opened";
    } catch (const PortError& error) {
        EXPECT_STREQ(error.what(), "pcap:lo: the interface is down: `ip link set` it up");
    }
    ASSERT_TRUE(test::set_loopback(true));
}

}  // namespace
}  // namespace understudy::tap
