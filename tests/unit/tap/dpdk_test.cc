// Ports over devices that need no hardware.
#include <gtest/gtest.h>
#include <pcap/pcap.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <cstdio>
#include <filesystem>
#include <thread>

#include "tap/classifier.hh"
#include "tap/dpdk_port.hh"
#include "tap/filter.hh"
#include "tests/unit/tap/captures.hh"
#include "tests/unit/tap/dpdk_fixture.hh"
#include "tests/unit/tap/frames.hh"
#include "tests/unit/tap/port_traffic.hh"

namespace understudy::tap {
namespace {

using test::build;
using test::Bytes;
using test::DpdkTest;
using test::send;

std::string refusal(const std::string& spec) {
    try {
        open_port(spec, {});
    } catch (const PortError& error) {
        return error.what();
    }
    return {};
}

// A capture file for net_pcap, removed at the end.
class CaptureFile {
  public:
    explicit CaptureFile(const std::vector<Bytes>& frames) {
        std::string pattern = std::filesystem::temp_directory_path() / "unit-tap-dpdk-XXXXXX";
        if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
        folder_ = pattern;
        pcap_t* dead = pcap_open_dead(DLT_EN10MB, 65535);
        pcap_dumper_t* dumper = pcap_dump_open(dead, path().c_str());
        for (const Bytes& frame : frames) {
            pcap_pkthdr header{};
            header.caplen = header.len = static_cast<std::uint32_t>(frame.size());
            pcap_dump(reinterpret_cast<u_char*>(dumper), &header,
                      reinterpret_cast<const u_char*>(frame.data()));
        }
        pcap_dump_close(dumper);
        pcap_close(dead);
    }
    ~CaptureFile() { std::filesystem::remove_all(folder_); }
    CaptureFile(const CaptureFile&) = delete;
    CaptureFile& operator=(const CaptureFile&) = delete;

    std::string path() const { return folder_ / "frames.pcap"; }

  private:
    std::filesystem::path folder_;
};

TEST_F(DpdkTest, StartsOnce) {
    EXPECT_TRUE(dpdk_started());
    EXPECT_NO_THROW(start_dpdk({.arguments = "--no-such-option"}));
}

TEST_F(DpdkTest, WhatIsSentOnARingComesBack) {
    const auto port = open_port("dpdk:net_ring0", {.promiscuous = true});
    port->adopt_polling_thread();
    EXPECT_EQ(port->driver(), "net_ring");
    EXPECT_EQ(port->spec(), "dpdk:net_ring0");
    EXPECT_TRUE(port->carrier());
    EXPECT_EQ(port->mtu(), 1500u);
    std::vector<Bytes> frames;
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < 100; ++i) {
        frames.push_back(build({.payload = 20 + 14 * i}));
        bytes += frames.back().size();
        send(*port, frames.back());
    }
    port->flush();
    std::vector<Bytes> received;
    std::array<Frame, 32> burst;
    while (const std::size_t count = port->receive(burst)) {
        for (const Frame& frame : std::span(burst).first(count)) {
            EXPECT_EQ(frame.wire_length, frame.bytes.size());
            received.emplace_back(frame.bytes.begin(), frame.bytes.end());
        }
        port->release(std::span(burst).first(count));
    }
    EXPECT_EQ(received, frames);
    const PortStatistics statistics = port->statistics();
    EXPECT_EQ(statistics.sent_frames, 100u);
    EXPECT_EQ(statistics.sent_bytes, bytes);
    EXPECT_EQ(statistics.received_frames, 100u);
    EXPECT_EQ(statistics.received_bytes, bytes);
    EXPECT_EQ(statistics.send_failures, 0u);
    EXPECT_EQ(statistics.missed_frames, 0u);
}

TEST_F(DpdkTest, CountsWhatAFullDeviceRefuses) {
    const auto port = open_port("dpdk:net_ring1", {});
    constexpr std::uint64_t offered = 3000;
    for (std::uint64_t i = 0; i < offered; ++i)
        send(*port, build({}));
    port->flush();
    const PortStatistics statistics = port->statistics();
    EXPECT_GT(statistics.send_failures, 0u);
    EXPECT_EQ(statistics.sent_frames + statistics.send_failures, offered);
    std::array<Frame, 64> burst;
    std::uint64_t received = 0;
    while (const std::size_t count = port->receive(burst)) {
        received += count;
        port->release(std::span(burst).first(count));
    }
    EXPECT_EQ(received, statistics.sent_frames);
}

TEST_F(DpdkTest, ReserveCountsWhatItCannotGive) {
    const auto port = open_port("dpdk:net_null0,no-rx=1", {});
    EXPECT_TRUE(port->reserve(0).empty());
    EXPECT_TRUE(port->reserve(1515).empty());
    EXPECT_EQ(port->reserve(1514).size(), 1514u);
    EXPECT_EQ(port->statistics().no_buffer, 2u);
    // Neither a refused reservation nor one that was not renewed can be sent.
    port->commit();
    EXPECT_TRUE(port->reserve(1515).empty());
    port->commit();
    port->commit();
    port->flush();
    EXPECT_EQ(port->statistics().sent_frames, 1u);
    EXPECT_EQ(port->statistics().sent_bytes, 1514u);
}

TEST_F(DpdkTest, HeldFramesRunThePoolDryAndReleaseRefillsIt) {
    const auto port = open_port("dpdk:net_null1", {});
    std::vector<Frame> held;
    std::array<Frame, 64> burst;
    while (const std::size_t count = port->receive(burst)) {
        held.insert(held.end(), burst.begin(), burst.begin() + static_cast<std::ptrdiff_t>(count));
        ASSERT_LE(held.size(), 8192u);
    }
    EXPECT_GE(held.size(), 1024u);
    port->release(held);
    EXPECT_EQ(port->receive(burst), burst.size());
    port->release(burst);
}

TEST_F(DpdkTest, AnotherThreadMayPoll) {
    const auto port = open_port("dpdk:net_ring2", {});
    std::size_t received = 0;
    std::thread poller([&] {
        port->adopt_polling_thread();
        send(*port, build({}));
        port->flush();
        std::array<Frame, 4> burst;
        received = port->receive(burst);
        port->release(std::span(burst).first(received));
    });
    poller.join();
    EXPECT_EQ(received, 1u);
}

TEST_F(DpdkTest, AClosedDeviceIsUnpluggedAndCanComeBack) {
    for (int round = 0; round < 3; ++round) {
        const auto port = open_port("dpdk:net_null2", {});
        EXPECT_NE(refusal("dpdk:net_null2").find("open already"), std::string::npos);
        std::uint16_t id = 0;
        EXPECT_EQ(rte_eth_dev_get_port_by_name("net_null2", &id), 0);
    }
    std::uint16_t id = 0;
    EXPECT_NE(rte_eth_dev_get_port_by_name("net_null2", &id), 0);
}

TEST_F(DpdkTest, RefusesInOneClearLine) {
    for (const char* spec : {"dpdk:net_nosuch0", "dpdk:net_af_packet0,iface=no-such-if", "dpdk:,",
                             "dpdk:net_af_packet1", "dpdk:net_null9,nosuch=1", "dpdk:0000:ff:1f.7"}) {
        const std::string message = refusal(spec);
        EXPECT_EQ(message.find(spec), 0u) << spec << ": " << message;
        EXPECT_GT(message.size(), std::string(spec).size() + 10);
        EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    }
    EXPECT_NE(refusal("dpdk:net_af_packet0,iface=no-such-if").find("no interface no-such-if"),
              std::string::npos);
}

TEST_F(DpdkTest, ReadsACaptureThroughTheCaptureDriver) {
    const std::vector<Bytes> frames = {build({}), build(test::reply())};
    const CaptureFile file(frames);
    const auto port = open_port("dpdk:net_pcap0,rx_pcap=" + file.path(), {});
    std::array<Frame, 8> burst;
    ASSERT_EQ(port->receive(burst), 2u);
    EXPECT_EQ(Bytes(burst[1].bytes.begin(), burst[1].bytes.end()), frames[1]);
    port->release(std::span(burst).first(2));
}

TEST_F(DpdkTest, HandsAFrameOfSeveralSegmentsOutInOnePiece) {
    const std::vector<Bytes> frames = {build({}), Bytes(5000, std::byte{7}), build(test::reply())};
    const CaptureFile file(frames);
    const auto port = open_port("dpdk:net_pcap1,rx_pcap=" + file.path(), {});
    std::array<Frame, 8> burst;
    const std::size_t count = port->receive(burst);
    ASSERT_EQ(count, frames.size());
    for (std::size_t i = 0; i < count; ++i)
        EXPECT_EQ(Bytes(burst[i].bytes.begin(), burst[i].bytes.end()), frames[i]);
    EXPECT_EQ(port->statistics().receive_errors, 0u);
    port->release(std::span(burst).first(count));
}

// net_af_packet on the loopback interface of a network that belongs to the test.
class AfPacket : public DpdkTest {
  protected:
    static constexpr std::size_t ring_frames = 64;

    void SetUp() override {
        DpdkTest::SetUp();
        if (IsSkipped()) return;
        if (!no_network().empty()) GTEST_SKIP() << no_network();
        port_ = open_port("dpdk:net_af_packet0,iface=lo,blocksz=4096,framesz=2048,framecnt=" +
                              std::to_string(ring_frames) + ",qdisc_bypass=1",
                          {.promiscuous = true});
    }
    void TearDown() override { port_.reset(); }

    std::unique_ptr<Port> port_;
};

TEST_F(AfPacket, SendsAndReceives) {
    EXPECT_EQ(port_->driver(), "net_af_packet");
    EXPECT_TRUE(port_->carrier());
    test::expect_frames_come_back(*port_, ring_frames / 2);
}

TEST_F(AfPacket, CountsWhatTheKernelDropsBeforeAFullRing) {
    constexpr std::size_t offered = 3 * ring_frames;
    for (std::size_t i = 0; i < offered; ++i)
        send(*port_, build({}));
    port_->flush();
    EXPECT_TRUE(test::wait_until([&] { return port_->statistics().missed_frames == offered - ring_frames; }))
        << port_->statistics().missed_frames;
    EXPECT_EQ(test::receive_frames(*port_, ring_frames).size(), ring_frames);
    EXPECT_EQ(port_->statistics().missed_frames, offered - ring_frames);
}

TEST_F(AfPacket, RefusesAnInterfaceThatIsDown) {
    port_.reset();
    ASSERT_TRUE(test::set_loopback(false));
    EXPECT_EQ(refusal("dpdk:net_af_packet0,iface=lo"),
              "dpdk:net_af_packet0,iface=lo: interface lo is down: `ip link set` it up");
    ASSERT_TRUE(test::set_loopback(true));
}

std::string frame_text(const Frame& frame) {
    std::string text;
    for (const std::byte byte : frame.bytes) {
        char hex[4];
        std::snprintf(hex, sizeof hex, "%02x ", std::to_integer<unsigned>(byte));
        text += hex;
    }
    return text;
}

// The same frame, as a port of DPDK hands it out and as any other port does.
class FilterEngines : public DpdkTest {
  protected:
    void SetUp() override {
        DpdkTest::SetUp();
        if (!IsSkipped()) port_ = open_port("dpdk:net_ring3", {});
    }
    void TearDown() override { port_.reset(); }

    template <typename Check>
    void for_each_frame(const std::vector<Bytes>& frames, Check check) {
        for (const Bytes& bytes : frames) {
            if (bytes.empty()) continue;
            send(*port_, bytes);
            port_->flush();
            std::array<Frame, 1> received;
            ASSERT_EQ(port_->receive(received), 1u);
            check(received[0], test::frame_of(bytes));
            port_->release(received);
        }
    }

    std::unique_ptr<Port> port_;
};

TEST_F(FilterEngines, Agree) {
    const std::vector<ServiceEndpoint> services = {test::endpoint(test::service_address, test::service_port),
                                                   test::endpoint("10.77.0.2", 443)};
    ServiceEndpoint v6{.port = 443};
    inet_pton(AF_INET6, "fd00::1", v6.address.data());
    const std::vector<std::string> expressions = {
        "",
        service_expression(services),
        service_expression({&v6, 1}),
        service_expression({}),
        "tcp port 7000",
        "arp or icmp",
        "vlan",
        "ip6",
        "greater 60",
        "tcp[13] & 2 != 0",
        "ip[0] & 0xf > 5 and tcp[2:2] = 7000",
        "(tcp[12] >> 4) * 4 + ip[2:2] / 3 > 20",
        "ether[6] & 2 != 0 and ether[11] = 10",
        "tcp[4:4] = 5",
        "udp[4:2] > 7 or tcp[14:2] = 0",
        "ip[8] * 3 - ip[9] << 1 > 100 or ether[0:4] | 7 = 7",
        "net 10.77.0.0/16 and not port 22",
        "ether src 02:00:00:00:00:0a",
    };
    const auto frames = test::all_kinds();
    std::size_t matched = 0, compared = 0, interpreted = 0, machine_code = 0;
    for (const std::string& expression : expressions) {
        SCOPED_TRACE(expression);
        const Filter classic(expression, FilterEngine::classic);
        const Filter interpreter(expression, FilterEngine::dpdk_interpreter);
        const Filter jit(expression);
        EXPECT_EQ(classic.engine(), "classic");
        interpreted += interpreter.engine() == "dpdk-interpreter";
        machine_code += jit.engine() == "dpdk-jit";
        for_each_frame(frames, [&](const Frame& on_dpdk, const Frame& elsewhere) {
            const bool wanted = classic.matches(elsewhere);
            matched += wanted;
            ++compared;
            EXPECT_EQ(classic.matches(on_dpdk), wanted) << frame_text(elsewhere);
            EXPECT_EQ(interpreter.matches(on_dpdk), wanted) << frame_text(elsewhere);
            EXPECT_EQ(jit.matches(on_dpdk), wanted) << frame_text(elsewhere);
            EXPECT_EQ(jit.matches(elsewhere), wanted) << frame_text(elsewhere);
        });
    }
    EXPECT_GT(matched, frames.size());
    EXPECT_GT(compared - matched, frames.size());
    EXPECT_GE(interpreted, expressions.size() - 4);
#ifdef __x86_64__
    EXPECT_GE(machine_code, expressions.size() - 7);
#endif
}

TEST_F(FilterEngines, AgreeOnCaptures) {
    if (test::captures_folder().empty()) GTEST_SKIP() << "UNDERSTUDY_CAPTURES names no folder";
    std::size_t matched = 0;
    for (const auto& [file, conversations] : test::read_manifest()) {
        SCOPED_TRACE(file);
        const std::string expression = conversations.front().filter();
        const Filter classic(expression, FilterEngine::classic);
        const Filter interpreter(expression, FilterEngine::dpdk_interpreter);
        const Filter jit(expression);
        EXPECT_NE(interpreter.engine(), "classic");
        const auto capture = open_port("file:" + (test::captures_folder() / file).string(), {});
        std::vector<Bytes> frames;
        std::array<Frame, 32> burst;
        while (!capture->exhausted())
            for (const Frame& frame : std::span(burst).first(capture->receive(burst)))
                if (frame.bytes.size() <= 1514) frames.emplace_back(frame.bytes.begin(), frame.bytes.end());
        for_each_frame(frames, [&](const Frame& on_dpdk, const Frame& elsewhere) {
            const bool wanted = classic.matches(elsewhere);
            matched += wanted;
            EXPECT_EQ(interpreter.matches(on_dpdk), wanted) << frame_text(elsewhere);
            EXPECT_EQ(jit.matches(on_dpdk), wanted) << frame_text(elsewhere);
        });
    }
    EXPECT_GT(matched, 0u);
}

TEST_F(FilterEngines, ServicesRunAsMachineCode) {
#ifndef __x86_64__
    GTEST_SKIP() << "machine code is expected on x86-64";
#endif
    const std::vector<ServiceEndpoint> services = {test::endpoint(test::service_address, test::service_port),
                                                   test::endpoint("10.77.0.2", 443)};
    EXPECT_EQ(Filter(service_expression(services)).engine(), "dpdk-jit");
}

TEST_F(FilterEngines, WhatDpdkGetsWrongIsLeftToOthers) {
    EXPECT_EQ(Filter("ether[6] & 2 != 0").engine(), "dpdk-interpreter");
    EXPECT_EQ(Filter("tcp[13] & 0x70 = 0").engine(), "classic");
    EXPECT_EQ(Filter("tcp[4:4] = 5").engine(), "classic");
}

TEST_F(FilterEngines, GiveTheClassifierTheSameVerdicts) {
    const ClassifierSettings settings = {
        .primary_link = test::primary_link,
        .services = {test::endpoint(test::service_address, test::service_port)},
        .extra_filter = "not host 10.77.0.7"};
    Classifier classifier(settings);
    EXPECT_NE(classifier.filter_engine(), "classic");
    for_each_frame(test::all_kinds(), [&](const Frame& on_dpdk, const Frame& elsewhere) {
        const Classified one = classifier.classify(on_dpdk);
        const Classified other = classifier.classify(elsewhere);
        EXPECT_EQ(one.verdict, other.verdict);
        EXPECT_EQ(one.sign_of_life, other.sign_of_life);
    });
}

}  // namespace
}  // namespace understudy::tap
