#include "tests/sim/packet.hh"

#include <fmt/format.h>

#include <algorithm>

namespace understudy::sim {
namespace {

using Bytes = std::span<const std::byte>;

std::uint8_t byte_at(Bytes bytes, std::size_t at) {
    return static_cast<std::uint8_t>(bytes[at]);
}
std::uint16_t word_at(Bytes bytes, std::size_t at) {
    return static_cast<std::uint16_t>(byte_at(bytes, at) << 8 | byte_at(bytes, at + 1));
}
std::uint32_t long_at(Bytes bytes, std::size_t at) {
    return std::uint32_t{word_at(bytes, at)} << 16 | word_at(bytes, at + 2);
}
stack::LinkAddress link_at(Bytes bytes, std::size_t at) {
    stack::LinkAddress address;
    for (std::size_t i = 0; i < 6; ++i)
        address.octets[i] = byte_at(bytes, at + i);
    return address;
}

// RFC 1071: the sum over everything, its checksum included, is all ones.
std::uint32_t add_words(Bytes bytes, std::uint32_t sum) {
    for (std::size_t i = 0; i < bytes.size(); ++i)
        sum += std::uint32_t{byte_at(bytes, i)} << (i % 2 == 0 ? 8 : 0);
    return sum;
}
bool is_all_ones(std::uint32_t sum) {
    while (sum > 0xffff)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum == 0xffff;
}

std::string read_arp(Bytes bytes, Packet& packet) {
    if (bytes.size() < 28) return "ARP packet of fewer than 28 bytes";
    if (word_at(bytes, 0) != 1 || word_at(bytes, 2) != 0x0800 || word_at(bytes, 4) != 0x0604)
        return "ARP packet that is not for IPv4 over Ethernet";
    packet.kind = Packet::Kind::arp;
    packet.arp_operation = word_at(bytes, 6);
    packet.arp_sender_link = link_at(bytes, 8);
    packet.arp_sender = stack::IpAddress::from_v4(long_at(bytes, 14));
    packet.arp_target = stack::IpAddress::from_v4(long_at(bytes, 24));
    if (packet.arp_operation != 1 && packet.arp_operation != 2) return "ARP operation that does not exist";
    if (packet.arp_sender_link != packet.source_link) return "ARP sender that is not the frame's source";
    return {};
}

std::string read_option(Bytes option, Packet& packet) {
    switch (byte_at(option, 0)) {
        case 2:
            return option.size() == 4 ? "" : "MSS option of a wrong length";
        case 3:
            if (option.size() != 3) return "window scale option of a wrong length";
            packet.window_scale = byte_at(option, 2);
            return *packet.window_scale <= 14 ? "" : "window scale over 14";
        case 4:
            return option.size() == 2 ? "" : "SACK-permitted option of a wrong length";
        case 5:
            return option.size() >= 10 && (option.size() - 2) % 8 == 0 ? "" : "SACK option of a wrong length";
        case 8:
            if (option.size() != 10) return "timestamps option of a wrong length";
            packet.tsval = long_at(option, 2);
            packet.tsecr = long_at(option, 6);
            return {};
        default:
            return "option of a kind that nobody asked for";
    }
}

std::string read_options(Bytes options, Packet& packet) {
    for (std::size_t at = 0; at < options.size();) {
        const std::uint8_t kind = byte_at(options, at);
        if (kind == 0) return {};
        if (kind == 1) {
            ++at;
            continue;
        }
        if (at + 2 > options.size()) return "option that is cut";
        const std::size_t length = byte_at(options, at + 1);
        if (length < 2 || at + length > options.size()) return "option with an impossible length";
        if (std::string fault = read_option(options.subspan(at, length), packet); !fault.empty())
            return fault;
        at += length;
    }
    return {};
}

std::string judge_flags(const Packet& packet) {
    const int openers = packet.has(Packet::syn) + packet.has(Packet::fin) + packet.has(Packet::rst);
    if (openers > 1) return "more than one of SYN, FIN, RST";
    if (!packet.has(Packet::ack_flag) && !packet.has(Packet::syn | Packet::rst))
        return "no ACK inside a connection";
    if (packet.has(Packet::syn) && !packet.payload.empty()) return "payload on a SYN";
    if (!packet.has(Packet::syn) && packet.window_scale) return "window scale option without SYN";
    return {};
}

std::string read_tcp(Bytes segment, Bytes ip, Packet& packet) {
    if (segment.size() < 20) return "TCP header that is cut";
    const std::size_t header = std::size_t{4} * (byte_at(segment, 12) >> 4);
    if (header < 20 || header > segment.size()) return "impossible TCP data offset";
    const auto length = static_cast<std::uint32_t>(segment.size());
    if (!is_all_ones(add_words(segment, add_words(ip.subspan(12, 8), 6 + length))))
        return "wrong TCP checksum";
    packet.kind = Packet::Kind::tcp;
    packet.source.port = word_at(segment, 0);
    packet.destination.port = word_at(segment, 2);
    packet.seq = long_at(segment, 4);
    packet.ack = long_at(segment, 8);
    packet.flags = byte_at(segment, 13);
    packet.window = word_at(segment, 14);
    packet.payload = segment.subspan(header);
    if (std::string fault = read_options(segment.subspan(20, header - 20), packet); !fault.empty())
        return fault;
    return judge_flags(packet);
}

std::string read_udp(Bytes datagram, Bytes ip, Packet& packet) {
    if (datagram.size() < 8) return "UDP header that is cut";
    if (word_at(datagram, 4) != datagram.size()) return "UDP length beside that of its packet";
    if (word_at(datagram, 6) == 0) return "no UDP checksum";
    const auto length = static_cast<std::uint32_t>(datagram.size());
    if (!is_all_ones(add_words(datagram, add_words(ip.subspan(12, 8), 17 + length))))
        return "wrong UDP checksum";
    packet.kind = Packet::Kind::udp;
    packet.source.port = word_at(datagram, 0);
    packet.destination.port = word_at(datagram, 2);
    packet.payload = datagram.subspan(8);
    return {};
}

std::string read_ip(Bytes bytes, std::size_t mtu, Packet& packet) {
    if (bytes.size() < 20 || byte_at(bytes, 0) != 0x45) return "no plain IPv4 header";
    const std::size_t total = word_at(bytes, 2);
    if (total < 20 || total > bytes.size()) return "IP total length beyond the frame";
    if (total > mtu) return "IP packet longer than the MTU";
    // Ethernet pads to 60 bytes, 46 of them payload.
    if (bytes.size() != std::max<std::size_t>(total, 46) && bytes.size() != total)
        return "bytes after the IP packet";
    if (!is_all_ones(add_words(bytes.first(20), 0))) return "wrong IP header checksum";
    if ((word_at(bytes, 6) & 0xbfff) != 0) return "IP fragment";
    if (byte_at(bytes, 8) == 0) return "IP TTL of 0";
    packet.source.address = stack::IpAddress::from_v4(long_at(bytes, 12));
    packet.destination.address = stack::IpAddress::from_v4(long_at(bytes, 16));
    if (byte_at(bytes, 9) == 17) return read_udp(bytes.first(total).subspan(20), bytes, packet);
    if (byte_at(bytes, 9) != 6) return {};
    return read_tcp(bytes.first(total).subspan(20), bytes, packet);
}

std::string flag_letters(const Packet& packet) {
    std::string letters;
    for (const auto& [mask, letter] :
         {std::pair{Packet::syn, 'S'}, std::pair{Packet::fin, 'F'}, std::pair{Packet::rst, 'R'},
          std::pair{Packet::psh, 'P'}, std::pair{Packet::ack_flag, '.'}})
        if (packet.has(mask)) letters += letter;
    return letters;
}

}  // namespace

ReadFrame read_frame(std::span<const std::byte> frame, std::size_t mtu) {
    ReadFrame result;
    if (frame.size() < 14) {
        result.fault = "frame of fewer than 14 bytes";
        return result;
    }
    result.packet.destination_link = link_at(frame, 0);
    result.packet.source_link = link_at(frame, 6);
    if (result.packet.source_link.is_group()) result.fault = "group address as the frame's source";
    const std::uint16_t type = word_at(frame, 12);
    if (type == 0x0806)
        result.fault = read_arp(frame.subspan(14), result.packet);
    else if (type == 0x0800)
        result.fault = read_ip(frame.subspan(14), mtu, result.packet);
    else
        result.fault = "EtherType that nobody here speaks";
    return result;
}

std::string to_string(const Packet& packet) {
    if (packet.kind == Packet::Kind::arp)
        return fmt::format("arp {} {} is at {}, to {}", packet.arp_operation == 1 ? "request" : "reply",
                           stack::to_string(packet.arp_sender), stack::to_string(packet.arp_sender_link),
                           stack::to_string(packet.arp_target));
    if (packet.kind == Packet::Kind::other) return "other";
    if (packet.kind == Packet::Kind::udp)
        return fmt::format("{} > {} udp len {}", stack::to_string(packet.source),
                           stack::to_string(packet.destination), packet.payload.size());
    return fmt::format("{} > {} [{}] seq {} ack {} win {} len {}{}", stack::to_string(packet.source),
                       stack::to_string(packet.destination), flag_letters(packet), packet.seq, packet.ack,
                       packet.window, packet.payload.size(),
                       packet.tsval ? fmt::format(" ts {}/{}", *packet.tsval, packet.tsecr) : "");
}

}  // namespace understudy::sim
