// UDP services: what is taken from a wire, what is withheld, and what becomes of it at promotion (rules.md
// 27).
#include "tests/unit/stack/udp_host.hh"

namespace understudy::stack::test {
namespace {

class UdpMaster : public UdpHost {
  protected:
    UdpMaster() : UdpHost(udp_settings(Mode::master)) {}
};

class UdpSilent : public UdpHost {
  protected:
    UdpSilent() : UdpHost(udp_settings(Mode::silent)) {}
    PromotionReport promote() { return host.stack.promote(host.now); }
};

using Log = std::vector<std::string>;

TEST_F(UdpMaster, HandsADatagramToTheApplicationAndSendsItsAnswer) {
    client("ping");
    EXPECT_EQ(host.events.input, "ping");
    EXPECT_EQ(host.events.log, Log{"datagram of " + to_string(client_endpoint)});
    EXPECT_TRUE(answer("pong"));
    const auto reply = sent();
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->payload, "pong");
    EXPECT_EQ(reply->source, service_endpoint);
    EXPECT_EQ(reply->destination, client_endpoint);
    EXPECT_EQ(reply->link_source, replica_link);
    EXPECT_EQ(reply->link_destination, client_link);
    EXPECT_EQ(counters().udp_datagrams_received, 1u);
    EXPECT_EQ(counters().udp_datagrams_sent, 1u);
}

TEST_F(UdpMaster, AnEmptyDatagramIsADatagram) {
    client("");
    EXPECT_EQ(host.events.log.size(), 1u);
    EXPECT_TRUE(answer(""));
    EXPECT_EQ(sent_text(), "");
}

TEST_F(UdpMaster, WithoutAChecksumIsTakenOverIpv4) {
    Datagram datagram = of_client("ping");
    datagram.link_destination = replica_link;
    datagram.checksum = 0;
    inject(datagram, Source::service);
    EXPECT_EQ(host.events.input, "ping");
}

TEST_F(UdpMaster, AWrongChecksumIsRefused) {
    Datagram datagram = of_client("ping");
    datagram.link_destination = replica_link;
    datagram.checksum = 0x1234;
    inject(datagram, Source::service);
    EXPECT_EQ(host.events.input, "");
    EXPECT_EQ(counters().drop_udp_checksum, 1u);
}

TEST_F(UdpMaster, ALengthThatCannotBeIsRefused) {
    for (const int error : {1, -5, -12}) {
        Datagram datagram = of_client("ping");
        datagram.link_destination = replica_link;
        datagram.length_error = error;
        datagram.checksum = 0;
        inject(datagram, Source::service);
    }
    EXPECT_EQ(counters().drop_malformed_udp, 3u);
    EXPECT_EQ(host.events.log, Log{});
}

TEST_F(UdpMaster, WhatFollowsTheDatagramInItsPacketIsNotData) {
    Datagram datagram = of_client("ping");
    datagram.link_destination = replica_link;
    datagram.trailer = "rest";
    inject(datagram, Source::service);
    EXPECT_EQ(host.events.input, "ping");
}

TEST_F(UdpMaster, AnotherPortIsNoService) {
    Datagram datagram = of_client("ping");
    datagram.link_destination = replica_link;
    datagram.destination.port = 7001;
    inject(datagram, Source::service);
    EXPECT_EQ(counters().drop_udp_no_service, 1u);
    EXPECT_EQ(host.events.log, Log{});
}

TEST_F(UdpMaster, AddressesThatAreNoSingleHostsAreRefused) {
    for (const char* source : {"0.0.0.0:53", "224.0.0.1:53", "255.255.255.255:53", "127.0.0.1:53"}) {
        Datagram datagram = of_client("ping");
        datagram.link_destination = replica_link;
        datagram.source = *parse_endpoint(source);
        inject(datagram, Source::service);
    }
    Datagram broadcast = of_client("ping");
    broadcast.link_destination = LinkAddress::broadcast();
    inject(broadcast, Source::service);
    EXPECT_EQ(counters().drop_udp_bad_peer, 5u);
    EXPECT_EQ(host.events.log, Log{});
}

TEST_F(UdpMaster, AnAnswerThatCannotBeSentIsRefused) {
    client("ping");
    EXPECT_FALSE(answer(std::string(1473, 'x')));
    EXPECT_FALSE(answer("x", {client_endpoint.address, 0}));
    EXPECT_FALSE(answer("x", *parse_endpoint("255.255.255.255:9")));
    EXPECT_FALSE(host.stack.send_datagram(*parse_endpoint("10.77.0.1:7001"), client_endpoint, as_bytes("x"),
                                          host.now));
    EXPECT_EQ(counters().drop_udp_unsendable, 4u);
    EXPECT_FALSE(answer("x", *parse_endpoint("10.77.0.101:9")));
    EXPECT_EQ(counters().drop_udp_no_link, 1u);
    EXPECT_EQ(sent(), std::nullopt);
    EXPECT_TRUE(answer(std::string(1472, 'x')));
}

TEST_F(UdpMaster, AChecksumOfZeroIsSentAsOnes) {
    client("ping");
    // Found by search: the sum over these two bytes and the headers is all ones.
    for (unsigned value = 0; value <= 0xffff; ++value) {
        const char text[] = {static_cast<char>(value >> 8), static_cast<char>(value)};
        answer({text, 2});
        const auto& frame = host.wire.frames.back();
        const auto sum = wire::load16(frame.data() + wire::ethernet_header_length + wire::ipv4_header_length +
                                      wire::udp_checksum_offset);
        ASSERT_NE(sum, 0u) << value;
        if (sum == 0xffff) return;
        host.wire.frames.clear();
    }
    ADD_FAILURE() << "no two bytes gave the checksum zero";
}

TEST_F(UdpMaster, FollowsAClientThatMovedToAnotherLink) {
    client("ping");
    Datagram moved = of_client("ping");
    moved.link_source = *parse_link_address("02:00:00:00:00:0d");
    moved.link_destination = replica_link;
    inject(moved, Source::service);
    answer("pong");
    EXPECT_EQ(sent()->link_destination, moved.link_source);
}

TEST_F(UdpSilent, WithholdsEveryAnswer) {
    client_on_tap("ping");
    EXPECT_EQ(host.events.input, "ping");
    EXPECT_TRUE(answer("pong"));
    host.pass(1s);
    EXPECT_TRUE(host.wire.frames.empty());
    EXPECT_EQ(counters().udp_answers_withheld, 1u);
    EXPECT_EQ(counters().withheld_frames, 0u);
    EXPECT_EQ(counters().udp_datagrams_sent, 0u);
}

TEST_F(UdpSilent, AnAnswerOfThePrimaryCancelsTheEqualOne) {
    client_on_tap("ping");
    answer("pong");
    primary_on_tap("pong");
    EXPECT_EQ(counters().udp_answers_matched, 1u);
    EXPECT_EQ(host.stack.next_deadline(), std::nullopt);
    EXPECT_EQ(promote().datagrams, 0u);
    EXPECT_EQ(sent(), std::nullopt);
}

TEST_F(UdpSilent, AnAnswerOfThePrimaryThatComesFirstCancelsTheEqualOne) {
    client_on_tap("ping");
    primary_on_tap("pong");
    answer("pong");
    EXPECT_EQ(counters().udp_answers_matched, 1u);
    EXPECT_EQ(promote().datagrams, 0u);
    EXPECT_EQ(sent(), std::nullopt);
    EXPECT_EQ(counters().udp_primary_unmatched, 0u);
}

TEST_F(UdpSilent, WhatThePrimaryDidNotAnswerIsSentAtPromotionInOrder) {
    client_on_tap("one");
    answer("1");
    client_on_tap("two");
    answer("2");
    client_on_tap("three");
    answer("3");
    primary_on_tap("2");
    host.pass(199ms);
    EXPECT_EQ(promote().datagrams, 2u);
    EXPECT_EQ(sent_text(), "1");
    EXPECT_EQ(sent_text(), "3");
    EXPECT_EQ(sent(), std::nullopt);
    EXPECT_EQ(counters().udp_answers_released, 2u);
}

TEST_F(UdpSilent, AnAnswerIsNotKeptLongerThanTheHold) {
    client_on_tap("ping");
    answer("pong");
    EXPECT_EQ(host.stack.next_deadline(), host.now + 200ms);
    host.pass(200ms);
    EXPECT_EQ(counters().udp_answers_expired, 1u);
    EXPECT_EQ(promote().datagrams, 0u);
    EXPECT_EQ(sent(), std::nullopt);
}

TEST_F(UdpSilent, AnAnswerOfThePrimaryThatTheApplicationNeverGivesIsCounted) {
    client_on_tap("ping");
    answer("pong");
    primary_on_tap("bang");
    host.pass(200ms);
    EXPECT_EQ(counters().udp_primary_unmatched, 1u);
    EXPECT_EQ(counters().udp_answers_expired, 1u);
}

// A client that asks twice is answered twice: each answer needs its own counterpart.
TEST_F(UdpSilent, EqualAnswersAreCancelledOneByOne) {
    client_on_tap("ping");
    answer("pong");
    client_on_tap("ping");
    answer("pong");
    primary_on_tap("pong");
    EXPECT_EQ(promote().datagrams, 1u);
    EXPECT_EQ(sent_text(), "pong");
}

TEST_F(UdpSilent, WhatWaitsIsBounded) {
    Settings settings = udp_settings(Mode::silent);
    settings.udp.hold_datagrams = 2;
    Host bounded(settings);
    const auto frame = encode(of_client("ping"));
    const ReceivedFrame received{Source::tap_from_client, frame, static_cast<std::uint32_t>(frame.size())};
    bounded.stack.receive(std::span(&received, 1), bounded.now);
    for (const char* text : {"1", "2", "3"})
        bounded.stack.send_datagram(service_endpoint, client_endpoint, as_bytes(text), bounded.now);
    EXPECT_EQ(bounded.stack.counters().udp_hold_overflow, 1u);
    EXPECT_EQ(bounded.stack.promote(bounded.now).datagrams, 2u);
}

TEST_F(UdpSilent, AnswersGoWhereThePrimarySentThem) {
    const LinkAddress gateway = *parse_link_address("02:00:00:00:00:fe");
    Datagram earlier = of_primary("hello");
    earlier.link_destination = gateway;
    inject(earlier, Source::tap_from_primary);
    client_on_tap("ping");
    answer("pong");
    promote();
    EXPECT_EQ(sent()->link_destination, gateway);
}

TEST_F(UdpSilent, ItsOwnPortHearsNothing) {
    client("ping");
    EXPECT_EQ(host.events.log, Log{});
    EXPECT_EQ(counters().drop_silent, 1u);
}

TEST_F(UdpSilent, AfterPromotionACopyOnTheTapIsNotInputAgain) {
    client_on_tap("before");
    promote();
    client("after");
    Datagram copy = of_client("after");
    copy.link_destination = replica_link;
    inject(copy, Source::tap_from_client);
    EXPECT_EQ(host.events.input, "beforeafter");
    EXPECT_EQ(counters().drop_udp_tap_copy, 1u);
}

// The client has not heard the announcement yet: nothing of this comes by the service port.
TEST_F(UdpSilent, AfterPromotionWhatIsStillAddressedToThePrimaryIsInput) {
    promote();
    client_on_tap("late");
    EXPECT_EQ(host.events.input, "late");
    EXPECT_TRUE(answer("late"));
    EXPECT_EQ(sent_text(), "late");
}

TEST_F(UdpSilent, AnUnfilledChecksumPassesOnlyWithTheSetting) {
    Datagram datagram = of_client("ping");
    datagram.checksum = wire::checksum_fold(
        wire::pseudo_header_sum(client_endpoint.address, service_endpoint.address, 17, 12));
    inject(datagram, Source::tap_from_client);
    EXPECT_EQ(counters().drop_udp_unfilled_checksum, 1u);
    EXPECT_EQ(host.events.input, "");
    Settings settings = udp_settings(Mode::silent);
    settings.shadow.accept_unfilled_checksums = true;
    Host trusting(settings);
    const auto frame = encode(datagram);
    const ReceivedFrame received{Source::tap_from_client, frame, static_cast<std::uint32_t>(frame.size())};
    trusting.stack.receive(std::span(&received, 1), trusting.now);
    EXPECT_EQ(trusting.events.input, "ping");
}

// rules.md 2: one order over TCP and UDP.
TEST_F(UdpMaster, InputOfBothKindsKeepsTheOrderOfOneBurst) {
    Packet syn;
    syn.tcp.seq = Seq(Host::client_isn);
    syn.tcp.flags.bits = TcpFlags::syn;
    syn.tcp.window = 1000;
    host.inject(syn);
    const auto answer = host.sent();
    ASSERT_TRUE(answer);
    host.server_isn = answer->tcp.seq.raw();
    std::vector<std::vector<std::byte>> frames;
    const auto add_datagram = [&](const char* text) {
        Datagram datagram = of_client(text);
        datagram.link_destination = replica_link;
        frames.push_back(encode(datagram));
    };
    const auto add_segment = [&](std::uint32_t offset, const char* text) {
        Packet packet;
        packet.tcp.seq = host.client_seq(offset);
        packet.tcp.ack = host.server_seq(0);
        packet.tcp.flags.bits = TcpFlags::ack;
        packet.tcp.window = 1000;
        packet.payload = text;
        frames.push_back(test::encode(packet));
    };
    add_datagram("a");
    add_datagram("b");
    add_segment(0, "c");
    add_datagram("d");
    add_segment(1, "e");
    add_segment(2, "f");
    add_datagram("g");
    std::vector<ReceivedFrame> burst;
    for (const auto& frame : frames)
        burst.push_back({Source::service, frame, static_cast<std::uint32_t>(frame.size())});
    host.stack.receive(burst, host.now);
    EXPECT_EQ(host.events.input, "abcdefg");
}

TEST_F(UdpSilent, EachServiceTellsHowFarItsAnswersWereEqual) {
    client_on_tap("one");
    answer("equal");
    primary_on_tap("equal");
    client_on_tap("two");
    answer("mine");
    primary_on_tap("its");
    host.pass(1s);
    const auto services = host.stack.datagram_services();
    ASSERT_EQ(services.size(), 1u);
    EXPECT_EQ(services[0].service, service_endpoint);
    EXPECT_EQ(services[0].received, 2u);
    EXPECT_EQ(services[0].answered, 2u);
    EXPECT_EQ(services[0].matched, 1u);
    EXPECT_EQ(services[0].expired, 1u);
    EXPECT_EQ(services[0].unmatched, 1u);
}

class UdpIpv6 : public UdpHost {
  protected:
    UdpIpv6() : UdpHost(settings()) {}
    static Settings settings() {
        Settings settings = settings_for(Mode::silent);
        settings.udp_services = {service6};
        return settings;
    }
    static Datagram request(std::string payload) {
        return {.source = client6, .destination = service6, .payload = std::move(payload)};
    }

    static inline const Endpoint client6 = *parse_endpoint("[fd00::9]:40000");
    static inline const Endpoint service6 = *parse_endpoint("[fd00::1]:7000");
};

TEST_F(UdpIpv6, IsServedLikeIpv4) {
    inject(request("one"), Source::tap_from_client);
    EXPECT_TRUE(host.stack.send_datagram(service6, client6, as_bytes("re: one"), host.now));
    EXPECT_FALSE(sent());
    EXPECT_EQ(host.stack.promote(host.now).datagrams, 1u);
    const auto datagram = sent();
    ASSERT_TRUE(datagram);
    EXPECT_EQ(datagram->payload, "re: one");
    EXPECT_EQ(datagram->source, service6);
    EXPECT_EQ(datagram->destination, client6);
}

TEST_F(UdpIpv6, WithoutAChecksumIsRefused) {
    Datagram datagram = request("one");
    datagram.checksum = 0;
    inject(datagram, Source::tap_from_client);
    EXPECT_EQ(host.events.input, "");
    EXPECT_EQ(counters().drop_udp_no_checksum, 1u);
}

TEST(UdpSettings, AHoldBelowZeroIsRefused) {
    Settings settings = udp_settings(Mode::silent);
    settings.udp.hold = -1ns;
    EXPECT_THROW(Host{settings}, std::invalid_argument);
}

}  // namespace
}  // namespace understudy::stack::test
