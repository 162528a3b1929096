// A silent stack fed by a mirror of one client's conversation with the primary.
#pragma once

#include <gtest/gtest.h>

#include "tests/unit/stack/harness.hh"

namespace understudy::stack::test {

class Mirror : public ::testing::Test {
  protected:
    explicit Mirror(const Settings& settings = settings_for(Mode::silent)) : host(settings) {}

    // Offsets count from the first byte after the SYN, in either direction.
    Packet client_packet(std::uint32_t seq, std::uint32_t ack, std::uint8_t flags) const {
        Packet packet;
        packet.link_destination = primary_link;
        packet.tcp.seq = flags == TcpFlags::syn ? Seq(Host::client_isn) : host.client_seq(seq);
        if ((flags & TcpFlags::ack) != 0) packet.tcp.ack = host.server_seq(ack);
        packet.tcp.flags.bits = flags;
        packet.tcp.window = 500;
        if (flags == TcpFlags::syn) {
            packet.tcp.options.mss = 1000;
            packet.tcp.options.window_scale_present = true;
            packet.tcp.options.window_scale = 9;
            packet.tcp.options.sack_permitted = true;
        }
        packet.tcp.options.timestamps_present = true;
        packet.tcp.options.tsval = client_tsval;
        packet.tcp.options.tsecr = 0;
        return packet;
    }
    Packet primary_packet(std::uint32_t seq, std::uint32_t ack, std::uint8_t flags) const {
        Packet packet;
        packet.link_source = primary_link;
        packet.link_destination = client_link;
        std::swap(packet.source, packet.destination);
        const bool syn = (flags & TcpFlags::syn) != 0;
        packet.tcp.seq = syn ? Seq(host.server_isn) : host.server_seq(seq);
        packet.tcp.ack = host.client_seq(ack);
        packet.tcp.flags.bits = flags;
        packet.tcp.window = 400;
        if (syn) {
            packet.tcp.options.mss = 1460;
            packet.tcp.options.window_scale_present = true;
            packet.tcp.options.window_scale = 7;
            packet.tcp.options.sack_permitted = true;
        }
        packet.tcp.options.timestamps_present = true;
        packet.tcp.options.tsval = primary_tsval;
        packet.tcp.options.tsecr = client_tsval;
        return packet;
    }

    void client_syn() { host.inject(client_packet(0, 0, TcpFlags::syn), Source::tap_from_client); }
    void primary_syn_ack() {
        host.inject(primary_packet(0, 0, TcpFlags::syn | TcpFlags::ack), Source::tap_from_primary);
    }
    void handshake_on(Host& target) const {
        target.inject(client_packet(0, 0, TcpFlags::syn), Source::tap_from_client);
        target.inject(primary_packet(0, 0, TcpFlags::syn | TcpFlags::ack), Source::tap_from_primary);
        target.inject(client_packet(0, 0, TcpFlags::ack), Source::tap_from_client);
    }
    void handshake() { handshake_on(host); }
    void client(std::uint32_t seq, std::uint32_t ack, std::string payload, std::uint8_t flags = 0) {
        Packet packet = client_packet(seq, ack, static_cast<std::uint8_t>(flags | TcpFlags::ack));
        packet.payload = std::move(payload);
        host.inject(packet, Source::tap_from_client);
    }
    void primary(std::uint32_t seq, std::uint32_t ack, std::string payload, std::uint8_t flags = 0) {
        Packet packet = primary_packet(seq, ack, static_cast<std::uint8_t>(flags | TcpFlags::ack));
        packet.payload = std::move(payload);
        host.inject(packet, Source::tap_from_primary);
    }

    Host host;
    std::uint32_t client_tsval = 100;
    std::uint32_t primary_tsval = 900000;
};

}  // namespace understudy::stack::test
