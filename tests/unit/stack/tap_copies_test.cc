// Datagrams that two taps show.
#include "tests/unit/stack/pieces.hh"
#include "tests/unit/stack/udp_host.hh"

namespace understudy::stack::test {
namespace {

Settings two_taps() {
    Settings settings = udp_settings(Mode::silent);
    settings.udp.taps = 2;
    return settings;
}

class TwoTaps : public UdpHost {
  protected:
    TwoTaps() : UdpHost(two_taps()) {}
    explicit TwoTaps(const Settings& settings) : UdpHost(settings) {}
    void client_on(std::uint8_t tap, std::string payload) {
        inject(of_client(std::move(payload)), Source::tap_from_client, tap);
    }
    void primary_on(std::uint8_t tap, std::string payload) {
        inject(of_primary(std::move(payload)), Source::tap_from_primary, tap);
    }
};

TEST_F(TwoTaps, GiveTheApplicationEachDatagramOnce) {
    client_on(0, "a");
    client_on(1, "a");
    client_on(1, "b");
    client_on(0, "b");
    EXPECT_EQ(host.events.input, "ab");
    EXPECT_EQ(counters().udp_tap_copies, 2u);
}

TEST_F(TwoTaps, WhatAClientRepeatsIsNew) {
    client_on(0, "a");
    client_on(0, "a");
    client_on(1, "a");
    client_on(0, "a");
    client_on(1, "a");
    client_on(1, "a");
    EXPECT_EQ(host.events.input, "aaa");
    EXPECT_EQ(counters().udp_tap_copies, 3u);
}

TEST_F(TwoTaps, OneMakesUpForWhatTheOtherLost) {
    client_on(1, "a");
    client_on(0, "b");
    client_on(1, "b");
    client_on(0, "c");
    EXPECT_EQ(host.events.input, "abc");
}

TEST_F(TwoTaps, LaterThanTheirSkewItIsARepetition) {
    client_on(0, "a");
    host.pass(49ms);
    client_on(1, "a");
    EXPECT_EQ(host.events.input, "a");
    host.pass(1ms);
    client_on(1, "a");
    EXPECT_EQ(host.events.input, "aa");
}

TEST_F(TwoTaps, AnAnswerOfThePrimaryCountsOnce) {
    client_on(0, "q");
    client_on(0, "q");
    answer("r");
    answer("r");
    primary_on(0, "r");
    primary_on(1, "r");
    EXPECT_EQ(counters().udp_answers_matched, 1u) << "the other answer still waits for its own";
    EXPECT_EQ(host.stack.promote(host.now).datagrams, 1u);
}

TEST_F(TwoTaps, WhatDiffersIsNoCopy) {
    client_on(0, "a");
    Datagram other = of_client("a");
    other.source.port = 40001;
    inject(other, Source::tap_from_client, 1);
    auto frame = test::encode(of_client("a"));
    wire::store16(frame.data() + 14 + 4, 77);  // another identification: sent a second time
    wire::store16(frame.data() + 14 + 10, 0);
    wire::store16(frame.data() + 14 + 10,
                  wire::checksum_finish(wire::checksum_add(std::span(frame).subspan(14, 20))));
    const ReceivedFrame received{Source::tap_from_client, frame, static_cast<std::uint32_t>(frame.size()),
                                 false, 1};
    host.stack.receive(std::span(&received, 1), host.now);
    EXPECT_EQ(host.events.input, "aaa");
    EXPECT_EQ(counters().udp_tap_copies, 0u);
}

TEST_F(TwoTaps, FragmentedOnesCountOnceAsWell) {
    const std::string text(4000, 'u');
    for (std::uint8_t tap = 0; tap < 2; ++tap)
        for (const Frame& piece : pieces_of(test::encode(of_client(text)), 1480, 9)) {
            const ReceivedFrame received{Source::tap_from_client, piece,
                                         static_cast<std::uint32_t>(piece.size()), false, tap};
            host.stack.receive(std::span(&received, 1), host.now);
        }
    EXPECT_EQ(host.events.input, text);
}

TEST_F(TwoTaps, OneTapIsNeverJudged) {
    Host single(udp_settings(Mode::silent));
    const auto frame = test::encode(of_client("a"));
    const ReceivedFrame received{Source::tap_from_client, frame, static_cast<std::uint32_t>(frame.size())};
    for (int i = 0; i < 3; ++i)
        single.stack.receive(std::span(&received, 1), single.now);
    EXPECT_EQ(single.events.input, "aaa");
}

class FewCopies : public TwoTaps {
  protected:
    static Settings few() {
        Settings settings = two_taps();
        settings.udp.max_tap_copies = 4;
        return settings;
    }
    FewCopies() : TwoTaps(few()) {}
};

TEST_F(FewCopies, AFloodForgetsTheOldestAndSaysSo) {
    for (int i = 0; i < 10; ++i)
        client_on(0, std::to_string(i));
    EXPECT_EQ(counters().udp_tap_copies_forgotten, 6u);
    client_on(1, "9");
    EXPECT_EQ(host.events.input, "0123456789");
    EXPECT_EQ(counters().udp_tap_copies, 1u);
}

}  // namespace
}  // namespace understudy::stack::test
