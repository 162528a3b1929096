#include "failover/heartbeat_service.hh"

#include <functional>
#include <string>

#include <gtest/gtest.h>
#include <boost/asio/buffer.hpp>

#include "failover/datagram.hh"

namespace understudy::failover {
namespace {

namespace asio = boost::asio;
using asio::ip::udp;

// Longer than any machine needs; a test that waits so long has failed.
constexpr auto patience = std::chrono::seconds(30);

udp::endpoint loopback(bool v6, std::uint16_t port) {
    return v6 ? udp::endpoint(asio::ip::address_v6::loopback(), port)
              : udp::endpoint(asio::ip::address_v4::loopback(), port);
}

// The port stays taken by nobody for the moment of the test.
std::uint16_t free_port(bool v6) {
    asio::io_context io;
    return udp::socket(io, loopback(v6, 0)).local_endpoint().port();
}

HeartbeatSettings one_link(const udp::endpoint& local, const udp::endpoint& peer) {
    HeartbeatSettings settings;
    settings.links = {{local, peer, ""}};
    settings.interval = std::chrono::milliseconds(5);
    settings.misses = 3;
    return settings;
}

bool run_until(asio::io_context& io, const std::function<bool()>& done) {
    const auto end = std::chrono::steady_clock::now() + patience;
    while (!done()) {
        if (std::chrono::steady_clock::now() > end) return false;
        io.run_one_until(end);
    }
    return true;
}

class TwoServices : public testing::TestWithParam<bool> {};

TEST_P(TwoServices, HearEachOtherAndNoticeSilence) {
    const auto a = loopback(GetParam(), free_port(GetParam()));
    const auto b = loopback(GetParam(), free_port(GetParam()));
    asio::io_context io;
    int a_heard = 0;
    int b_heard = 0;
    int b_lost = 0;
    HeartbeatService first(io, one_link(a, b), [&](std::size_t, Instant) { ++a_heard; });
    HeartbeatService second(
        io, one_link(b, a), [&](std::size_t, Instant) { ++b_heard; },
        [&](std::size_t, bool alive) { b_lost += alive ? 0 : 1; });
    first.start();
    second.start();
    ASSERT_TRUE(run_until(io, [&] { return a_heard >= 20 && b_heard >= 20; }));
    EXPECT_TRUE(first.status(0).heard);
    EXPECT_TRUE(first.status(0).rtt);
    EXPECT_EQ(second.peer_interval(), std::chrono::milliseconds(5));

    const int lost_before = b_lost;
    first.stop();
    ASSERT_TRUE(run_until(io, [&] { return b_lost > lost_before; }));
    EXPECT_FALSE(second.status(0).alive);
}

INSTANTIATE_TEST_SUITE_P(Families, TwoServices, testing::Bool(),
                         [](const auto& family) { return family.param ? "IPv6" : "IPv4"; });

// One service, and a socket of ours in its peer's place.
class ServiceAndSocket : public testing::Test {
  protected:
    void send(const std::string& bytes) { peer.send_to(asio::buffer(bytes), service.local_endpoint(0)); }
    bool counts(std::uint64_t LinkCounters::*counter) {
        return run_until(io, [&] { return service.status(0).counters.*counter == 1; });
    }

    asio::io_context io;
    udp::socket peer{io, loopback(false, 0)};
    int signs = 0;
    HeartbeatService service{io, one_link(loopback(false, 0), peer.local_endpoint()),
                             [this](std::size_t, Instant) { ++signs; }};
};

TEST_F(ServiceAndSocket, EveryRefusalIsCounted) {
    service.start();
    send("\xff\xff");
    EXPECT_TRUE(counts(&LinkCounters::refused_malformed));
    send(std::string(max_heartbeat_bytes + 1, 'x'));
    EXPECT_TRUE(counts(&LinkCounters::refused_oversized));
    send("");
    EXPECT_TRUE(counts(&LinkCounters::refused_unknown_version));
    udp::socket stranger(io, loopback(false, 0));
    stranger.send_to(asio::buffer("x", 1), service.local_endpoint(0));
    EXPECT_TRUE(counts(&LinkCounters::refused_not_from_peer));
    proto::v1::Heartbeat hello;
    hello.set_incarnation(1);
    hello.set_counter(1);
    hello.set_nonce(1);
    hello.mutable_hello();
    send(encode_datagram(hello));
    EXPECT_TRUE(counts(&LinkCounters::refused_unconfirmed));
    hello.set_echoed_nonce(1);
    send(encode_datagram(hello));
    EXPECT_TRUE(counts(&LinkCounters::refused_stale_nonce));
    EXPECT_EQ(signs, 0);
    const LinkCounters counters = service.status(0).counters;
    EXPECT_EQ(counters.acks_sent + counters.unanswered_unproven, 2u);
}

TEST_F(ServiceAndSocket, StoppedServiceSaysNothing) {
    service.start();
    send("\xff\xff");
    service.stop();
    io.run();
    EXPECT_EQ(service.status(0).counters.refused_malformed, 0u);
}

TEST_F(ServiceAndSocket, AFloodDoesNotHoldUpTheReading) {
    service.start();
    const Instant start = service.read_all();
    // More than is read at once, for ever: what had arrived by the first look is read before long.
    const std::string junk(8, 'x');
    const Instant arrived = monotonic_now();
    EXPECT_TRUE(run_until(io, [&] {
        for (int i = 0; i < 100; ++i)
            send(junk);
        return service.read_all() > arrived;
    }));
    EXPECT_GT(arrived, start);
}

TEST(HeartbeatServiceErrors, AddressInUseIsOneClearLine) {
    asio::io_context io;
    const udp::socket taken(io, loopback(false, 0));
    try {
        HeartbeatService service(io, one_link(taken.local_endpoint(), loopback(false, 9)), {});
        FAIL() << "bound";
    } catch (const HeartbeatError& error) {
        EXPECT_NE(std::string(error.what()).find(to_string(taken.local_endpoint())), std::string::npos);
        EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    }
}

TEST(HeartbeatServiceErrors, UnknownInterface) {
    asio::io_context io;
    auto settings = one_link(loopback(false, 0), loopback(false, 9));
    settings.links[0].interface = "no-such-if";
    EXPECT_THROW(HeartbeatService(io, settings, {}), HeartbeatError);
}

TEST(HeartbeatServiceErrors, SettingsThatCannotWork) {
    asio::io_context io;
    auto settings = one_link(loopback(false, 0), loopback(false, 9));
    settings.misses = 0;
    EXPECT_THROW(HeartbeatService(io, settings, {}), std::invalid_argument);
    settings.misses = 1;
    settings.interval = std::chrono::microseconds(10);
    EXPECT_THROW(HeartbeatService(io, settings, {}), std::invalid_argument);
    settings.interval = std::chrono::seconds(1);
    settings.links.resize(HeartbeatSettings::max_links + 1, settings.links[0]);
    EXPECT_THROW(HeartbeatService(io, settings, {}), std::invalid_argument);
}

TEST(LinkAddressing, Parses) {
    const LinkAddressing v4 = parse_link_addressing("10.78.1.3:7800,10.78.1.2:7801");
    EXPECT_EQ(to_string(v4.local), "10.78.1.3:7800");
    EXPECT_EQ(to_string(v4.peer), "10.78.1.2:7801");
    EXPECT_EQ(v4.interface, "");
    const LinkAddressing v6 = parse_link_addressing("[fd01::3]:7800,[fd01::2]:7800,hb0");
    EXPECT_EQ(to_string(v6.local), "[fd01::3]:7800");
    EXPECT_EQ(v6.interface, "hb0");
}

TEST(LinkAddressing, RefusesAnythingElse) {
    for (const char* text : {"", ",", "10.0.0.1:1", "10.0.0.1:1,", "10.0.0.1,10.0.0.2:1",
                             "10.0.0.1:1,10.0.0.2:65536", "10.0.0.1:1,10.0.0.2:x", "10.0.0.1:1,10.0.0.2:0",
                             "10.0.0.1:1,[::1]:1", "[10.0.0.1]:1,10.0.0.2:1", "fd01::3:1,fd01::2:1",
                             "10.0.0.1:1,10.0.0.2:1,a,b", "localhost:1,10.0.0.2:1", "10.0.0.1:+1,10.0.0.2:1"})
        EXPECT_THROW(parse_link_addressing(text), std::invalid_argument) << text;
}

}  // namespace
}  // namespace understudy::failover
