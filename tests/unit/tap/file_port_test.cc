#include <gtest/gtest.h>
#include <pcap/pcap.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "tap/open_port.hh"
#include "tests/unit/tap/frames.hh"

namespace understudy::tap {
namespace {

using test::Bytes;

// A capture file of one test's own, removed at its end.
class FilePortTest : public ::testing::Test {
  protected:
    void SetUp() override {
        std::string pattern = std::filesystem::temp_directory_path() / "unit-tap-XXXXXX";
        ASSERT_NE(mkdtemp(pattern.data()), nullptr);
        folder_ = pattern;
        path_ = folder_ / "capture";
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    void write(const std::vector<Bytes>& frames, int link_type = DLT_EN10MB, std::uint32_t missing = 0) {
        pcap_t* dead = pcap_open_dead_with_tstamp_precision(link_type, 65535, PCAP_TSTAMP_PRECISION_NANO);
        pcap_dumper_t* dumper = pcap_dump_open(dead, path_.c_str());
        ASSERT_NE(dumper, nullptr) << pcap_geterr(dead);
        pcap_pkthdr header{};
        header.ts.tv_sec = 1'700'000'000;
        for (const Bytes& frame : frames) {
            header.ts.tv_usec += 7;  // nanoseconds at this precision
            header.caplen = static_cast<std::uint32_t>(frame.size());
            header.len = header.caplen + missing;
            pcap_dump(reinterpret_cast<u_char*>(dumper), &header,
                      reinterpret_cast<const u_char*>(frame.data()));
        }
        pcap_dump_close(dumper);
        pcap_close(dead);
    }

    void write_raw(const std::string& bytes) { std::ofstream(path_, std::ios::binary) << bytes; }

    std::unique_ptr<Port> open() { return open_port("file:" + path_.string(), {}); }

    std::string refusal() {
        try {
            open();
        } catch (const PortError& error) {
            return error.what();
        }
        return {};
    }

    std::filesystem::path folder_;
    std::filesystem::path path_;
};

TEST_F(FilePortTest, ReadsFramesWithTheirNanoseconds) {
    std::vector<Bytes> frames;
    for (std::size_t i = 0; i < 100; ++i)
        frames.push_back(test::build({.payload = 20 + i}));
    write(frames, DLT_EN10MB, 5);
    const auto port = open();
    EXPECT_EQ(port->driver(), "file");
    EXPECT_EQ(port->spec(), "file:" + path_.string());
    std::vector<Bytes> read;
    std::array<Frame, 32> burst;
    while (!port->exhausted()) {
        const auto taken = std::span(burst).first(port->receive(burst));
        for (const Frame& frame : taken) {
            EXPECT_EQ(frame.wire_length, frame.bytes.size() + 5);
            EXPECT_EQ(frame.timestamp_ns, 1'700'000'000'000'000'000u + 7 * (read.size() + 1));
            EXPECT_EQ(frame.handle, nullptr);
            read.emplace_back(frame.bytes.begin(), frame.bytes.end());
        }
        port->release(taken);
    }
    EXPECT_EQ(read, frames);
    EXPECT_EQ(port->receive(burst), 0u);
    EXPECT_EQ(port->statistics().received_frames, 100u);
    EXPECT_EQ(port->statistics().receive_errors, 0u);
}

TEST_F(FilePortTest, ReadsPcapng) {
    const auto u32 = [](std::uint32_t value) {
        std::string bytes(4, '\0');
        std::memcpy(bytes.data(), &value, 4);
        return bytes;
    };
    const auto block = [&](std::uint32_t type, const std::string& body) {
        const auto length = static_cast<std::uint32_t>(body.size() + 12);
        return u32(type) + u32(length) + body + u32(length);
    };
    const std::string section = block(0x0a0d0d0a, u32(0x1a2b3c4d) + u32(1) + u32(~0u) + u32(~0u));
    const std::string interface = block(1, u32(DLT_EN10MB) + u32(65535));
    // Microseconds are the format's default: 2 s and 3 µs.
    const std::string packet =
        block(6, u32(0) + u32(0) + u32(2'000'003) + u32(16) + u32(16) + std::string(16, 'x'));
    write_raw(section + interface + packet);
    const auto port = open();
    std::array<Frame, 4> burst;
    ASSERT_EQ(port->receive(burst), 1u);
    EXPECT_EQ(burst[0].bytes.size(), 16u);
    EXPECT_EQ(burst[0].bytes[15], std::byte{'x'});
    EXPECT_EQ(burst[0].timestamp_ns, 2'000'003'000u);
    EXPECT_TRUE(port->exhausted());
}

TEST_F(FilePortTest, EndsAtARecordThatBreaksOff) {
    write({test::build({}), test::build({})});
    std::filesystem::resize_file(path_, std::filesystem::file_size(path_) - 3);
    const auto port = open();
    std::array<Frame, 4> burst;
    EXPECT_EQ(port->receive(burst), 1u);
    EXPECT_TRUE(port->exhausted());
    EXPECT_EQ(port->statistics().receive_errors, 1u);
}

TEST_F(FilePortTest, TakesNoFrames) {
    write({});
    const auto port = open();
    EXPECT_TRUE(port->reserve(60).empty());
    port->commit();
    port->flush();
    EXPECT_EQ(port->statistics().no_buffer, 1u);
    EXPECT_EQ(port->statistics().sent_frames, 0u);
}

TEST_F(FilePortTest, RefusesOtherLinkTypes) {
    write({}, DLT_USB_LINUX);
    EXPECT_NE(refusal().find("cannot be read"), std::string::npos) << refusal();
}

TEST_F(FilePortTest, GivesPacketsOfOtherLinksAnEthernetHeader) {
    const Bytes frame = test::build({});
    write({Bytes(frame.begin() + 14, frame.end()), Bytes(3)}, DLT_RAW, 5);
    const auto port = open();
    std::array<Frame, 4> burst;
    ASSERT_EQ(port->receive(burst), 1u);
    EXPECT_EQ(burst[0].bytes.size(), frame.size());
    EXPECT_EQ(burst[0].wire_length, frame.size() + 5);
    EXPECT_TRUE(std::equal(frame.begin() + 12, frame.end(), burst[0].bytes.begin() + 12));
    EXPECT_EQ(port->statistics().receive_errors, 1u) << "no IP";
}

TEST_F(FilePortTest, RefusesWhatIsNoCapture) {
    EXPECT_NE(refusal().find("No such file"), std::string::npos) << refusal();
    write_raw("this is no capture file at all, only text");
    EXPECT_NE(refusal().find(path_.string()), std::string::npos) << refusal();
    EXPECT_EQ(refusal().find('\n'), std::string::npos);
}

TEST(OpenPort, RefusesABadSpec) {
    for (const char* spec : {"", "eth0", "pcap:", "dpdk:", "file:", "raw:eth0", ":", ":eth0"})
        EXPECT_THROW(open_port(spec, {}), PortError) << spec;
}

TEST(OpenPort, RefusesAnInterfaceThatIsNotThere) {
    try {
        open_port("pcap:no-such-if", {});
        FAIL() << "opened";
    } catch (const PortError& error) {
        EXPECT_STREQ(error.what(), "pcap:no-such-if: there is no such interface: see `ip link`");
    }
}

TEST(OpenPort, RefusesDpdkBeforeItIsStarted) {
    EXPECT_THROW(open_port("dpdk:net_null0", {}), PortError);
}

}  // namespace
}  // namespace understudy::tap
