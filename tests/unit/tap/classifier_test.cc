#include "tap/classifier.hh"

#include <gtest/gtest.h>

#include <set>

#include "tests/unit/tap/frames.hh"

namespace understudy::tap {
namespace {

using test::build;
using test::frame_of;
using test::Packet;
using test::reply;
using Member = std::uint64_t ClassifierCounters::*;

ClassifierSettings settings(const std::string& extra = {}) {
    return {.primary_link = test::primary_link,
            .services = {test::endpoint("10.77.0.2", 443), test::endpoint("fd00:77::1", test::service_port),
                         test::endpoint(test::service_address, test::service_port)},
            .extra_filter = extra};
}

// Classifies one frame and says which counters it raised.
struct Outcome {
    Verdict verdict;
    bool sign_of_life;
    std::set<std::string> raised;
};

Outcome classify(const test::Bytes& bytes, const std::string& extra = {}) {
    Classifier classifier(settings(extra));
    const Classified result = classifier.classify(frame_of(bytes));
    Outcome outcome{result.verdict, result.sign_of_life, {}};
    for (const CounterInfo& info : classifier_counter_table()) {
        EXPECT_LE(classifier.counters().*info.value, 1u) << info.name;
        if (classifier.counters().*info.value == 1) outcome.raised.insert(info.name);
    }
    return outcome;
}

void expect(const Packet& packet, Verdict verdict, bool sign_of_life, const std::string& counter,
            const std::string& extra = {}) {
    SCOPED_TRACE(counter);
    const bool is_v6 = std::strchr(packet.source, ':') != nullptr;
    const Outcome outcome = classify(is_v6 ? test::build_ipv6(packet) : build(packet), extra);
    EXPECT_EQ(outcome.verdict, verdict);
    EXPECT_EQ(outcome.sign_of_life, sign_of_life);
    std::set<std::string> wanted{counter};
    if (sign_of_life) wanted.insert("signs_of_life");
    EXPECT_EQ(outcome.raised, wanted);
}

Packet with(Packet packet, void (*change)(Packet&)) {
    change(packet);
    return packet;
}

TEST(Classifier, TellsClientAndPrimaryApart) {
    expect({}, Verdict::from_client, false, "from_client");
    expect(reply(), Verdict::from_primary, true, "from_primary");
}

TEST(Classifier, KnowsAClientBehindAnyLinkAddress) {
    expect({.destination_link = test::stranger_link, .source_link = test::stranger_link},
           Verdict::from_client, false, "from_client");
}

TEST(Classifier, KnowsEachService) {
    expect({.destination = "10.77.0.2", .destination_port = 443}, Verdict::from_client, false, "from_client");
    expect({.destination = "10.77.0.2"}, Verdict::not_service, false, "not_selected");
    expect({.destination_port = 443}, Verdict::not_service, false, "not_selected");
}

TEST(Classifier, TellsUdpAndTcpServicesApart) {
    ServiceEndpoint udp4 = test::endpoint(test::service_address, 53);
    ServiceEndpoint udp6 = test::endpoint("fd00:77::1", 53);
    udp4.transport = udp6.transport = Transport::udp;
    ClassifierSettings both = settings();
    both.services.insert(both.services.end(), {udp4, udp6});
    const auto verdict_of = [&](Packet packet, std::uint8_t protocol) {
        Classifier classifier(both);
        packet.protocol = protocol;
        const bool is_v6 = std::strchr(packet.source, ':') != nullptr;
        const auto bytes = is_v6 ? test::build_ipv6(packet) : build(packet);
        return classifier.classify(frame_of(bytes)).verdict;
    };
    Packet answer = reply();
    answer.source_port = 53;
    EXPECT_EQ(verdict_of({.destination_port = 53}, IPPROTO_UDP), Verdict::from_client);
    EXPECT_EQ(verdict_of(answer, IPPROTO_UDP), Verdict::from_primary);
    EXPECT_EQ(verdict_of({.source = "fd00:77::9", .destination = "fd00:77::1", .destination_port = 53},
                         IPPROTO_UDP),
              Verdict::from_client);
    answer.source_link = test::stranger_link;
    EXPECT_EQ(verdict_of(answer, IPPROTO_UDP), Verdict::refused);
    // Address and port of a service, and the other transport.
    EXPECT_EQ(verdict_of({.destination_port = 53}, IPPROTO_TCP), Verdict::not_service);
    EXPECT_EQ(verdict_of({}, IPPROTO_UDP), Verdict::not_service);
    EXPECT_EQ(verdict_of({}, IPPROTO_TCP), Verdict::from_client);
}

TEST(Classifier, RefusesTheServiceFromAForeignLinkAddress) {
    expect(with(reply(), [](Packet& p) { p.source_link = test::stranger_link; }), Verdict::refused, false,
           "foreign_source");
}

TEST(Classifier, RefusesTheServicesClientOnThePrimary) {
    expect({.source_link = test::primary_link}, Verdict::refused, true, "primary_to_itself");
}

TEST(Classifier, RefusesGroupDestinations) {
    expect({.destination_link = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}, Verdict::refused, false,
           "group_destination");
    expect({.destination_link = {0x01, 0, 0x5e, 0, 0, 1}}, Verdict::refused, false, "group_destination");
}

constexpr const char* client6 = "fd00:77::9";
constexpr const char* service6 = "fd00:77::1";

// The same over IPv6.
Packet packet6() {
    return {.ethertype = ETHERTYPE_IPV6, .source = client6, .destination = service6};
}

TEST(Classifier, KnowsAServiceOverIpv6) {
    expect(packet6(), Verdict::from_client, false, "from_client");
    Packet answer = packet6();
    std::swap(answer.source, answer.destination);
    std::swap(answer.source_port, answer.destination_port);
    answer.source_link = test::primary_link;
    answer.destination_link = test::client_link;
    expect(answer, Verdict::from_primary, true, "from_primary");
    answer.source_link = test::stranger_link;
    expect(answer, Verdict::refused, false, "foreign_source");
}

TEST(Classifier, SetsOtherIpv6TrafficApart) {
    expect(with(packet6(), [](Packet& p) { p.destination_port = 22; }), Verdict::not_service, false,
           "not_selected");
    expect(with(packet6(), [](Packet& p) { p.protocol = IPPROTO_ROUTING; }), Verdict::not_service, false,
           "other_protocol");
    expect(with(packet6(), [](Packet& p) { p.payload = 3; }), Verdict::not_service, false, "malformed");
    expect(with(packet6(), [](Packet& p) { p.cut = 31; }), Verdict::not_service, false, "malformed");
}

TEST(Classifier, ReadsPortsBehindIpv6ExtensionHeaders) {
    const auto with_header = [](int kind, std::uint8_t third) {
        auto bytes = test::build_ipv6(packet6());
        const std::byte next = bytes[20];
        bytes[20] = std::byte(kind);
        bytes[19] = std::byte(std::to_integer<int>(bytes[19]) + 8);
        std::array<std::byte, 8> header{next, std::byte{0}, std::byte{third}};
        bytes.insert(bytes.begin() + 54, header.begin(), header.end());
        return bytes;
    };
    const std::set<std::string> taken{"from_client"}, fragment{"fragment"};
    for (const int kind : {IPPROTO_HOPOPTS, IPPROTO_ROUTING, IPPROTO_DSTOPTS, IPPROTO_FRAGMENT})
        EXPECT_EQ(classify(with_header(kind, 0)).raised, taken) << kind;
    EXPECT_EQ(classify(with_header(IPPROTO_FRAGMENT, 1)).raised, fragment);
    EXPECT_EQ(classify(with_header(IPPROTO_HOPOPTS, 0), "ip6").raised, taken);
    EXPECT_EQ(classify(with_header(IPPROTO_HOPOPTS, 0), "ip").raised, std::set<std::string>{"not_selected"});
}

TEST(Classifier, WithoutALinkLevelAddressTheServicesAddressNamesThePrimary) {
    ClassifierSettings anywhere = settings();
    anywhere.primary_link.reset();
    Classifier classifier(anywhere);
    Packet answer = reply();
    answer.source_link = test::stranger_link;
    answer.destination_link = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    const auto bytes = build(answer);
    const Classified classified = classifier.classify(frame_of(bytes));
    EXPECT_EQ(classified.verdict, Verdict::from_primary);
    EXPECT_FALSE(classified.sign_of_life);
}

TEST(Classifier, SetsOtherTrafficApart) {
    for (const bool primary : {false, true}) {
        Packet base;
        if (primary) base.source_link = test::primary_link;
        const auto apart = [&](auto change, const char* counter) {
            Packet packet = base;
            change(packet);
            expect(packet, Verdict::not_service, primary, counter);
        };
        apart([](Packet& p) { p.ethertype = ETHERTYPE_ARP; }, "arp");
        apart([](Packet& p) { p.ethertype = ETHERTYPE_VLAN; }, "vlan");
        apart([](Packet& p) { p.ethertype = 0x88a8; }, "vlan");
        apart([](Packet& p) { p.ethertype = 0x88cc; }, "other_ethertype");
        apart([](Packet& p) { p.protocol = IPPROTO_UDP; }, "not_selected");
        apart([](Packet& p) { p.protocol = IPPROTO_SCTP; }, "other_protocol");
        apart([](Packet& p) { p.destination_port = 22; }, "not_selected");
    }
}

// rules.md 7: what names no ports goes to the stack by its addresses.
TEST(Classifier, GivesFragmentsAndIcmpOfAServicesAddressToTheStack) {
    struct Kind {
        void (*change)(Packet&);
        const char* counter;
    };
    const Kind kinds4[] = {{[](Packet& p) { p.protocol = IPPROTO_ICMP; }, "icmp"},
                           {[](Packet& p) { p.fragment = IP_MF; }, "fragment"},
                           {[](Packet& p) { p.fragment = 100; }, "fragment"}};
    const Kind kinds6[] = {{[](Packet& p) { p.protocol = IPPROTO_ICMPV6; }, "icmp"},
                           {[](Packet& p) { p.protocol = IPPROTO_FRAGMENT; }, "fragment"}};
    const auto check = [](const Packet& base, const Kind& kind) {
        Packet packet = base;
        kind.change(packet);
        packet.destination_port = 8;  // no service's; behind a fragment header, an offset of one unit
        expect(packet, Verdict::from_client, false, kind.counter);
        Packet answer = packet;
        std::swap(answer.source, answer.destination);
        answer.source_link = test::primary_link;
        answer.destination_link = test::client_link;
        expect(answer, Verdict::from_primary, true, kind.counter);
        answer.source_link = test::stranger_link;
        expect(answer, Verdict::not_service, false, kind.counter);
        packet.source_link = test::primary_link;
        expect(packet, Verdict::not_service, true, kind.counter);
        packet.source_link = test::client_link;
        packet.destination_link = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
        expect(packet, Verdict::not_service, false, kind.counter);
    };
    for (const Kind& kind : kinds4)
        check(Packet{}, kind);
    for (const Kind& kind : kinds6)
        check(packet6(), kind);
}

TEST(Classifier, TakesAnUnfragmentedPacketWithDontFragment) {
    expect({.fragment = IP_DF}, Verdict::from_client, false, "from_client");
}

TEST(Classifier, ReadsPortsBehindIpOptions) {
    expect({.options = 40}, Verdict::from_client, false, "from_client");
}

TEST(Classifier, CountsBrokenFrames) {
    const std::size_t whole = build({}).size();
    expect({.cut = whole}, Verdict::not_service, false, "runt");
    expect({.cut = whole - 13}, Verdict::not_service, false, "runt");
    expect({.cut = whole - 14}, Verdict::not_service, false, "malformed");
    expect({.cut = whole - 14 - 19}, Verdict::not_service, false, "malformed");
    expect({.cut = whole - 14 - 20 - 3}, Verdict::not_service, false, "malformed");
    // Cut behind the ports: the stack counts what is missing.
    expect({.cut = whole - 14 - 20 - 4}, Verdict::from_client, false, "from_client");
    auto bytes = build({});
    bytes[14] = std::byte{0x44};
    EXPECT_EQ(classify(bytes).raised, std::set<std::string>{"malformed"});
    bytes[14] = std::byte{0x65};
    EXPECT_EQ(classify(bytes).raised, std::set<std::string>{"malformed"});
}

TEST(Classifier, DoesNotTakePaddingForPorts) {
    // The ports lie in the frame, but behind the end of the packet.
    auto bytes = build({});
    bytes[16] = std::byte{0};
    bytes[17] = std::byte{23};
    EXPECT_EQ(classify(bytes).raised, std::set<std::string>{"malformed"});
    expect({.payload = 20, .padding = 6}, Verdict::from_client, false, "from_client");
}

TEST(Classifier, ExtraFilterNarrowsServiceTrafficAlone) {
    const std::string extra = "host 10.77.0.9 or host 10.77.0.8";
    expect({}, Verdict::from_client, false, "from_client", extra);
    expect({.source = "10.77.0.7"}, Verdict::not_service, false, "not_selected", extra);
    expect({.source = "10.77.0.8", .destination_port = 22}, Verdict::not_service, false, "not_selected",
           extra);
    // Signs of life and what is set apart do not depend on it.
    expect({.source_link = test::primary_link, .ethertype = ETHERTYPE_ARP}, Verdict::not_service, true, "arp",
           extra);
}

TEST(Classifier, RefusesAnExtraFilterThatDoesNotCompile) {
    for (const char* extra : {"host", "tcp) or (udp", "udp"})
        EXPECT_THROW(Classifier{settings(extra)}, FilterError) << extra;
}

TEST(Classifier, WithoutServicesNothingIsServiceTraffic) {
    Classifier classifier({.primary_link = test::primary_link, .services = {}, .extra_filter = {}});
    const auto bytes = build({});
    EXPECT_EQ(classifier.classify(frame_of(bytes)).verdict, Verdict::not_service);
}

TEST(Classifier, EachFrameCountsOnce) {
    Classifier classifier(settings());
    const auto frames = test::all_kinds();
    for (const auto& bytes : frames)
        classifier.classify(frame_of(bytes));
    std::uint64_t sum = 0;
    for (const CounterInfo& info : classifier_counter_table())
        if (info.value != &ClassifierCounters::signs_of_life) sum += classifier.counters().*info.value;
    EXPECT_EQ(sum, frames.size());
    EXPECT_GT(classifier.counters().from_client, 0u);
    EXPECT_GT(classifier.counters().from_primary, 0u);
}

TEST(ClassifierCounterTable, NamesEachCounterOnce) {
    std::set<std::string> names;
    ClassifierCounters counters;
    for (const CounterInfo& info : classifier_counter_table()) {
        EXPECT_TRUE(names.insert(info.name).second) << info.name;
        EXPECT_STRNE(info.help, "") << info.name;
        EXPECT_EQ(++(counters.*info.value), 1u) << info.name << " shares its member";
    }
}

}  // namespace
}  // namespace understudy::tap
