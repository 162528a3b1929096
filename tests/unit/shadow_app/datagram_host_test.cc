// StackHost with datagram applications: a shadow stack, whose client and primary the test plays.
#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "shadow_app/stack_host.hh"
#include "tests/unit/stack/udp_frames.hh"

namespace understudy::shadow_app {
namespace {

using stack::Mode;
using stack::Source;
using stack::test::as_bytes;
using stack::test::client_endpoint;
using stack::test::encode;
using stack::test::service_endpoint;
using stack::test::UdpPacket;

class Scripted final : public DatagramApplication {
  public:
    using Hook = std::function<void(DatagramService&, const Endpoint&, std::string_view)>;

    void received(DatagramService& service, const Endpoint& client,
                  std::span<const std::byte> bytes) override {
        input.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        if (on_received) on_received(service, client, input.back());
    }

    Hook on_received;
    std::vector<std::string> input;
};

class DatagramHost : public ::testing::Test {
  protected:
    DatagramHost() {
        application.on_received = [](DatagramService& service, const Endpoint& client,
                                     std::string_view text) {
            service.send(client, as_bytes("re: " + std::string(text)));
        };
        host.serve_datagrams(service_endpoint, application);
        stack::Settings settings = stack::test::settings_for(Mode::silent);
        settings.services = {};
        settings.udp_services = {service_endpoint, unserved};
        udp.emplace(settings, wire, host, random);
        host.attach(*udp);
    }
    void receive(const UdpPacket& packet, Source source) {
        const auto frame = encode(packet);
        const stack::ReceivedFrame received{source, frame, static_cast<std::uint32_t>(frame.size())};
        host.receive(std::span(&received, 1), now);
    }
    static UdpPacket request(std::string text) {
        return {.link_destination = stack::test::replica_link, .payload = std::move(text)};
    }

    const Endpoint unserved{service_endpoint.address, 7999};
    Scripted application;
    StackHost host;
    stack::test::Wire wire;
    stack::test::CountingRandom random;
    std::optional<stack::Stack> udp;
    Instant now{std::chrono::hours(1)};
};

TEST_F(DatagramHost, WithholdsAnswersWhileSilentAndSendsThemAfterwards) {
    receive({.payload = "one"}, Source::tap_from_client);
    EXPECT_EQ(application.input, std::vector<std::string>{"one"});
    EXPECT_TRUE(wire.frames.empty());
    EXPECT_EQ(host.counters().datagrams_received, 1u);
    EXPECT_EQ(host.counters().datagrams_sent, 1u);
    EXPECT_EQ(host.promote(now).datagrams, 1u);
    wire.frames.clear();
    receive(request("two"), Source::service);
    ASSERT_EQ(wire.frames.size(), 1u);
    const auto answer = stack::test::decode_datagram(wire.frames.front());
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->payload, "re: two");
    EXPECT_EQ(answer->destination, client_endpoint);
}

TEST_F(DatagramHost, CountsWhatTheStackRefuses) {
    bool taken = true;
    application.on_received = [&](DatagramService& service, const Endpoint& client, std::string_view) {
        taken = service.send(client, std::vector<std::byte>(1473));
        EXPECT_EQ(service.endpoint(), service_endpoint);
        EXPECT_EQ(client, client_endpoint);
    };
    receive({.payload = "one"}, Source::tap_from_client);
    EXPECT_FALSE(taken);
    EXPECT_EQ(host.counters().datagrams_refused, 1u);
    EXPECT_EQ(host.counters().datagrams_sent, 0u);
}

TEST_F(DatagramHost, CountsDatagramsThatNoApplicationServes) {
    receive({.destination = unserved, .payload = "one"}, Source::tap_from_client);
    EXPECT_EQ(host.counters().datagrams_no_application, 1u);
    EXPECT_TRUE(application.input.empty());
}

}  // namespace
}  // namespace understudy::shadow_app
