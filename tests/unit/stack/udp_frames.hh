// Frames with datagrams, as a test writes and reads them.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "stack/wire/checksum.hh"
#include "stack/wire/udp.hh"
#include "tests/unit/stack/harness.hh"

namespace understudy::stack::test {

struct UdpPacket {
    LinkAddress link_source = client_link;
    LinkAddress link_destination = primary_link;
    Endpoint source = client_endpoint;
    Endpoint destination = service_endpoint;
    std::string payload = {};
    std::optional<std::uint16_t> checksum = {};  // instead of the right one
    int length_error = 0;                        // added to the length field
    std::string trailer = {};                    // behind the datagram, within the IP packet
};

// What the primary answers to UdpPacket{}.
inline UdpPacket udp_answer(std::string payload, const Endpoint& client = client_endpoint) {
    return {.link_source = primary_link,
            .link_destination = client_link,
            .source = service_endpoint,
            .destination = client,
            .payload = std::move(payload)};
}

inline std::vector<std::byte> encode(const UdpPacket& d) {
    const std::size_t offset = wire::ethernet_header_length + wire::ip_header_length(d.source.address);
    const std::size_t length = wire::udp_header_length + d.payload.size();
    std::vector<std::byte> frame(offset + length + d.trailer.size());
    wire::write_ethernet(frame, {d.link_destination, d.link_source, wire::ether_type(d.source.address)});
    wire::IpHeader ip;
    ip.source = d.source.address;
    ip.destination = d.destination.address;
    ip.protocol = wire::IpProtocol::udp;
    ip.total_length = static_cast<std::uint32_t>(frame.size() - wire::ethernet_header_length);
    wire::write_ip(std::span(frame).subspan(wire::ethernet_header_length), ip);
    const auto datagram = std::span(frame).subspan(offset, length);
    wire::write_udp(datagram, {d.source.port, d.destination.port,
                               static_cast<std::uint16_t>(static_cast<int>(length) + d.length_error), 0});
    std::ranges::copy(as_bytes(d.payload), datagram.subspan(wire::udp_header_length).begin());
    std::ranges::copy(as_bytes(d.trailer), frame.end() - static_cast<std::ptrdiff_t>(d.trailer.size()));
    const auto pseudo =
        wire::pseudo_header_sum(ip.source, ip.destination, 17, static_cast<std::uint32_t>(datagram.size()));
    const std::uint16_t sum = wire::checksum_finish(wire::checksum_add(datagram, pseudo));
    wire::store16(datagram.data() + wire::udp_checksum_offset, d.checksum.value_or(sum));
    return frame;
}

// Nothing for a frame of another kind, and for a datagram whose length or checksum is wrong.
inline std::optional<UdpPacket> decode_datagram(std::span<const std::byte> frame) {
    const auto link = wire::parse_ethernet(frame);
    if (!link || (link->type != wire::EtherType::ipv4 && link->type != wire::EtherType::ipv6))
        return std::nullopt;
    wire::IpHeader ip;
    const auto packet = frame.subspan(wire::ethernet_header_length);
    const auto error =
        link->type == wire::EtherType::ipv4 ? wire::parse_ipv4(packet, ip) : wire::parse_ipv6(packet, ip);
    if (error != wire::IpError::none || ip.protocol != wire::IpProtocol::udp) return std::nullopt;
    const auto bytes = packet.first(ip.total_length).subspan(ip.header_length);
    const auto header = wire::parse_udp(bytes);
    const auto pseudo =
        wire::pseudo_header_sum(ip.source, ip.destination, 17, static_cast<std::uint32_t>(bytes.size()));
    if (!header || header->length != bytes.size() || header->checksum == 0 ||
        wire::checksum_finish(wire::checksum_add(bytes, pseudo)) != 0)
        return std::nullopt;
    const auto payload = bytes.subspan(wire::udp_header_length);
    return UdpPacket{.link_source = link->source,
                     .link_destination = link->destination,
                     .source = {ip.source, header->source_port},
                     .destination = {ip.destination, header->destination_port},
                     .payload = std::string(reinterpret_cast<const char*>(payload.data()), payload.size())};
}

}  // namespace understudy::stack::test
