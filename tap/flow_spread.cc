#include "tap/flow_spread.hh"

#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <stdexcept>

namespace understudy::tap {
namespace {

using Bytes = std::span<const std::byte>;

constexpr std::size_t ethernet_addresses = 12;
constexpr std::size_t max_tags = 2;
constexpr std::size_t max_extension_headers = 8;
constexpr std::size_t v4_header = 20;
constexpr std::size_t v6_header = 40;
constexpr std::size_t ports_length = 4;
constexpr std::size_t icmp_header = 8;

constexpr std::uint16_t type_v4 = 0x0800;
constexpr std::uint16_t type_arp = 0x0806;
constexpr std::uint16_t type_vlan = 0x8100;
constexpr std::uint16_t type_service_vlan = 0x88a8;
constexpr std::uint16_t type_v6 = 0x86dd;

constexpr std::uint8_t protocol_icmp = 1;
constexpr std::uint8_t protocol_tcp = 6;
constexpr std::uint8_t protocol_udp = 17;
constexpr std::uint8_t protocol_icmp6 = 58;
constexpr std::uint8_t header_hop_by_hop = 0;
constexpr std::uint8_t header_routing = 43;
constexpr std::uint8_t header_fragment = 44;
constexpr std::uint8_t header_destination = 60;

constexpr std::uint8_t most_icmp6_error = 127;  // RFC 4443 2.1: errors are below 128
constexpr std::uint8_t first_discovery = 133;   // router solicitation to redirect, RFC 4861 4
constexpr std::uint8_t last_discovery = 137;

std::uint8_t byte_at(Bytes bytes, std::size_t at) {
    return std::to_integer<std::uint8_t>(bytes[at]);
}

std::uint16_t word_at(Bytes bytes, std::size_t at) {
    return static_cast<std::uint16_t>(byte_at(bytes, at) << 8 | byte_at(bytes, at + 1));
}

// Of Toeplitz over a key of 16 bits' period: input bit i adds the key rotated left by i, and 16-bit words
// that lie apart add up by XOR before. One half of the hash; the other is equal.
constexpr std::array<std::uint16_t, 256> toeplitz_of(unsigned shift) {
    std::array<std::uint16_t, 256> table{};
    for (unsigned value = 0; value < table.size(); ++value)
        for (unsigned bit = 0; bit < 8; ++bit)
            if ((value & (0x80u >> bit)) != 0)
                table[value] ^= std::rotl(FlowSpread::key, static_cast<int>(shift + bit));
    return table;
}
constexpr auto high_byte = toeplitz_of(0);
constexpr auto low_byte = toeplitz_of(8);

std::uint32_t toeplitz(std::uint16_t folded) {
    const std::uint32_t half = high_byte[folded >> 8] ^ low_byte[folded & 0xff];
    return half << 16 | half;
}

std::uint16_t fold(const ServiceEndpoint& endpoint) {
    std::uint16_t folded = endpoint.port;
    for (std::size_t i = 0; i < endpoint.address.size(); i += 2)
        folded ^= static_cast<std::uint16_t>(endpoint.address[i] << 8 | endpoint.address[i + 1]);
    return folded;
}

struct Flow {
    ServiceEndpoint source;
    ServiceEndpoint destination;
};

enum class Kind : std::uint8_t { flow, neighbour, fragment, other };

struct Parsed {
    Kind kind = Kind::other;
    Flow flow{};
};

Parsed parse_ports(Bytes transport, std::uint8_t protocol, Flow flow) {
    if (transport.size() < ports_length) return {};
    flow.source.transport = flow.destination.transport =
        protocol == protocol_udp ? Transport::udp : Transport::tcp;
    flow.source.port = word_at(transport, 0);
    flow.destination.port = word_at(transport, 2);
    return {Kind::flow, flow};
}

enum class Depth : std::uint8_t { packet, quoted };

Parsed parse_v4(Bytes packet, Depth depth);
Parsed parse_v6(Bytes packet, Depth depth);

// What an error quotes is a packet that one of ours sent: it names the flow, ends swapped.
Parsed quoted(const Parsed& inner) {
    return inner.kind == Kind::flow ? inner : Parsed{};
}

bool is_icmp_error(std::uint8_t type) {
    // Unreachable, source quench, redirect, time exceeded, parameter problem.
    return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

Parsed parse_v4(Bytes packet, Depth depth) {
    if (packet.size() < v4_header) return {};
    const std::size_t header = (byte_at(packet, 0) & 0xfu) * 4;
    if (header < v4_header || packet.size() < header) return {};
    constexpr std::uint16_t more_fragments = 0x2000, offset_mask = 0x1fff;
    if ((word_at(packet, 6) & (more_fragments | offset_mask)) != 0) return {Kind::fragment, {}};
    const std::uint8_t protocol = byte_at(packet, 9);
    const Bytes payload = packet.subspan(header);
    if (protocol == protocol_icmp && depth == Depth::packet) {
        if (payload.size() < icmp_header || !is_icmp_error(byte_at(payload, 0))) return {};
        return quoted(parse_v4(payload.subspan(icmp_header), Depth::quoted));
    }
    if (protocol != protocol_tcp && protocol != protocol_udp) return {};
    Flow flow;
    for (std::size_t i = 0; i < 4; ++i) {
        flow.source.address[12 + i] = byte_at(packet, 12 + i);
        flow.destination.address[12 + i] = byte_at(packet, 16 + i);
    }
    flow.source.address[10] = flow.source.address[11] = 0xff;
    flow.destination.address[10] = flow.destination.address[11] = 0xff;
    return parse_ports(payload, protocol, flow);
}

Parsed parse_icmp6(Bytes message, Depth depth) {
    if (depth == Depth::quoted || message.size() < icmp_header) return {};
    const std::uint8_t type = byte_at(message, 0);
    if (type >= first_discovery && type <= last_discovery) return {Kind::neighbour, {}};
    if (type > most_icmp6_error) return {};
    return quoted(parse_v6(message.subspan(icmp_header), Depth::quoted));
}

Parsed parse_v6(Bytes packet, Depth depth) {
    if (packet.size() < v6_header) return {};
    std::uint8_t next = byte_at(packet, 6);
    Bytes rest = packet.subspan(v6_header);
    for (std::size_t i = 0; i < max_extension_headers; ++i) {
        if (next == header_fragment) return {Kind::fragment, {}};
        if (next != header_hop_by_hop && next != header_routing && next != header_destination) break;
        if (rest.size() < 8) return {};
        const std::size_t length = (byte_at(rest, 1) + 1u) * 8;
        if (rest.size() < length) return {};
        next = byte_at(rest, 0);
        rest = rest.subspan(length);
    }
    if (next == protocol_icmp6) return parse_icmp6(rest, depth);
    if (next != protocol_tcp && next != protocol_udp) return {};
    Flow flow;
    for (std::size_t i = 0; i < 16; ++i) {
        flow.source.address[i] = byte_at(packet, 8 + i);
        flow.destination.address[i] = byte_at(packet, 24 + i);
    }
    return parse_ports(rest, next, flow);
}

Parsed parse(Bytes frame) {
    std::size_t at = ethernet_addresses;
    for (std::size_t tags = 0; frame.size() >= at + 2; ++tags) {
        const std::uint16_t type = word_at(frame, at);
        if (type == type_v4) return parse_v4(frame.subspan(at + 2), Depth::packet);
        if (type == type_v6) return parse_v6(frame.subspan(at + 2), Depth::packet);
        if (type == type_arp) return {Kind::neighbour, {}};
        if ((type != type_vlan && type != type_service_vlan) || tags == max_tags) return {};
        at += 4;
    }
    return {};
}

}  // namespace

FlowSpread::FlowSpread(const FlowSpreadSettings& settings)
    : cores_(settings.cores), pinned_(settings.pinned) {
    if (cores_ == 0 || cores_ > max_cores)
        throw std::invalid_argument("the number of data-plane cores must be 1 to " +
                                    std::to_string(max_cores));
    for (const auto& [service, core] : pinned_)
        if (core >= cores_) throw std::invalid_argument("a service is pinned to a core that is not there");
}

std::uint32_t FlowSpread::hash(const ServiceEndpoint& a, const ServiceEndpoint& b) {
    return toeplitz(fold(a) ^ fold(b));
}

std::size_t FlowSpread::core_of(const ServiceEndpoint& a, const ServiceEndpoint& b) const {
    for (const auto& [service, core] : pinned_)
        if (service == a || service == b) return core;
    return owner_of_bucket(hash(a, b));
}

FlowSpread::Place FlowSpread::place(Bytes frame) const {
    if (cores_ == 1) return {};
    const Parsed parsed = parse(frame);
    switch (parsed.kind) {
        case Kind::flow:
            return {core_of(parsed.flow.source, parsed.flow.destination), Reach::one};
        case Kind::neighbour:
        case Kind::fragment:
            return {0, Reach::each};
        case Kind::other:
            break;
    }
    return {};
}

}  // namespace understudy::tap
