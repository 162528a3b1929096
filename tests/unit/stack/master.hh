// A master whose client is played by the test.
#pragma once

#include <gtest/gtest.h>

#include "tests/unit/stack/harness.hh"

namespace understudy::stack::test {

class Master : public ::testing::Test {
  protected:
    explicit Master(Settings settings = settings_for(Mode::master)) : host(settings) {}

    Packet from_client(std::uint32_t seq, std::uint32_t ack, std::uint8_t flags, std::string payload = {}) {
        Packet packet;
        packet.tcp.seq = host.client_seq(seq);
        packet.tcp.ack = host.server_seq(ack);
        packet.tcp.flags.bits = flags;
        packet.tcp.window = window;
        packet.payload = std::move(payload);
        if (timestamps) {
            packet.tcp.options.timestamps_present = true;
            packet.tcp.options.tsval = tsval;
            packet.tcp.options.tsecr = tsecr;
        }
        return packet;
    }

    void syn() { host.inject(opening()); }
    Packet opening() {
        Packet packet = from_client(0, 0, TcpFlags::syn);
        packet.tcp.seq = Seq(Host::client_isn);
        packet.tcp.options.mss = 1000;
        packet.tcp.options.sack_permitted = sack;
        return packet;
    }

    void establish() {
        syn();
        const auto answer = host.sent();
        ASSERT_TRUE(answer && answer->is(TcpFlags::syn | TcpFlags::ack));
        host.server_isn = answer->tcp.seq.raw();
        host.inject(from_client(0, 0, TcpFlags::ack));
        ASSERT_EQ(host.events.log, std::vector<std::string>{"accepted"});
    }

    Host host;
    std::uint16_t window = 20000;
    bool sack = true;
    bool timestamps = false;
    std::uint32_t tsval = 100;
    std::uint32_t tsecr = 0;
};

}  // namespace understudy::stack::test
