#include "tap/filter.hh"

#include <gtest/gtest.h>

#include "tests/unit/tap/frames.hh"

namespace understudy::tap {
namespace {

using test::build;
using test::endpoint;
using test::frame_of;
using test::Packet;

TEST(Filter, RunsThroughLibpcapWithoutDpdk) {
    const Filter filter("tcp port 7000");
    EXPECT_EQ(filter.engine(), "classic");
    EXPECT_TRUE(filter.matches(frame_of(build({}))));
    EXPECT_TRUE(filter.matches(frame_of(build(test::reply()))));
    EXPECT_FALSE(filter.matches(frame_of(build({.destination_port = 7001}))));
    EXPECT_FALSE(filter.matches(frame_of(build({.protocol = IPPROTO_UDP}))));
    EXPECT_FALSE(filter.matches(Frame{}));
}

TEST(Filter, ReadsTheWireLengthOfACutFrame) {
    const auto bytes = build({});
    Frame frame = frame_of(bytes);
    const Filter filter("greater 1000");
    EXPECT_FALSE(filter.matches(frame));
    frame.wire_length = 1000;
    EXPECT_TRUE(filter.matches(frame));
}

TEST(Filter, EmptyExpressionMatchesAll) {
    const Filter filter("");
    EXPECT_TRUE(filter.matches(frame_of(build({}))));
    EXPECT_TRUE(filter.matches(frame_of(build({.ethertype = ETHERTYPE_ARP}))));
}

TEST(Filter, ABadExpressionGivesLibpcapsMessageInOneLine) {
    for (const std::string expression : {"tcp port", "host 10.0.0.1 and\nnonsense", "tcp and udp"}) {
        try {
            const Filter filter(expression);
            FAIL() << expression;
        } catch (const FilterError& error) {
            const std::string message = error.what();
            EXPECT_EQ(message.find('\n'), std::string::npos) << message;
            EXPECT_GT(message.size(), expression.size() + std::string("filter \"\": ").size()) << message;
        }
    }
}

TEST(ServiceExpression, SelectsBothDirectionsOfEachService) {
    const std::vector<ServiceEndpoint> services = {endpoint(test::service_address, test::service_port),
                                                   endpoint("10.77.0.2", 7001)};
    const Filter filter(service_expression(services));
    EXPECT_TRUE(filter.matches(frame_of(build({}))));
    EXPECT_TRUE(filter.matches(frame_of(build(test::reply()))));
    EXPECT_TRUE(filter.matches(frame_of(build({.destination = "10.77.0.2", .destination_port = 7001}))));
    EXPECT_TRUE(filter.matches(frame_of(build({.options = 8}))));
    // Address of one service, port of the other.
    EXPECT_FALSE(filter.matches(frame_of(build({.destination = "10.77.0.2"}))));
    EXPECT_FALSE(filter.matches(frame_of(build({.destination_port = 7001}))));
    // The service's address as the source, its port as the destination.
    EXPECT_FALSE(filter.matches(
        frame_of(build({.source = test::service_address, .destination = test::client_address}))));
    EXPECT_FALSE(filter.matches(frame_of(build({.protocol = IPPROTO_UDP}))));
}

TEST(ServiceExpression, TakesIpv6) {
    ServiceEndpoint service{.port = 443};
    inet_pton(AF_INET6, "fd00::1", service.address.data());
    EXPECT_EQ(service_expression({&service, 1}),
              "(ip6 src host fd00::1 and tcp src port 443) or (ip6 dst host fd00::1 and tcp dst port 443)");
    EXPECT_NO_THROW(Filter(service_expression({&service, 1})));
}

TEST(ServiceExpression, SelectsUdpForAUdpService) {
    ServiceEndpoint service = endpoint(test::service_address, test::service_port);
    service.transport = Transport::udp;
    const Filter filter(service_expression({&service, 1}));
    EXPECT_TRUE(filter.matches(frame_of(build({.protocol = IPPROTO_UDP}))));
    EXPECT_FALSE(filter.matches(frame_of(build({}))));
}

TEST(ServiceExpression, WithoutServicesMatchesNothing) {
    const Filter filter(service_expression({}));
    for (const auto& bytes : test::all_kinds())
        EXPECT_FALSE(filter.matches(frame_of(bytes)));
}

}  // namespace
}  // namespace understudy::tap
