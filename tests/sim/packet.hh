// Frames as the simulation's judges read them. Written apart from stack/wire: the stack's code is not its own
// judge.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "stack/address.hh"

namespace understudy::sim {

using Frame = std::shared_ptr<const std::vector<std::byte>>;

struct Packet {
    enum class Kind : std::uint8_t { arp, tcp, udp, other };
    static constexpr std::uint8_t fin = 1, syn = 2, rst = 4, psh = 8, ack_flag = 16;

    Kind kind = Kind::other;
    stack::LinkAddress source_link;
    stack::LinkAddress destination_link;

    std::uint16_t arp_operation = 0;
    stack::LinkAddress arp_sender_link;
    stack::IpAddress arp_sender;
    stack::IpAddress arp_target;

    stack::Endpoint source;
    stack::Endpoint destination;
    std::uint32_t seq = 0;
    std::uint32_t ack = 0;
    std::uint8_t flags = 0;
    std::uint16_t window = 0;  // as on the wire
    std::optional<std::uint8_t> window_scale;
    std::optional<std::uint32_t> tsval;
    std::uint32_t tsecr = 0;
    std::span<const std::byte> payload;

    bool has(std::uint8_t mask) const { return (flags & mask) != 0; }
};

struct ReadFrame {
    Packet packet;
    std::string fault;  // empty: lengths, checksums and flags are as the RFCs ask
};

// Reads a frame and judges its form. `packet.payload` points into `frame`.
ReadFrame read_frame(std::span<const std::byte> frame, std::size_t mtu);
// "10.0.0.10:40000 > 10.77.0.1:7000 SA seq 1 ack 2 win 3 len 0", "arp request 10.77.0.1 is-at ...".
std::string to_string(const Packet& packet);

}  // namespace understudy::sim
