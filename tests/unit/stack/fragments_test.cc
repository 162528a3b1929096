// Packets that come in fragments (RFC 791, 815, 8200 4.5, 5722, 6946, 3168 5.3).
#include <gtest/gtest.h>

#include "tests/unit/stack/master.hh"
#include "tests/unit/stack/pieces.hh"
#include "tests/unit/stack/udp_host.hh"

namespace understudy::stack {
namespace {

using namespace test;

Settings both_families(Mode mode) {
    Settings settings = settings_for(mode);
    settings.services = {service_endpoint, service6};
    settings.udp_services = {service_endpoint};
    return settings;
}

// The parameter: over IPv6.
class Fragmented : public ::testing::TestWithParam<bool> {
  protected:
    void begin(Settings settings) { host.emplace(settings); }
    void begin(Mode mode) { begin(both_families(mode)); }

    void inject(const Frame& frame, Source source = Source::service) {
        const ReceivedFrame received{source, frame, static_cast<std::uint32_t>(frame.size())};
        host->stack.receive(std::span(&received, 1), host->now);
    }
    Packet segment(std::uint32_t seq, std::uint8_t flags, std::string payload = {}) {
        Packet packet;
        if (GetParam()) {
            packet.source = client6;
            packet.destination = service6;
        }
        packet.tcp.seq = host->client_seq(seq);
        packet.tcp.ack = host->server_seq(0);
        packet.tcp.flags.bits = flags;
        packet.tcp.window = 20000;
        packet.payload = std::move(payload);
        return packet;
    }
    Packet syn() {
        Packet packet = segment(0, TcpFlags::syn);
        packet.tcp.seq = Seq(Host::client_isn);
        packet.tcp.options.mss = 1400;
        return packet;
    }
    void establish() {
        host->inject(syn());
        const auto answer = host->sent();
        ASSERT_TRUE(answer);
        host->server_isn = answer->tcp.seq.raw();
        host->inject(segment(0, TcpFlags::ack));
    }
    // A segment with 1000 different bytes, in a frame.
    Frame data() {
        text.resize(1000);
        for (std::size_t i = 0; i < text.size(); ++i)
            text[i] = static_cast<char>('a' + i * 7 % 26);
        return encode(segment(0, TcpFlags::ack, text));
    }
    const Counters& counters() const { return host->stack.counters(); }

    std::optional<Host> host;
    std::string text;
};

INSTANTIATE_TEST_SUITE_P(Ip, Fragmented, ::testing::Bool(),
                         [](const auto& family) { return family.param ? "v6" : "v4"; });

TEST_P(Fragmented, AreReassembledInAnyOrder) {
    begin(Mode::master);
    establish();
    auto pieces = pieces_of(data(), 256, 7);
    ASSERT_EQ(pieces.size(), 4u);
    std::swap(pieces[0], pieces[3]);
    for (const Frame& piece : pieces) {
        EXPECT_EQ(host->events.input, "");
        inject(piece);
    }
    EXPECT_EQ(host->events.input, text);
    EXPECT_EQ(counters().fragments_reassembled, 1u);
    EXPECT_EQ(host->stack.fragment_bytes(), 0u);
}

TEST_P(Fragmented, OnTheMirrorAsWell) {
    begin(Mode::silent);
    host->inject(syn(), Source::tap_from_client);
    Packet answer = segment(0, TcpFlags::syn | TcpFlags::ack);
    std::swap(answer.source, answer.destination);
    answer.link_source = primary_link;
    answer.link_destination = client_link;
    answer.tcp.seq = Seq(host->server_isn);
    answer.tcp.ack = host->client_seq(0);
    host->inject(answer, Source::tap_from_primary);
    host->inject(segment(0, TcpFlags::ack), Source::tap_from_client);
    for (const Frame& piece : pieces_of(data(), 400, 7))
        inject(piece, Source::tap_from_client);
    EXPECT_EQ(host->events.input, text);
}

TEST_P(Fragmented, TapAndServicePortAreNeverMixed) {
    begin(Mode::master);
    establish();
    const auto pieces = pieces_of(data(), 400, 7);
    inject(pieces[0], Source::tap_from_client);
    inject(pieces[1], Source::service);
    inject(pieces[2], Source::service);
    EXPECT_EQ(host->events.input, "");
    inject(pieces[0], Source::service);
    EXPECT_EQ(host->events.input, text);
}

TEST_P(Fragmented, PacketsWithOtherIdentificationsAreApart) {
    begin(Mode::master);
    establish();
    const Frame frame = data();
    inject(pieces_of(frame, 400, 7)[0]);
    inject(pieces_of(frame, 400, 8)[1]);
    inject(pieces_of(frame, 400, 8)[2]);
    EXPECT_EQ(host->events.input, "");
    inject(pieces_of(frame, 400, 8)[0]);
    EXPECT_EQ(host->events.input, text);
}

TEST_P(Fragmented, AnOverlapEndsThePacketWhateverStillComes) {  // RFC 5722 4
    begin(Mode::master);
    establish();
    const Frame frame = data();
    inject(piece_of(frame, {0, 512}, 7));
    inject(piece_of(frame, {504, 1000}, 7));
    EXPECT_EQ(counters().drop_fragment_overlap, 1u);
    EXPECT_EQ(host->stack.fragment_bytes(), 0u);
    for (const Frame& piece : pieces_of(frame, 400, 7))
        inject(piece);
    EXPECT_EQ(host->events.input, "");
    EXPECT_EQ(counters().drop_fragment_refused, 3u);
}

TEST_P(Fragmented, ADuplicateIsNoOverlapUnlessItDiffers) {  // RFC 8200 4.5
    begin(Mode::master);
    establish();
    const Frame frame = data();
    auto pieces = pieces_of(frame, 400, 7);
    inject(pieces[0]);
    inject(pieces[0]);
    EXPECT_EQ(counters().fragments_duplicate, 1u);
    inject(pieces[1]);
    inject(pieces[2]);
    EXPECT_EQ(host->events.input, text);
    pieces = pieces_of(frame, 400, 8);
    inject(pieces[0]);
    pieces[0].back() ^= std::byte{1};
    inject(pieces[0]);
    EXPECT_EQ(counters().drop_fragment_overlap, 1u);
}

TEST_P(Fragmented, EndsThatDisagreeAreRefused) {
    begin(Mode::master);
    establish();
    const Frame frame = data();
    inject(piece_of(frame, {512, 800, false}, 7));
    inject(piece_of(frame, {800, 1000}, 7));
    EXPECT_EQ(counters().drop_fragment_overlap, 1u) << "beyond the end";
    inject(piece_of(frame, {512, 800, false}, 8));
    inject(piece_of(frame, {8, 408, false}, 8));
    EXPECT_EQ(counters().drop_fragment_overlap, 2u) << "another end";
    inject(piece_of(frame, {512, 1000}, 9));
    inject(piece_of(frame, {8, 408, false}, 9));
    EXPECT_EQ(counters().drop_fragment_overlap, 3u) << "an end before what is there";
}

TEST_P(Fragmented, ImpossibleLengthsAreRefused) {
    begin(Mode::master);
    const Frame frame = encode(segment(0, TcpFlags::ack, std::string(1000, 'x')));
    inject(piece_of(frame, {0, 12}, 7));
    inject(piece_of(frame, {8, 8}, 7));
    EXPECT_EQ(counters().drop_malformed_fragment, 2u);
    // Beyond 64 KiB ("ping of death").
    Frame late = piece_of(frame, {0, 800, false}, 7);
    std::byte* const p = late.data() + 14;
    if (GetParam()) {
        wire::store16(p + 42, 0xfff8);
    } else {
        wire::store16(p + 6, 0x1fff);
        wire::store16(p + 10, 0);
        wire::store16(p + 10, wire::checksum_finish(wire::checksum_add({p, 20})));
    }
    inject(late);
    EXPECT_EQ(counters().drop_malformed_fragment, 3u);
}

TEST_P(Fragmented, WhatIsMissingForTooLongIsForgotten) {
    begin(Mode::master);
    establish();
    const auto pieces = pieces_of(data(), 400, 7);
    inject(pieces[0]);
    host->pass(59s);
    EXPECT_GT(host->stack.fragment_bytes(), 0u);
    host->pass(2s);
    EXPECT_EQ(host->stack.fragment_bytes(), 0u);
    EXPECT_EQ(counters().fragments_expired, 1u);
    inject(pieces[1]);
    inject(pieces[2]);
    EXPECT_EQ(host->events.input, "");
}

TEST_P(Fragmented, AFloodStaysInBoundsAndOthersAreServed) {
    Settings settings = both_families(Mode::master);
    settings.fragments.max_packets = 16;
    settings.fragments.max_pieces = 8;
    settings.fragments.budget_bytes = 4096;
    begin(settings);
    establish();
    const Frame frame = data();
    for (std::uint32_t id = 0; id < 1000; ++id) {
        inject(piece_of(frame, {256, 512}, id));
        EXPECT_LE(host->stack.fragment_bytes(), 4096u);
    }
    EXPECT_GE(counters().fragments_evicted, 984u);
    for (std::size_t i = 0; i < 10; ++i)
        inject(piece_of(frame, {i * 16, i * 16 + 8}, 5000));
    EXPECT_EQ(counters().drop_fragment_limit, 1u);
    // Whole segments, and packets whose pieces come together, go on.
    host->inject(segment(0, TcpFlags::ack, "whole"));
    EXPECT_EQ(host->events.input, "whole");
    const Frame next = encode(segment(5, TcpFlags::ack, " in pieces"));
    for (const Frame& piece : pieces_of(next, 8, 6000))
        inject(piece);
    EXPECT_EQ(host->events.input, "whole in pieces");
}

TEST_P(Fragmented, OneMarkMarksTheWhole) {  // RFC 3168 5.3
    begin(Mode::master);
    establish();
    const Frame frame = data();
    inject(piece_of(frame, {0, 512}, 7, 2));
    inject(piece_of(frame, {512, 1020, false}, 7, 3));
    EXPECT_EQ(host->events.input, text);
    EXPECT_EQ(counters().drop_fragment_ecn, 0u);
    inject(piece_of(frame, {0, 512}, 8, 0));
    inject(piece_of(frame, {512, 1020, false}, 8, 3));
    EXPECT_EQ(counters().drop_fragment_ecn, 1u);
}

TEST_P(Fragmented, WhatIsForOthersTakesNoMemory) {
    begin(Mode::master);
    Packet packet = segment(0, TcpFlags::ack, "abcdefghijklmnop");
    packet.destination = *parse_endpoint(GetParam() ? "[fd00:77::9]:7000" : "10.77.0.9:7000");
    inject(piece_of(encode(packet), {0, 16}, 7));
    EXPECT_EQ(counters().drop_not_ours, 1u);
    EXPECT_EQ(host->stack.fragment_bytes(), 0u);
}

TEST_P(Fragmented, AWholeOfAnotherCoresFlowIsDropped) {
    Settings settings = both_families(Mode::master);
    settings.owns_flow = [](wire::IpProtocol protocol, const Endpoint& client, const Endpoint&) {
        return protocol == wire::IpProtocol::udp || client.port != 40000;
    };
    begin(settings);
    for (const Frame& piece : pieces_of(encode(syn()), 8, 7))
        inject(piece);
    EXPECT_FALSE(host->sent());
    EXPECT_EQ(counters().drop_not_our_flow, 1u);
}

class FragmentedUdp : public UdpHost {
  protected:
    FragmentedUdp() : UdpHost(udp_settings(Mode::silent)) {}
};

TEST_F(FragmentedUdp, ADatagramOfTheClientReachesTheApplication) {
    const std::string text(4000, 'u');
    for (const Frame& piece : pieces_of(encode(of_client(text)), 1480, 9)) {
        const ReceivedFrame received{Source::tap_from_client, piece,
                                     static_cast<std::uint32_t>(piece.size())};
        host.stack.receive(std::span(&received, 1), host.now);
    }
    EXPECT_EQ(host.events.input, text);
}

}  // namespace
}  // namespace understudy::stack
