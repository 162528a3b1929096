// UDP services on one core and on several: both directions of a flow on one, and a takeover.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/unit/stack/pieces.hh"
#include "tests/unit/stack/summing_port.hh"
#include "tests/unit/stack/udp_frames.hh"
#include "tests/unit/tools/plane_harness.hh"
#include "tools/daemon/status.hh"

namespace understudy::tools::test {
namespace {

using stack::test::decode_datagram;
using stack::test::udp_answer;
using stack::test::UdpPacket;

constexpr std::uint16_t client_count = 200;

stack::Endpoint client(std::uint16_t number) {
    return {*stack::parse_ip_address("10.77.1." + std::to_string(number % 250 + 1)),
            static_cast<std::uint16_t>(40000 + number)};
}

std::string text_of(std::uint16_t number) {
    return "request " + std::to_string(number);
}

class DatagramPlane : public ::testing::TestWithParam<std::size_t> {
  protected:
    DatagramPlane()
        : plane_({.cores = GetParam(), .tap_queues = GetParam(), .service_queues = GetParam(), .udp = true}) {
    }

    // The two directions of a flow by different queues, the worst that hardware can do.
    void mirror_requests() {
        for (std::uint16_t i = 0; i < client_count; ++i)
            push({.source = client(i), .payload = text_of(i)}, i);
        plane_.settle();
    }
    void mirror_answers(std::uint16_t count = client_count) {
        for (std::uint16_t i = 0; i < count; ++i)
            push(udp_answer(text_of(i), client(i)), i + 1u);
        plane_.settle();
    }
    void push(const UdpPacket& packet, std::size_t queue) {
        plane_.tap->push(stack::test::encode(packet), 0, queue % plane_.tap->queues());
    }
    // What was sent since, by client; each client at most once.
    std::map<stack::Endpoint, std::string> take_answers() {
        std::map<stack::Endpoint, std::string> answers;
        for (const auto& frame : plane_.take_sent()) {
            const auto datagram = decode_datagram(frame);
            if (!datagram) continue;
            EXPECT_TRUE(answers.emplace(datagram->destination, datagram->payload).second);
        }
        return answers;
    }
    proto::v1::DatagramCounts counts() {
        std::vector<proto::v1::StatusResponse> parts;
        for (std::size_t i = 0; i < plane_.plane->cores(); ++i)
            parts.push_back(core_status(*plane_.plane, plane_.plane->core(i)));
        proto::v1::StatusResponse status;
        status.add_services()->set_endpoint(stack::to_string(service_endpoint));
        status.add_services()->set_endpoint(datagram_service_name(service_endpoint));
        add_core_status(status, parts);
        EXPECT_FALSE(status.services(0).has_datagrams());
        return status.services(1).datagrams();
    }

    Plane plane_;
};

INSTANTIATE_TEST_SUITE_P(Cores, DatagramPlane, ::testing::Values(1, 2, 4));

TEST_P(DatagramPlane, BothDirectionsMeetOnOneCore) {
    mirror_requests();
    mirror_answers();
    EXPECT_EQ(plane_.sum(&stack::Counters::udp_answers_matched), client_count);
    EXPECT_EQ(counts().received(), client_count);
    EXPECT_EQ(counts().answered(), client_count);
    EXPECT_EQ(counts().matched(), client_count);
    EXPECT_TRUE(plane_.take_sent().empty());
    for (std::size_t i = 0; i < GetParam(); ++i)
        EXPECT_GT(plane_.plane->core(i).host_counters().datagrams_received, client_count / GetParam() / 4);
    plane_.pass(300ms);
    EXPECT_EQ(counts().expired() + counts().unmatched(), 0u);
}

TEST_P(DatagramPlane, ATakeoverSendsWhatThePrimaryDidNotAnswer) {
    constexpr std::uint16_t answered = 150;
    mirror_requests();
    mirror_answers(answered);
    const TakeoverRecord record = plane_.take_over();
    EXPECT_EQ(record.report.datagrams, client_count - answered);
    const auto released = take_answers();
    EXPECT_EQ(released.size(), std::size_t{client_count - answered});
    for (const auto& [to, text] : released)
        EXPECT_EQ(text, text_of(static_cast<std::uint16_t>(to.port - 40000)));

    for (std::uint16_t i = 0; i < client_count; ++i) {
        const UdpPacket request{.link_destination = replica_link, .source = client(i), .payload = text_of(i)};
        plane_.service->push(stack::test::encode(request), 0, (i + 1u) % plane_.service->queues());
    }
    plane_.settle();
    EXPECT_EQ(take_answers().size(), std::size_t{client_count});
    EXPECT_EQ(plane_.sum(&stack::Counters::drop_udp_no_link), 0u);
}

TEST_P(DatagramPlane, AFrameThatThePortCheckedIsNotCheckedOnAnotherCore) {
    for (std::uint16_t i = 0; i < client_count; ++i) {
        // A sum that would be refused shows that nobody looks at it.
        const UdpPacket request{.source = client(i), .payload = text_of(i), .checksum = 0x1234};
        plane_.tap->push(stack::test::encode(request), 0, i % plane_.tap->queues(), true);
    }
    plane_.settle();
    EXPECT_EQ(counts().received(), client_count);
    EXPECT_EQ(plane_.sum(&stack::Counters::drop_udp_checksum), 0u);
}

TEST(DatagramPlaneOffload, EveryCoreLeavesTheSumToAServicePortThatFillsItIn) {
    // One queue: what the other core sends goes through core 0.
    Plane plane({.cores = 2, .offloads = {.transmit_checksums = true}, .udp = true});
    plane.take_over();
    (void)plane.take_sent();
    for (std::uint16_t i = 0; i < client_count; ++i) {
        const UdpPacket request{.link_destination = replica_link, .source = client(i), .payload = text_of(i)};
        plane.service->push(stack::test::encode(request));
    }
    plane.settle();
    auto frames = plane.take_sent();
    ASSERT_EQ(frames.size(), client_count);
    for (auto& frame : frames) {
        EXPECT_FALSE(decode_datagram(frame));
        stack::test::fill_checksum(frame);
        EXPECT_TRUE(decode_datagram(frame));
    }
}

// The first core reads both taps, and gives most of what it reads to others.
TEST(DatagramPlaneTaps, TwoShowEachDatagramOnce) {
    for (const std::size_t cores : {1u, 3u}) {
        Plane plane({.cores = cores, .taps = 2, .udp = true});
        for (std::uint16_t i = 0; i < client_count; ++i)
            for (auto* tap : plane.taps)
                tap->push(stack::test::encode(UdpPacket{.source = client(i), .payload = text_of(i)}));
        plane.settle();
        EXPECT_EQ(plane.sum(&stack::Counters::udp_datagrams_received), client_count);
        EXPECT_EQ(plane.sum(&stack::Counters::udp_tap_copies), client_count);
        for (std::uint16_t i = 0; i < client_count; ++i)
            for (auto* tap : plane.taps)
                tap->push(stack::test::encode(udp_answer(text_of(i), client(i))));
        plane.settle();
        EXPECT_EQ(plane.sum(&stack::Counters::udp_answers_matched), client_count);
        plane.pass(300ms);
        EXPECT_EQ(plane.sum(&stack::Counters::udp_primary_unmatched), 0u);
    }
}

// The ports of a service over TCP whose input must keep its order, and over UDP, where it need not.
TEST(DatagramPlaneFragments, TheSamePortsOverUdpAreAnotherFlow) {
    class Ordered final : public shadow_app::Application {
      public:
        bool needs_input_order() const override { return true; }
        std::size_t received(shadow_app::Connection&, std::span<const std::byte> bytes) override {
            return bytes.size();
        }
    };
    Plane plane({.cores = 3,
                 .make_application = [](std::string_view) { return std::make_unique<Ordered>(); },
                 .udp = true});
    constexpr std::uint16_t count = 60;
    for (std::uint16_t i = 0; i < count; ++i) {
        const UdpPacket request{.source = client(i), .payload = std::string(3000, 'u')};
        for (const auto& piece : stack::test::pieces_of(stack::test::encode(request), 1480, i))
            plane.tap->push(piece);
        plane.settle();
    }
    EXPECT_EQ(plane.sum(&stack::Counters::udp_datagrams_received), count);
    for (std::size_t i = 0; i < 3; ++i)
        EXPECT_GT(plane.plane->core(i).stack().counters().udp_datagrams_received, 0u)
            << "as if every flow belonged to the core of the TCP service";
}

TEST_P(DatagramPlane, TellsAnswersThatDiffer) {
    mirror_requests();
    for (std::uint16_t i = 0; i < client_count; ++i)
        push(udp_answer("something else", client(i)), i);
    plane_.settle();
    plane_.pass(300ms);
    EXPECT_EQ(counts().matched(), 0u);
    EXPECT_EQ(counts().expired(), client_count);
    EXPECT_EQ(counts().unmatched(), client_count);
    EXPECT_EQ(plane_.take_over().report.datagrams, 0u);
}

}  // namespace
}  // namespace understudy::tools::test
