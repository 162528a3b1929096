// Frames for the tests of the tap.
#pragma once

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>

#include <array>
#include <cstring>
#include <initializer_list>
#include <type_traits>
#include <vector>

#include "tap/frame.hh"
#include "tap/service_endpoint.hh"

namespace understudy::tap::test {

using Link = std::array<std::uint8_t, 6>;
using Bytes = std::vector<std::byte>;

inline Bytes bytes_of(std::initializer_list<int> values) {
    Bytes bytes;
    for (const int value : values)
        bytes.push_back(std::byte(value));
    return bytes;
}

inline Bytes filled(std::size_t length, std::size_t value) {
    return Bytes(length, static_cast<std::byte>(value));
}

constexpr Link client_link = {0x02, 0, 0, 0, 0, 0x0c};
constexpr Link primary_link = {0x02, 0, 0, 0, 0, 0x0a};
constexpr Link stranger_link = {0x02, 0, 0, 0, 0, 0x66};
constexpr const char* client_address = "10.77.0.9";
constexpr const char* service_address = "10.77.0.1";
constexpr std::uint16_t service_port = 7000;
constexpr std::uint16_t client_port = 40000;

struct Packet {
    Link destination_link = primary_link;
    Link source_link = client_link;
    std::uint16_t ethertype = ETHERTYPE_IP;
    const char* source = client_address;
    const char* destination = service_address;
    std::uint16_t source_port = client_port;
    std::uint16_t destination_port = service_port;
    std::uint8_t protocol = IPPROTO_TCP;
    std::uint16_t fragment = 0;     // flags and offset, host order
    std::size_t options = 0;        // bytes of IP options, a multiple of 4
    std::size_t payload = 20 + 10;  // of IP, ports included
    std::size_t padding = 0;        // behind the packet
    std::size_t cut = 0;            // bytes missing at the end of the frame
};

// What the primary answers to Packet{}.
inline Packet reply() {
    return {.destination_link = client_link,
            .source_link = primary_link,
            .source = service_address,
            .destination = client_address,
            .source_port = service_port,
            .destination_port = client_port};
}

inline Bytes build_ipv6(const Packet& packet) {
    Bytes bytes(sizeof(ether_header) + sizeof(ip6_hdr) + packet.payload + packet.padding);
    ether_header ethernet{};
    std::memcpy(ethernet.ether_dhost, packet.destination_link.data(), ETH_ALEN);
    std::memcpy(ethernet.ether_shost, packet.source_link.data(), ETH_ALEN);
    ethernet.ether_type = htons(ETHERTYPE_IPV6);
    std::memcpy(bytes.data(), &ethernet, sizeof ethernet);
    ip6_hdr ip{};
    ip.ip6_vfc = 0x60;
    ip.ip6_plen = htons(static_cast<std::uint16_t>(packet.payload));
    ip.ip6_nxt = packet.protocol;
    ip.ip6_hlim = 64;
    inet_pton(AF_INET6, packet.source, &ip.ip6_src);
    inet_pton(AF_INET6, packet.destination, &ip.ip6_dst);
    std::memcpy(bytes.data() + sizeof ethernet, &ip, sizeof ip);
    const std::array<std::uint16_t, 2> ports = {htons(packet.source_port), htons(packet.destination_port)};
    if (packet.payload >= sizeof ports)
        std::memcpy(bytes.data() + sizeof ethernet + sizeof ip, ports.data(), sizeof ports);
    bytes.resize(bytes.size() - packet.cut);
    return bytes;
}

inline Bytes build(const Packet& packet) {
    const std::size_t ip_header = sizeof(iphdr) + packet.options;
    Bytes bytes(sizeof(ether_header) + ip_header + packet.payload + packet.padding);
    ether_header ethernet{};
    std::memcpy(ethernet.ether_dhost, packet.destination_link.data(), ETH_ALEN);
    std::memcpy(ethernet.ether_shost, packet.source_link.data(), ETH_ALEN);
    ethernet.ether_type = htons(packet.ethertype);
    std::memcpy(bytes.data(), &ethernet, sizeof ethernet);
    iphdr ip{};
    ip.version = 4;
    ip.ihl = static_cast<unsigned>(ip_header / 4) & 0xf;
    ip.tot_len = htons(static_cast<std::uint16_t>(ip_header + packet.payload));
    ip.frag_off = htons(packet.fragment);
    ip.ttl = 64;
    ip.protocol = packet.protocol;
    inet_pton(AF_INET, packet.source, &ip.saddr);
    inet_pton(AF_INET, packet.destination, &ip.daddr);
    std::memcpy(bytes.data() + sizeof ethernet, &ip, sizeof ip);
    const std::array<std::uint16_t, 2> ports = {htons(packet.source_port), htons(packet.destination_port)};
    if (packet.payload >= sizeof ports)
        std::memcpy(bytes.data() + sizeof ethernet + ip_header, ports.data(), sizeof ports);
    bytes.resize(bytes.size() - packet.cut);
    return bytes;
}

inline Frame frame_of(const Bytes& bytes) {
    return {.bytes = bytes, .wire_length = static_cast<std::uint32_t>(bytes.size())};
}

inline ServiceEndpoint endpoint(const char* address, std::uint16_t port) {
    ServiceEndpoint service{.port = port};
    if (inet_pton(AF_INET6, address, service.address.data()) == 1) return service;
    service.address[10] = service.address[11] = 0xff;
    inet_pton(AF_INET, address, &service.address[12]);
    return service;
}

// Frames of every kind that the classifier and the filter tell apart, broken ones included.
inline std::vector<Bytes> all_kinds() {
    std::vector<Bytes> frames;
    for (const Packet& base : {Packet{}, reply()}) {
        const auto add = [&](auto member, auto... values) {
            for (const auto value : {values...}) {
                Packet packet = base;
                packet.*member = static_cast<std::remove_reference_t<decltype(packet.*member)>>(value);
                frames.push_back(build(packet));
            }
        };
        add(&Packet::ethertype, ETHERTYPE_IP, ETHERTYPE_ARP, ETHERTYPE_VLAN, ETHERTYPE_IPV6, 0x88cc);
        add(&Packet::protocol, IPPROTO_ICMP, IPPROTO_UDP, IPPROTO_SCTP);
        add(&Packet::fragment, IP_MF, IP_DF, 0x10);
        add(&Packet::options, 4, 12, 40);
        add(&Packet::source_port, 7001, 22, 0, 65535);
        add(&Packet::destination_port, 7001, 22, 0, 65535);
        add(&Packet::source, "10.77.0.2", "255.255.255.255", "0.0.0.0");
        add(&Packet::destination, "10.77.0.2", "255.255.255.255", "0.0.0.0");
        for (std::size_t cut = 1; cut < build(base).size(); ++cut)
            add(&Packet::cut, cut);
    }
    return frames;
}

}  // namespace understudy::tap::test
