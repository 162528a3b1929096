// Several cores on one mirror: each flow on one of them, and a takeover of all at once.
#include "tools/daemon/data_plane.hh"

#include <gtest/gtest.h>

#include <future>
#include <map>
#include <set>

#include "shadow_app/registry.hh"
#include "tests/unit/tools/plane_harness.hh"
#include "tools/daemon/status.hh"

namespace understudy::tools::test {
namespace {

std::vector<Conversation> conversations(std::uint16_t count) {
    std::vector<Conversation> made;
    for (std::uint16_t i = 0; i < count; ++i)
        made.emplace_back(i);
    return made;
}

struct Case {
    std::size_t cores;
    std::size_t tap_queues;
    std::size_t service_queues;
};

class DataPlaneOf : public ::testing::TestWithParam<Case> {
  protected:
    Plane::Shape shape() const {
        return {.cores = GetParam().cores,
                .tap_queues = GetParam().tap_queues,
                .service_queues = GetParam().service_queues};
    }
};

INSTANTIATE_TEST_SUITE_P(Shapes, DataPlaneOf,
                         ::testing::Values(Case{1, 1, 1}, Case{2, 1, 1}, Case{2, 2, 2}, Case{4, 1, 1},
                                           Case{4, 4, 4}, Case{4, 2, 3}, Case{3, 3, 1}),
                         [](const auto& shape) {
                             return "Cores" + std::to_string(shape.param.cores) + "Taps" +
                                    std::to_string(shape.param.tap_queues) + "Service" +
                                    std::to_string(shape.param.service_queues);
                         });

// The mirror puts the two directions of a flow on different queues, the worst that hardware can do.
TEST_P(DataPlaneOf, BothDirectionsMeetOnOneCore) {
    Plane plane(shape());
    auto clients = conversations(200);
    for (std::size_t i = 0; i < clients.size(); ++i)
        plane.mirror_handshake(clients[i], i);
    plane.settle();
    for (std::size_t i = 0; i < clients.size(); ++i)
        plane.mirror_echo(clients[i], "request " + std::to_string(i), i);
    plane.settle();
    const CoverageCount count = plane.coverage();
    EXPECT_EQ(count.open, clients.size());
    EXPECT_EQ(count.covered, clients.size());
    EXPECT_EQ(plane.sum(&stack::Counters::divergences), 0u);
    EXPECT_EQ(plane.sum(&Core::handover_lost), 0u);
    EXPECT_TRUE(plane.take_sent().empty());
    for (std::size_t i = 0; i < GetParam().cores; ++i)
        EXPECT_GT(plane.plane->core(i).stack().connection_count(), clients.size() / GetParam().cores / 4);
}

TEST_P(DataPlaneOf, ATakeoverCarriesAllConnections) {
    Plane plane(shape());
    auto clients = conversations(200);
    for (std::size_t i = 0; i < clients.size(); ++i)
        plane.mirror_handshake(clients[i], i);
    plane.settle();
    // Still in the ports when the decision falls.
    for (std::size_t i = 0; i < clients.size(); ++i)
        plane.mirror_echo(clients[i], "request " + std::to_string(i), i);
    EXPECT_TRUE(plane.take_sent().empty());
    const TakeoverRecord record = plane.take_over();
    EXPECT_EQ(record.report.promoted, clients.size());
    EXPECT_EQ(record.report.reset, 0u);
    EXPECT_EQ(record.coverage.open, clients.size());
    EXPECT_EQ(record.drained_frames, clients.size() * 3);
    (void)plane.take_sent();

    for (std::size_t i = 0; i < clients.size(); ++i)
        plane.arrive(clients[i].to_replica(clients[i].request("more " + std::to_string(i))), i + 1);
    plane.settle();
    std::map<stack::Endpoint, std::string> answers;
    for (const auto& frame : plane.take_sent())
        if (const auto packet = stack::test::decode(frame)) {
            EXPECT_FALSE(packet->has(TcpFlags::rst));
            answers[packet->destination] += packet->payload;
        }
    for (std::size_t i = 0; i < clients.size(); ++i)
        EXPECT_EQ(answers[clients[i].client()], "more " + std::to_string(i));
}

TEST_P(DataPlaneOf, OneCoreAnnouncesBeforeAnyFrameOfAnother) {
    Plane plane(shape());
    auto clients = conversations(50);
    for (std::size_t i = 0; i < clients.size(); ++i) {
        plane.mirror_handshake(clients[i], i);
        plane.mirror(clients[i].request("unanswered"), i);
    }
    plane.settle();
    plane.take_over();
    plane.settle();
    const Frames first = plane.service->take_sent(0);
    ASSERT_GE(first.size(), 2u);
    EXPECT_TRUE(is_arp(first[0]) && is_arp(first[1]));
    Frames all = plane.take_sent();
    all.insert(all.end(), first.begin(), first.end());
    EXPECT_EQ(std::count_if(all.begin(), all.end(), is_arp), 3) << "and a question for other owners";
    EXPECT_EQ(plane.sum(&stack::Counters::arp_announcements_sent), 2u);
}

TEST_P(DataPlaneOf, GoesBackToSilentAndMayTakeOverAgain) {
    Plane plane(shape());
    auto clients = conversations(20);
    for (std::size_t i = 0; i < clients.size(); ++i)
        plane.mirror_handshake(clients[i], i);
    plane.settle();
    plane.take_over();
    plane.settle();
    (void)plane.take_sent();
    bool muted = false;
    EXPECT_TRUE(plane.plane->mute([&muted] { muted = true; }));
    plane.settle();
    EXPECT_TRUE(muted);
    EXPECT_EQ(plane.sum(&stack::Counters::connections_muted), clients.size());
    plane.arrive(clients[0].to_replica(clients[0].request("to nobody")));
    plane.settle();
    EXPECT_TRUE(plane.take_sent().empty());

    Conversation later(200);
    plane.mirror_handshake(later);
    plane.settle();
    EXPECT_EQ(plane.take_over().report.promoted, 1u);
    plane.settle();
    EXPECT_FALSE(plane.take_sent().empty());
}

// Each turns as often as it likes; the one that does not keeps the gate closed for all.
TEST_P(DataPlaneOf, NothingLeavesBeforeEveryCoreHasDrained) {
    for (std::size_t late = 0; late < GetParam().cores; ++late) {
        Plane plane(shape());
        auto clients = conversations(40);
        for (std::size_t i = 0; i < clients.size(); ++i) {
            plane.mirror_handshake(clients[i], i);
            plane.mirror(clients[i].request("unanswered"), i);
        }
        plane.settle();
        bool reported = false;
        plane.plane->take_over([&reported](const TakeoverRecord&) { reported = true; });
        EXPECT_FALSE(plane.plane->take_over([](const TakeoverRecord&) {})) << "one is under way";
        for (int turn = 0; turn < 20; ++turn)
            for (std::size_t i = 0; i < GetParam().cores; ++i)
                if (i != late) plane.plane->core(i).turn();
        EXPECT_TRUE(plane.take_sent().empty());
        EXPECT_FALSE(reported);
        for (int turn = 0; turn < 10; ++turn)
            for (std::size_t i = 0; i < GetParam().cores; ++i)
                plane.plane->core(i).turn();
        EXPECT_TRUE(reported);
        EXPECT_GE(plane.take_sent().size(), 2 + clients.size());
    }
}

TEST_P(DataPlaneOf, AMasterServesNewClientsAndAnswersArpOnce) {
    Plane plane(shape());
    plane.take_over();
    (void)plane.take_sent();
    auto clients = conversations(40);
    for (std::size_t i = 0; i < clients.size(); ++i)
        plane.arrive(clients[i].to_replica(clients[i].syn()), i);
    plane.settle();
    std::multiset<stack::Endpoint> answered;
    for (const auto& frame : plane.take_sent())
        if (const auto packet = stack::test::decode(frame);
            packet && packet->is(TcpFlags::syn | TcpFlags::ack))
            answered.insert(packet->destination);
    for (const Conversation& client : clients)
        EXPECT_EQ(answered.count(client.client()), 1u);

    std::vector<std::byte> question(14 + stack::wire::arp_length);
    stack::wire::write_ethernet(question,
                                {stack::LinkAddress::broadcast(), client_link, stack::wire::EtherType::arp});
    stack::wire::write_arp(std::span(question).subspan(14),
                           {stack::wire::ArpOperation::request, client_link, clients[0].client().address,
                            stack::LinkAddress{}, service_endpoint.address});
    plane.service->push(question, 0, GetParam().service_queues - 1);
    plane.settle();
    EXPECT_EQ(plane.take_sent().size(), 1u);
}

TEST(DataPlane, RefusesWhatCannotWork) {
    EXPECT_THROW(Plane({.cores = 0}), std::invalid_argument);
    EXPECT_THROW(Plane({.cores = 65}), std::invalid_argument);
    EXPECT_THROW(Plane({.cores = 2, .tap_queues = 3}), std::invalid_argument);
    EXPECT_THROW(Plane({.cores = 2, .service_queues = 3}), std::invalid_argument);
    EXPECT_THROW(Plane({.make_application = [](std::string_view) { return nullptr; }}),
                 std::invalid_argument);
}

// Keeps what it hears from all clients, in the order in which it hears it.
class Listener final : public shadow_app::Application {
  public:
    explicit Listener(std::string& heard) : heard_(heard) {}
    bool needs_input_order() const override { return true; }
    std::size_t received(shadow_app::Connection&, std::span<const std::byte> bytes) override {
        heard_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        return bytes.size();
    }

  private:
    std::string& heard_;
};

TEST(DataPlane, InputThatNeedsOneOrderKeepsIt) {
    for (unsigned seed = 0; seed < 8; ++seed) {
        std::string heard, said;
        Plane plane({.cores = 4, .make_application = [&heard](std::string_view) {
                         return std::make_unique<Listener>(heard);
                     }});
        auto clients = conversations(30);
        for (auto& client : clients)
            plane.mirror_handshake(client);
        plane.settle();
        std::uint32_t random = seed * 7919 + 1;
        const auto below = [&random](std::uint32_t bound) {
            random = random * 1664525 + 1013904223;
            return (random >> 16) % bound;
        };
        for (int i = 0; i < 2000; ++i) {
            const std::string text(1, static_cast<char>('a' + i % 26));
            plane.mirror(clients[below(30)].request(text));
            said += text;
            // The cores run when they like.
            if (below(4) == 0) plane.plane->core(below(4)).turn();
            plane.now += 1us;
        }
        plane.settle();
        EXPECT_EQ(heard, said);
    }
}

TEST(DataPlane, AProgramThatMayHaveAStateIsCoveredOnceItIsAttestedOnEveryCore) {
    std::string heard;
    Plane plane({.make_application = [&heard](std::string_view) { return std::make_unique<Listener>(heard); }});
    for (Conversation& client : conversations(8))
        plane.mirror_handshake(client);
    plane.settle();
    const std::vector<std::pair<stack::Coverage, std::uint32_t>> none = {{stack::Coverage::state, 8}};
    EXPECT_EQ(plane.coverage().by_coverage, none);
    for (std::size_t i = 0; i < plane.plane->cores(); ++i)
        EXPECT_TRUE(plane.plane->core(i).attest(service_endpoint));
    EXPECT_EQ(plane.coverage().covered, 8u);
}

TEST(DataPlane, InputThatNeedsOneOrderComesByOneQueue) {
    std::string heard;
    EXPECT_THROW(
        Plane({.tap_queues = 2,
               .make_application = [&heard](std::string_view) { return std::make_unique<Listener>(heard); }}),
        std::invalid_argument);
}

// Shows every frame of conversations on those of two taps that `shows` names.
class TwoTaps : public testing::TestWithParam<std::size_t> {
  protected:
    template <typename Shows>
    void converse(Shows shows) {
        std::size_t number = 0;
        const auto frame = [&](const Packet& packet) {
            for (std::size_t which = 0; which < 2; ++which)
                if (shows(number, which)) plane.mirror_on(which, packet);
            ++number;
            plane.settle();
        };
        for (Conversation& client : clients) {
            frame(client.syn());
            frame(client.syn_ack());
            frame(client.ack());
        }
        for (int round = 0; round < 20; ++round) {
            for (Conversation& client : clients) {
                frame(client.request("ping"));
                frame(client.answer("ping"));
            }
            plane.pass(1ms);
        }
        for (Conversation& client : clients)
            frame(client.ack());
        plane.pass(100ms);
    }

    Plane plane{{.cores = GetParam(), .taps = 2}};
    std::vector<Conversation> clients = conversations(16);
};

TEST_P(TwoTaps, WhatOneMissesTheOtherRepairs) {
    // Between them they miss nothing; each misses half, in a pattern that meets every kind of frame.
    converse([](std::size_t number, std::size_t which) { return number * 7 / 5 % 2 == which; });
    EXPECT_EQ(plane.coverage().open, clients.size());
    EXPECT_EQ(plane.coverage().covered, clients.size());
    EXPECT_EQ(plane.sum(&stack::Counters::holes) + plane.sum(&stack::Counters::uncompared), 0u);
    EXPECT_EQ(plane.take_over().report.promoted, clients.size());
}

TEST_P(TwoTaps, WhatBothMissIsAHole) {
    converse([](std::size_t number, std::size_t which) { return number % 97 != 50 && number % 2 == which; });
    EXPECT_LT(plane.coverage().covered, clients.size());
}

TEST_P(TwoTaps, CopiesAreCountedAndChangeNothing) {
    converse([](std::size_t, std::size_t) { return true; });
    EXPECT_EQ(plane.coverage().covered, clients.size());
    EXPECT_EQ(plane.sum(&stack::Counters::tcp_duplicate_segments), 2 * 20 * clients.size());
    EXPECT_EQ(plane.sum(&stack::Counters::seeds_retransmitted), clients.size());
    EXPECT_EQ(plane.sum(&stack::Counters::connections_seeded), clients.size());
    EXPECT_EQ(plane.take_over().report.promoted, clients.size());
}

INSTANTIATE_TEST_SUITE_P(Cores, TwoTaps, testing::Values(std::size_t{1}, std::size_t{2}));

TEST(DataPlane, AFullRingIsACountedLossAndAHole) {
    Plane plane({.cores = 2});
    auto clients = conversations(64);
    for (auto& client : clients)
        plane.mirror_handshake(client);
    plane.settle();
    // Core 1 does not run while more arrives than its ring holds.
    const std::string text(1400, 'x');
    for (int round = 0; round < 8; ++round)
        for (auto& client : clients)
            plane.mirror(client.request(text));
    while (plane.plane->core(0).turn() != 0) {
    }
    const std::uint64_t lost = plane.plane->core(0).handover_lost();
    EXPECT_GT(lost, 0u);
    EXPECT_LT(lost, 8 * clients.size());
    plane.settle();
    // The primary says what it received.
    for (auto& client : clients)
        plane.mirror(client.answer(""));
    plane.pass(100ms);
    const CoverageCount count = plane.coverage();
    EXPECT_EQ(count.open, clients.size());
    EXPECT_GE(count.covered, plane.plane->core(0).stack().connection_count());
    EXPECT_LT(count.covered, clients.size());
}

TEST(DataPlane, DrainingWaitsForRoomInsteadOfLosing) {
    Plane plane({.cores = 2});
    auto clients = conversations(64);
    for (auto& client : clients)
        plane.mirror_handshake(client);
    plane.settle();
    const std::string text(1400, 'x');
    for (int round = 0; round < 20; ++round)
        for (auto& client : clients)
            plane.mirror_echo(client, text);
    const TakeoverRecord record = plane.take_over();
    EXPECT_EQ(plane.sum(&Core::handover_lost), 0u);
    EXPECT_EQ(record.drained_frames, 20 * 3 * clients.size());
    EXPECT_EQ(record.report.promoted, clients.size());
}

TEST(DataPlane, TapsAreReadAsFarAsTheSlowestCore) {
    Plane plane({.cores = 2, .tap_queues = 2});
    EXPECT_FALSE(plane.plane->newest_from_primary());
    const Conversation client(1);
    plane.mirror(client.syn_ack(), 1);
    plane.plane->core(0).turn();
    EXPECT_EQ(plane.plane->taps_read_until(), Instant{});
    EXPECT_FALSE(plane.plane->newest_from_primary());
    plane.now += 1ms;
    plane.plane->core(1).turn();
    EXPECT_EQ(plane.plane->newest_from_primary(), plane.now);
    EXPECT_EQ(plane.plane->taps_read_until(), plane.now - 1ms);
    // A core without a queue of the tap has nothing to read.
    Plane one_queue({.cores = 2, .tap_queues = 1});
    one_queue.plane->core(0).turn();
    EXPECT_EQ(one_queue.plane->taps_read_until(), one_queue.now);
}

TEST(DataPlane, AnswersAreThoseOfAllCores) {
    Plane plane({.cores = 3});
    auto clients = conversations(100);
    for (auto& client : clients)
        plane.mirror_handshake(client);
    plane.settle();
    std::vector<proto::v1::StatusResponse> parts;
    std::vector<CoreCounters> counters;
    for (std::size_t i = 0; i < 3; ++i) {
        parts.push_back(core_status(*plane.plane, plane.plane->core(i)));
        counters.push_back(core_counters(plane.plane->core(i)));
    }
    proto::v1::StatusResponse status;
    add_core_status(status, parts);
    ASSERT_EQ(status.ports_size(), 2);
    EXPECT_EQ(status.ports(0).use(), "tap");
    EXPECT_EQ(status.ports(1).use(), "service");
    EXPECT_EQ(status.ports(0).received_frames(), 300u);
    EXPECT_EQ(status.connections().open(), 100u);
    EXPECT_EQ(status.connections().covered(), 100u);
    EXPECT_EQ(status.connections().by_coverage().at("covered"), 100u);

    proto::v1::CountersResponse response;
    add_core_counters(response, counters);
    std::map<std::string, std::uint64_t> values;
    for (const auto& counter : response.counters()) {
        EXPECT_FALSE(values.contains(counter.name())) << counter.name();
        values[counter.name()] = counter.value();
    }
    EXPECT_EQ(values.at("stack.connections_seeded"), 100u);
    EXPECT_EQ(values.at("tap.from_client"), 200u);
    EXPECT_EQ(values.at("core.handed_over"), values.at("core0.handed_over"));
    EXPECT_GT(values.at("core0.handed_over"), 0u);
    EXPECT_EQ(values.at("core.handover_lost"), 0u);

    std::multiset<std::string> listed;
    std::uint32_t at = 0;
    do {
        const ConnectionCursor cursor(at);
        ASSERT_LT(cursor.core, 3u);
        const auto page = connection_page(plane.plane->core(cursor.core), 3, cursor, 7);
        EXPECT_LE(page.rows_size(), 7);
        for (const auto& row : page.rows())
            listed.insert(row.client());
        ASSERT_TRUE(page.next_cursor() == 0 || page.next_cursor() > at);
        at = page.next_cursor();
    } while (at != 0);
    EXPECT_EQ(listed.size(), 100u);
    EXPECT_EQ(std::set(listed.begin(), listed.end()).size(), 100u);
}

// The one test with the loops' own threads, and the machine's clock.
TEST(DataPlane, CoresRunAsThreads) {
    Plane plane({.cores = 2, .tap_queues = 2, .service_queues = 1, .clock = stack_now});
    auto clients = conversations(100);
    for (std::size_t i = 0; i < clients.size(); ++i) {
        plane.mirror_handshake(clients[i], i);
        plane.mirror(clients[i].request("unanswered"), i);
    }
    plane.plane->start();
    std::promise<std::uint32_t> open;
    ASSERT_TRUE(plane.plane->ask_each<std::uint32_t>(
        [](const Core& core) { return static_cast<std::uint32_t>(core.polls() != 0); },
        [&open](const std::vector<std::uint32_t>& answers) { open.set_value(answers[0] + answers[1]); }));
    EXPECT_EQ(open.get_future().get(), 2u);
    std::promise<TakeoverRecord> taken;
    ASSERT_TRUE(plane.plane->take_over([&taken](const TakeoverRecord& record) { taken.set_value(record); }));
    const TakeoverRecord record = taken.get_future().get();
    EXPECT_EQ(record.report.promoted, clients.size());
    EXPECT_LE(record.drained_at, record.gate_open_at);
    EXPECT_LE(record.gate_open_at, record.announced_at);
    EXPECT_LE(record.announced_at, record.promoted_at);
    plane.plane->stop();
    plane.settle();
    const Frames sent = plane.take_sent();
    ASSERT_GE(sent.size(), 2 + clients.size());
    EXPECT_TRUE(is_arp(sent[0]) && is_arp(sent[1]));
}

}  // namespace
}  // namespace understudy::tools::test
