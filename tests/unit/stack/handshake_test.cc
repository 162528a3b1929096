// Connections as they begin: backlog and SYN cookies, active opens, and what their handshakes leave behind.
#include <gmock/gmock.h>

#include <set>

#include "stack/isn.hh"
#include "tests/unit/stack/master.hh"

namespace understudy::stack::test {
namespace {

using ::testing::ElementsAre;

class Backlog : public Master {
  protected:
    static Settings small(SynCookies cookies) {
        Settings settings = settings_for(Mode::master);
        settings.tcp.syn_backlog = 3;
        settings.tcp.syn_cookies = cookies;
        return settings;
    }
    explicit Backlog(SynCookies cookies = SynCookies::automatic) : Master(small(cookies)) {}

    Packet from_port(std::uint16_t port, Packet packet) {
        packet.source.port = port;
        return packet;
    }
    void fill() {
        for (std::uint16_t port = 1; port <= 3; ++port)
            host.inject(from_port(port, opening()));
        host.wire.frames.clear();
    }
};

TEST_F(Backlog, BeyondItCookiesAreSentAndNothingIsKept) {
    fill();
    for (std::uint16_t port = 100; port < 1100; ++port)
        host.inject(from_port(port, opening()));
    EXPECT_EQ(host.stack.connection_count(), 3u);
    EXPECT_EQ(host.stack.counters().syn_cookies_sent, 1000u);
}

TEST_F(Backlog, ACookieBringsTheConnectionBackWithItsOptions) {
    fill();
    timestamps = true;
    Packet packet = opening();
    packet.tcp.options.window_scale_present = true;
    packet.tcp.options.window_scale = 9;
    packet.tcp.options.mss = 1400;
    host.inject(packet);
    const auto answer = host.sent();
    ASSERT_TRUE(answer && answer->is(TcpFlags::syn | TcpFlags::ack));
    EXPECT_TRUE(answer->tcp.options.window_scale_present);
    host.server_isn = answer->tcp.seq.raw();
    tsecr = answer->tcp.options.tsval;
    host.inject(from_client(0, 0, TcpFlags::ack, "hello"));
    EXPECT_THAT(host.events.log, ElementsAre("accepted"));
    EXPECT_EQ(host.events.input, "hello");
    EXPECT_EQ(host.snapshot().snd_wnd, 20000u << 9);
    host.wire.frames.clear();
    host.send(std::string(3000, 'x'));
    const auto data = host.sent();
    EXPECT_EQ(data->payload.size(), 1300u - 12) << "the nearest size below";
    EXPECT_GE(data->tcp.options.tsval, tsecr) << "the clock goes on";
}

TEST_F(Backlog, WithoutTimestampsACookieAgreesOnNothing) {
    fill();
    Packet packet = opening();
    packet.tcp.options.window_scale_present = true;
    host.inject(packet);
    const auto answer = host.sent();
    EXPECT_FALSE(answer->tcp.options.window_scale_present);
    EXPECT_FALSE(answer->tcp.options.sack_permitted);
    host.server_isn = answer->tcp.seq.raw();
    host.inject(from_client(0, 0, TcpFlags::ack));
    EXPECT_EQ(host.snapshot().snd_wnd, 20000u);
}

TEST_F(Backlog, AGuessedOrOldCookieIsNone) {
    fill();
    host.inject(opening());
    const auto answer = host.sent();
    host.server_isn = answer->tcp.seq.raw() + 1000;
    host.inject(from_client(0, 0, TcpFlags::ack));
    EXPECT_TRUE(host.sent()->has(TcpFlags::rst));
    host.server_isn -= 1000;
    host.now += 180s;
    host.inject(from_client(0, 0, TcpFlags::ack));
    EXPECT_TRUE(host.sent()->has(TcpFlags::rst));
    EXPECT_TRUE(host.events.log.empty());
    EXPECT_EQ(host.stack.counters().syn_cookies_accepted, 0u);
}

TEST_F(Backlog, EstablishedConnectionsLeaveIt) {
    for (int i = 0; i < 10; ++i) {
        Packet packet = from_port(static_cast<std::uint16_t>(1000 + i), opening());
        host.inject(packet);
        const auto answer = host.sent();
        host.server_isn = answer->tcp.seq.raw();
        host.inject(from_port(packet.source.port, from_client(0, 0, TcpFlags::ack)));
    }
    EXPECT_EQ(host.events.log.size(), 10u);
    EXPECT_EQ(host.stack.counters().syn_cookies_sent, 0u);
}

class NoCookies : public Backlog {
  protected:
    NoCookies() : Backlog(SynCookies::off) {}
};

TEST_F(NoCookies, FurtherSynsAreDroppedUntilThereIsRoom) {
    fill();
    host.inject(opening());
    EXPECT_FALSE(host.sent());
    EXPECT_EQ(host.stack.counters().drop_syn_backlog, 1u);
    host.pass(70s);  // the half-open ones are given up
    host.wire.frames.clear();
    host.inject(opening());
    EXPECT_TRUE(host.sent());
}

class AlwaysCookies : public Backlog {
  protected:
    AlwaysCookies() : Backlog(SynCookies::always) {}
};

TEST_F(AlwaysCookies, KeepNoRecordOfAnySyn) {
    host.inject(opening());
    EXPECT_EQ(host.stack.connection_count(), 0u);
    host.server_isn = host.sent()->tcp.seq.raw();
    host.inject(from_client(0, 0, TcpFlags::ack));
    EXPECT_THAT(host.events.log, ElementsAre("accepted"));
}

class Handshake : public Master {};

TEST_F(Handshake, ASynAckIsSentFiveTimesMoreInAMinute) {
    syn();
    host.pass(62s);
    std::size_t count = 0;
    while (host.sent())
        ++count;
    EXPECT_EQ(count, 6u) << "1, 3, 7, 15, 31 seconds later";
    host.pass(5s);
    EXPECT_EQ(host.stack.connection_count(), 0u);
}

TEST_F(Handshake, ALostSynAckLeavesAThreeSecondTimeOut) {
    syn();
    host.pass(1100ms);
    const auto answer = host.sent();
    host.server_isn = answer->tcp.seq.raw();
    host.inject(from_client(0, 0, TcpFlags::ack));
    EXPECT_EQ(host.snapshot().rto, 3s) << "RFC 6298 5.7: the round trip is ambiguous";
}

TEST_F(Handshake, TimestampsResolveTheAmbiguity) {
    timestamps = true;
    syn();
    host.pass(1100ms);
    host.sent();
    const auto answer = host.sent();
    host.server_isn = answer->tcp.seq.raw();
    tsecr = answer->tcp.options.tsval;
    host.pass(30ms);
    host.inject(from_client(0, 0, TcpFlags::ack));
    EXPECT_LT(host.snapshot().rto, 1s);
}

TEST_F(Handshake, ManyLostSynAcksLeaveAWindowOfOneSegment) {
    syn();
    host.pass(4s);
    host.server_isn = host.sent()->tcp.seq.raw();
    host.inject(from_client(0, 0, TcpFlags::ack));
    EXPECT_EQ(host.snapshot().cwnd, 1000u) << "RFC 5681 3.1";
}

TEST_F(Handshake, ARepeatedSynIsAnsweredButNotWithoutBound) {
    syn();
    host.sent();
    for (int i = 0; i < 100; ++i)
        syn();
    std::size_t count = 0;
    while (host.sent())
        ++count;
    EXPECT_EQ(count, 1u);
}

TEST_F(Handshake, DataOfASynIsLeftToBeSentAgain) {
    Packet packet = opening();
    packet.payload = "early";
    host.inject(packet);
    EXPECT_EQ(host.sent()->tcp.ack, host.client_seq(0));
    EXPECT_EQ(host.events.input, "");
}

class ActiveOpen : public Master {
  protected:
    using Master::Master;
    std::optional<ConnectionId> open(std::uint16_t port = 50000) {
        return host.stack.connect({service_endpoint.address, port}, client_endpoint, client_link, host.now);
    }
    Packet answer(const Packet& opening, std::uint8_t flags) {
        Packet packet;
        packet.destination = opening.source;
        packet.tcp.seq = Seq(Host::client_isn);
        packet.tcp.ack = opening.tcp.seq + 1;
        packet.tcp.flags.bits = flags;
        packet.tcp.window = 20000;
        packet.tcp.options.mss = (flags & TcpFlags::syn) != 0 ? 1000 : 0;
        return packet;
    }
};

TEST_F(ActiveOpen, OffersWhatWeHave) {
    ASSERT_TRUE(open());
    const auto packet = host.sent();
    ASSERT_TRUE(packet && packet->is(TcpFlags::syn));
    EXPECT_EQ(packet->tcp.options.mss, 1460);
    EXPECT_TRUE(packet->tcp.options.sack_permitted);
    EXPECT_TRUE(packet->tcp.options.timestamps_present);
    EXPECT_EQ(packet->tcp.options.tsecr, 0u);
    EXPECT_EQ(int{packet->tcp.options.window_scale}, 7);
    EXPECT_EQ(packet->tcp.window, 64240);
}

TEST_F(ActiveOpen, RepeatsItsSynAndGivesUp) {
    ASSERT_TRUE(open());
    host.pass(180s);
    EXPECT_TRUE(host.events.log.empty()) << "at least three minutes (MUST-23)";
    host.pass(80s);
    std::size_t count = 0;
    while (host.sent())
        ++count;
    EXPECT_EQ(count, 8u) << "1, 3, 7, 15, 31, 63, 127 seconds later";
    EXPECT_THAT(host.events.log, ElementsAre("timed_out"));
}

TEST_F(ActiveOpen, IsRefusedByAReset) {
    ASSERT_TRUE(open());
    host.inject(answer(*host.sent(), TcpFlags::rst | TcpFlags::ack));
    EXPECT_THAT(host.events.log, ElementsAre("refused"));
    EXPECT_EQ(host.stack.connection_count(), 0u);
}

TEST_F(ActiveOpen, TakesWhatComesWithTheAnswer) {
    ASSERT_TRUE(open());
    Packet packet = answer(*host.sent(), TcpFlags::syn | TcpFlags::ack | TcpFlags::fin);
    packet.payload = "greeting";
    host.inject(packet);
    EXPECT_EQ(host.events.input, "greeting");
    EXPECT_THAT(host.events.log, ElementsAre("connected", "peer_closed"));
    EXPECT_EQ(host.sent()->tcp.ack, host.client_seq(9));
}

TEST_F(ActiveOpen, MeetsAnotherOne) {
    ASSERT_TRUE(open());
    const auto ours = host.sent();
    Packet theirs = answer(*ours, TcpFlags::syn);
    host.inject(theirs);
    const auto reply = host.sent();
    ASSERT_TRUE(reply && reply->is(TcpFlags::syn | TcpFlags::ack));
    EXPECT_EQ(reply->tcp.seq, ours->tcp.seq);
    host.inject(answer(*ours, TcpFlags::syn | TcpFlags::ack));
    EXPECT_THAT(host.events.log, ElementsAre("connected"));
    EXPECT_EQ(host.stack.snapshot(host.events.connection)->state, State::established);
}

TEST_F(ActiveOpen, ChoosesAPortThatNobodyUses) {
    std::set<std::uint16_t> ports;
    for (int i = 0; i < 50; ++i) {
        ASSERT_TRUE(open(0));
        const auto packet = host.sent();
        EXPECT_GE(packet->source.port, 32768);
        EXPECT_LE(packet->source.port, 60999);
        ports.insert(packet->source.port);
    }
    EXPECT_EQ(ports.size(), 50u);
}

class FewPorts : public ActiveOpen {
  protected:
    static Settings few() {
        Settings settings = settings_for(Mode::master);
        settings.tcp.ephemeral_first = 50000;
        settings.tcp.ephemeral_last = 50001;
        settings.tcp.time_wait_reuse = true;
        return settings;
    }
    FewPorts() : ActiveOpen(few()) {}
};

TEST_F(FewPorts, RunOut) {
    EXPECT_TRUE(open(0));
    EXPECT_TRUE(open(0));
    EXPECT_FALSE(open(0));
    EXPECT_EQ(host.stack.counters().drop_no_port, 1u);
}

TEST_F(FewPorts, InTimeWaitAreUsedAgainASecondLaterWithTimestamps) {
    ASSERT_TRUE(open());
    const auto first = host.sent();
    Packet packet = answer(*first, TcpFlags::syn | TcpFlags::ack);
    packet.tcp.options.timestamps_present = true;
    packet.tcp.options.tsval = 7;
    packet.tcp.options.tsecr = first->tcp.options.tsval;
    host.inject(packet);
    host.stack.close(host.events.connection, host.now);
    packet.tcp.flags.bits = TcpFlags::ack | TcpFlags::fin;
    packet.tcp.seq = Seq(Host::client_isn + 1);
    packet.tcp.ack = first->tcp.seq + 2;
    host.inject(packet);
    ASSERT_EQ(host.stack.time_wait_count(), 1u);
    EXPECT_FALSE(open()) << "its timestamp is not newer yet";
    host.pass(1100ms);
    host.wire.frames.clear();
    ASSERT_TRUE(open());
    EXPECT_GT(host.sent()->tcp.seq, first->tcp.seq + 65535);
}

TEST_F(ActiveOpen, ToNoHostIsAnError) {
    for (const char* remote : {"224.0.0.1:80", "255.255.255.255:80", "0.0.0.0:80", "10.77.0.9:0"})
        EXPECT_FALSE(host.stack.connect({service_endpoint.address, 50000}, *parse_endpoint(remote),
                                        client_link, host.now))
            << remote;
}

TEST_F(ActiveOpen, TwiceOnTheSamePortsIsAnError) {
    EXPECT_TRUE(open());
    EXPECT_FALSE(open());
}

TEST_F(Handshake, MalformedAndUnknownOptionsHarmNothing) {
    Packet packet = opening();
    auto frame = encode(packet);
    // The options begin with the segment size; behind it stand four bytes of SACK-permitted.
    const std::size_t at = 14 + 20 + 20 + 4;
    const auto patch = [&](std::initializer_list<int> bytes) {
        auto changed = frame;
        std::size_t i = at;
        for (const int byte : bytes)
            changed[i++] = static_cast<std::byte>(byte);
        const std::size_t tcp = 14 + 20;
        wire::store16(changed.data() + tcp + wire::tcp_checksum_offset, 0);
        const auto segment = std::span(changed).subspan(tcp);
        const auto pseudo = wire::pseudo_header_sum(packet.source.address, packet.destination.address, 6,
                                                    static_cast<std::uint32_t>(segment.size()));
        wire::store16(changed.data() + tcp + wire::tcp_checksum_offset,
                      wire::checksum_finish(wire::checksum_add(segment, pseudo)));
        const ReceivedFrame received{Source::service, changed, static_cast<std::uint32_t>(changed.size())};
        Host other(settings_for(Mode::master));
        other.stack.receive(std::span(&received, 1), other.now);
        const auto answer = other.sent();
        EXPECT_TRUE(answer && answer->is(TcpFlags::syn | TcpFlags::ack));
        return other.stack.counters().drop_malformed_option;
    };
    EXPECT_EQ(patch({34, 4, 1, 2}), 0u) << "a Fast Open cookie (RFC 7413) is nothing to us";
    EXPECT_EQ(patch({253, 4, 1, 2}), 0u);
    EXPECT_EQ(patch({4, 0, 1, 1}), 1u) << "length 0 (RFC 9293 3.1, MUST-7)";
    EXPECT_EQ(patch({8, 40, 1, 1}), 1u) << "beyond the header";
    EXPECT_EQ(patch({1, 1, 1, 4}), 1u) << "cut after its kind";
}

class Isn : public Master {};

TEST_F(Isn, DiffersForEachPairOfEndpointsAndRisesWithTime) {
    CountingRandom random;
    const SequenceGenerator generator(random);
    const Seq first = generator.initial(service_endpoint, client_endpoint, host.now);
    Endpoint other = client_endpoint;
    ++other.port;
    const std::uint32_t apart = generator.initial(service_endpoint, other, host.now).raw() - first.raw();
    EXPECT_GT(apart, 1000u);
    EXPECT_LT(apart, 0u - 1000u);
    EXPECT_EQ(generator.initial(service_endpoint, client_endpoint, host.now + 4ms), first + 1000)
        << "a tick is 4 us";
}

class Ecn : public Master {
  protected:
    void establish_ecn() {
        Packet packet = opening();
        packet.tcp.flags.bits = TcpFlags::syn | TcpFlags::ece | TcpFlags::cwr;
        host.inject(packet);
        const auto answer = host.sent();
        ASSERT_TRUE(answer && answer->is(TcpFlags::syn | TcpFlags::ack | TcpFlags::ece));
        host.server_isn = answer->tcp.seq.raw();
        host.inject(from_client(0, 0, TcpFlags::ack));
    }
    // The ECN field of the next frame.
    int next_mark() { return static_cast<int>(host.wire.frames.front()[15]) & 3; }
    void inject_marked(Packet packet, int mark) {
        auto frame = encode(packet);
        frame[15] = static_cast<std::byte>(mark);
        wire::store16(frame.data() + 24, 0);
        wire::store16(frame.data() + 24,
                      wire::checksum_finish(wire::checksum_add(std::span(frame).subspan(14, 20))));
        const ReceivedFrame received{Source::service, frame, static_cast<std::uint32_t>(frame.size())};
        host.stack.receive(std::span(&received, 1), host.now);
    }
};

TEST_F(Ecn, IsAgreedOnWhenThePeerAsks) {
    establish_ecn();
    host.send("data");
    EXPECT_EQ(next_mark(), 2);
    host.sent();
    host.pass(300ms);
    EXPECT_EQ(next_mark(), 0) << "not on retransmissions (RFC 3168 6.1.5)";
}

TEST_F(Ecn, IsNotUsedOtherwise) {
    establish();
    host.send("data");
    EXPECT_EQ(next_mark(), 0);
}

TEST_F(Ecn, AMarkIsEchoedUntilTheSenderHasReacted) {
    establish_ecn();
    inject_marked(from_client(0, 0, TcpFlags::ack, "a"), 3);
    EXPECT_EQ(next_mark(), 0) << "not on pure acknowledgements";
    EXPECT_TRUE(host.sent()->has(TcpFlags::ece));
    inject_marked(from_client(1, 0, TcpFlags::ack, "b"), 2);
    host.pass(50ms);
    EXPECT_TRUE(host.sent()->has(TcpFlags::ece));
    inject_marked(from_client(2, 0, TcpFlags::ack | TcpFlags::cwr, "c"), 2);
    const auto after = host.sent();
    ASSERT_TRUE(after) << "at once: the sender's window may be one segment";
    EXPECT_FALSE(after->has(TcpFlags::ece));
}

TEST_F(Ecn, AnEchoHalvesTheWindowOncePerRoundTrip) {
    establish_ecn();
    host.send(std::string(8000, 'x'));
    host.wire.frames.clear();
    const std::uint32_t before = host.snapshot().cwnd;
    host.inject(from_client(0, 1000, TcpFlags::ack | TcpFlags::ece));
    EXPECT_LT(host.snapshot().cwnd, before);
    const std::uint32_t aim = host.snapshot().ssthresh_segments;
    host.inject(from_client(0, 2000, TcpFlags::ack | TcpFlags::ece));
    EXPECT_EQ(host.snapshot().ssthresh_segments, aim);
    EXPECT_EQ(host.stack.counters().tcp_congestion_echoes, 1u);
    host.inject(from_client(0, 8000, TcpFlags::ack));
    host.send(std::string(1000, 'y'));
    EXPECT_TRUE(host.sent()->has(TcpFlags::cwr));
    host.send(std::string(1000, 'z'));
    EXPECT_FALSE(host.sent()->has(TcpFlags::cwr)) << "once";
}

}  // namespace
}  // namespace understudy::stack::test
