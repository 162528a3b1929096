// Frames as the fuzz targets build and read them, on their own: not with the encoders under test.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "stack/address.hh"
#include "stack/wire/bytes.hh"

namespace understudy::fuzz {

using stack::Endpoint;
using stack::LinkAddress;

struct TcpFields {
    LinkAddress link_source;
    LinkAddress link_destination;
    Endpoint source;
    Endpoint destination;
    std::uint32_t seq = 0;
    std::uint32_t ack = 0;
    std::uint8_t flags = 0;
    std::uint16_t window = 0;
    std::uint16_t urgent = 0;
};

// A TCP frame over IPv4 or IPv6 with valid lengths and checksums. `options` is padded with zeros to a
// multiple of four and cut at 40 bytes.
std::vector<std::byte> build_tcp(const TcpFields& fields, std::span<const std::uint8_t> options,
                                 std::span<const std::byte> payload);

// An IP packet of `protocol` in an Ethernet frame; `body` has its checksum already.
std::vector<std::byte> build_ip(const TcpFields& fields, std::uint8_t protocol,
                                std::span<const std::byte> body);

// Corrects lengths and checksums of whatever IP packet with TCP, UDP, ICMP or ICMPv6 the frame holds, as far
// as it can be read; other frames stay as they are.
void correct(std::span<std::byte> frame);

struct SentTcp {
    Endpoint source;
    Endpoint destination;
    std::uint32_t seq = 0;
    std::uint32_t ack = 0;
    std::uint8_t flags = 0;
    std::uint16_t window = 0;
    std::span<const std::byte> options;
    std::span<const std::byte> payload;
};

// Reads a TCP frame that a stack sent; nothing for other frames. Ends the program when lengths or checksums
// are wrong: what is sent must be right.
std::optional<SentTcp> read_sent(std::span<const std::byte> frame);

}  // namespace understudy::fuzz
