#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "shadow_app/discard.hh"
#include "shadow_app/echo.hh"
#include "shadow_app/registry.hh"
#include "shadow_app/udp_echo.hh"
#include "tests/unit/shadow_app/fake_connection.hh"

namespace understudy::shadow_app {
namespace {

TEST(Echo, SendsBackWhatItReceives) {
    Echo echo;
    FakeConnection connection;
    echo.accepted(connection);
    EXPECT_EQ(echo.received(connection, bytes_of("hello")), 5u);
    EXPECT_EQ(echo.received(connection, bytes_of(" world")), 6u);
    EXPECT_EQ(connection.written, "hello world");
}

TEST(Echo, TakesOnlyWhatItCouldWrite) {
    Echo echo;
    FakeConnection connection;
    connection.room = 3;
    EXPECT_EQ(echo.received(connection, bytes_of("hello")), 3u);
    EXPECT_EQ(connection.written, "hel");
    EXPECT_EQ(echo.received(connection, bytes_of("lo")), 0u);
}

TEST(Echo, AsksForTheRestWhenThereIsRoomAgain) {
    Echo echo;
    FakeConnection connection;
    connection.room = 0;
    EXPECT_EQ(echo.received(connection, bytes_of("hello")), 0u);
    EXPECT_EQ(connection.resumes, 0);
    connection.room = 100;
    echo.writable(connection);
    EXPECT_EQ(connection.resumes, 1);
}

TEST(Echo, ClosesWhenTheClientHasClosed) {
    Echo echo;
    FakeConnection connection;
    echo.peer_closed(connection);
    EXPECT_EQ(connection.shutdowns, 1);
}

TEST(Discard, TakesEverythingAndSaysNothing) {
    Discard discard;
    FakeConnection connection;
    connection.room = 0;
    EXPECT_EQ(discard.received(connection, bytes_of("hello")), 5u);
    EXPECT_EQ(connection.written, "");
    discard.peer_closed(connection);
    EXPECT_EQ(connection.shutdowns, 1);
}

TEST(Registry, MakesEveryApplicationItLists) {
    ASSERT_EQ(applications().size(), 4u);
    for (const ApplicationInfo& info : applications()) {
        EXPECT_NE(make_application(info.name), nullptr) << info.name;
        EXPECT_FALSE(info.help.empty()) << info.name;
    }
    EXPECT_EQ(application_names(), "discard, echo, source, ticker");
}

class FakeDatagramService final : public DatagramService {
  public:
    bool send(const Endpoint& client, std::span<const std::byte> bytes) override {
        sent.emplace_back(client, std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
        return true;
    }
    const Endpoint& endpoint() const override { return endpoint_; }

    std::vector<std::pair<Endpoint, std::string>> sent;

  private:
    Endpoint endpoint_ = *stack::parse_endpoint("10.0.0.1:7000");
};

TEST(UdpEcho, SendsEveryDatagramBackToItsSender) {
    UdpEcho echo;
    FakeDatagramService service;
    const Endpoint one = *stack::parse_endpoint("10.0.0.2:1"), other = *stack::parse_endpoint("10.0.0.3:2");
    echo.received(service, one, bytes_of("hello"));
    echo.received(service, other, {});
    EXPECT_EQ(service.sent, (std::vector<std::pair<Endpoint, std::string>>{{one, "hello"}, {other, ""}}));
}

TEST(Registry, MakesEveryDatagramApplicationItLists) {
    ASSERT_EQ(datagram_applications().size(), 1u);
    for (const ApplicationInfo& info : datagram_applications()) {
        EXPECT_NE(make_datagram_application(info.name), nullptr) << info.name;
        EXPECT_EQ(make_application(info.name), nullptr) << info.name;
        EXPECT_FALSE(info.help.empty()) << info.name;
    }
    EXPECT_EQ(make_datagram_application("echo"), nullptr);
    EXPECT_EQ(datagram_application_names(), "udp-echo");
}

TEST(Registry, MakesEachByItsOwnName) {
    EXPECT_NE(dynamic_cast<Echo*>(make_application("echo").get()), nullptr);
    EXPECT_NE(dynamic_cast<Discard*>(make_application("discard").get()), nullptr);
}

TEST(Registry, KnowsNoOtherName) {
    EXPECT_EQ(make_application("Echo"), nullptr);
    EXPECT_EQ(make_application(""), nullptr);
}

}  // namespace
}  // namespace understudy::shadow_app
