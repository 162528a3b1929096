#include "fuzz/packet.hh"

#include <algorithm>

#include "fuzz/require.hh"

namespace understudy::fuzz {
namespace {

using stack::IpAddress;
using namespace stack::wire;

constexpr std::size_t ethernet_length = 14, ipv4_length = 20, ipv6_length = 40, tcp_length = 20;
constexpr std::uint8_t icmp = 1, tcp = 6, udp = 17, icmpv6 = 58;

// RFC 1071, the plain way.
std::uint16_t sum_of(Bytes bytes, std::uint64_t sum = 0) {
    for (std::size_t i = 0; i + 1 < bytes.size(); i += 2)
        sum += load16(bytes.data() + i);
    if (bytes.size() % 2 != 0) sum += std::uint64_t{load8(&bytes.back())} << 8;
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(sum);
}

// Addresses as they stand in the header, then protocol and length.
std::uint16_t pseudo_sum(Bytes addresses, std::uint8_t protocol, std::size_t length) {
    return sum_of(addresses, std::uint64_t{protocol} + (length >> 16) + (length & 0xffff));
}

std::optional<std::size_t> checksum_offset(std::uint8_t protocol) {
    switch (protocol) {
        case tcp:
            return 16;
        case udp:
            return 6;
        case icmp:
        case icmpv6:
            return 2;
        default:
            return std::nullopt;
    }
}

void fill_checksum(MutableBytes body, std::uint8_t protocol, Bytes addresses) {
    const auto offset = checksum_offset(protocol);
    if (!offset || body.size() < *offset + 2) return;
    store16(body.data() + *offset, 0);
    const std::uint16_t pseudo =
        protocol == icmp ? std::uint16_t{0} : pseudo_sum(addresses, protocol, body.size());
    const auto sum = static_cast<std::uint16_t>(~sum_of(body, pseudo));
    store16(body.data() + *offset, protocol == udp && sum == 0 ? std::uint16_t{0xffff} : sum);
}

void correct_ipv4(MutableBytes packet) {
    const std::size_t header = (load8(packet.data()) & 0xf) * std::size_t{4};
    if (packet.size() < ipv4_length || header < ipv4_length || header > packet.size()) return;
    store16(packet.data() + 2, static_cast<std::uint16_t>(packet.size()));
    store16(packet.data() + 10, 0);
    store16(packet.data() + 10, static_cast<std::uint16_t>(~sum_of(packet.first(header))));
    const bool is_fragment = (load16(packet.data() + 6) & 0x3fff) != 0;
    if (!is_fragment) fill_checksum(packet.subspan(header), load8(packet.data() + 9), packet.subspan(12, 8));
}

void correct_ipv6(MutableBytes packet) {
    if (packet.size() < ipv6_length) return;
    store16(packet.data() + 4, static_cast<std::uint16_t>(packet.size() - ipv6_length));
    fill_checksum(packet.subspan(ipv6_length), load8(packet.data() + 6), packet.subspan(8, 32));
}

IpAddress address_v6(const std::byte* p) {
    IpAddress address;
    std::transform(p, p + 16, address.octets.begin(),
                   [](std::byte b) { return std::to_integer<std::uint8_t>(b); });
    return address;
}

}  // namespace

std::vector<std::byte> build_ip(const TcpFields& fields, std::uint8_t protocol,
                                std::span<const std::byte> body) {
    const bool v4 = fields.source.address.is_v4();
    const std::size_t offset = ethernet_length + (v4 ? ipv4_length : ipv6_length);
    std::vector<std::byte> frame(offset + body.size());
    std::byte* p = frame.data();
    for (std::size_t i = 0; i < 6; ++i) {
        store8(p + i, fields.link_destination.octets[i]);
        store8(p + 6 + i, fields.link_source.octets[i]);
    }
    store16(p + 12, v4 ? 0x0800 : 0x86dd);
    p += ethernet_length;
    if (v4) {
        store8(p, 0x45);
        store8(p + 8, 64);
        store8(p + 9, protocol);
        store32(p + 12, fields.source.address.v4());
        store32(p + 16, fields.destination.address.v4());
    } else {
        store8(p, 0x60);
        store8(p + 6, protocol);
        store8(p + 7, 64);
        for (std::size_t i = 0; i < 16; ++i) {
            store8(p + 8 + i, fields.source.address.octets[i]);
            store8(p + 24 + i, fields.destination.address.octets[i]);
        }
    }
    std::copy(body.begin(), body.end(), frame.begin() + static_cast<std::ptrdiff_t>(offset));
    correct(frame);
    return frame;
}

std::vector<std::byte> build_tcp(const TcpFields& fields, std::span<const std::uint8_t> options,
                                 std::span<const std::byte> payload) {
    options = options.first(std::min<std::size_t>(options.size(), 40));
    const std::size_t header = tcp_length + (options.size() + 3) / 4 * 4;
    std::vector<std::byte> segment(header + payload.size());
    std::byte* p = segment.data();
    store16(p, fields.source.port);
    store16(p + 2, fields.destination.port);
    store32(p + 4, fields.seq);
    store32(p + 8, fields.ack);
    store8(p + 12, static_cast<std::uint8_t>(header / 4 << 4));
    store8(p + 13, fields.flags);
    store16(p + 14, fields.window);
    store16(p + 18, fields.urgent);
    const auto option_bytes = std::as_bytes(options);
    std::copy(option_bytes.begin(), option_bytes.end(), p + tcp_length);
    std::copy(payload.begin(), payload.end(), p + header);
    return build_ip(fields, tcp, segment);
}

void correct(std::span<std::byte> frame) {
    constexpr std::size_t tag_length = 4;
    std::size_t at = ethernet_length;
    while (frame.size() >= at + tag_length &&
           (load16(frame.data() + at - 2) == 0x8100 || load16(frame.data() + at - 2) == 0x88a8))
        at += tag_length;
    if (frame.size() <= at || frame.size() - at > 0xffff) return;
    const std::uint16_t type = load16(frame.data() + at - 2);
    if (type == 0x0800) correct_ipv4(frame.subspan(at));
    if (type == 0x86dd) correct_ipv6(frame.subspan(at));
}

std::optional<SentTcp> read_sent(std::span<const std::byte> frame) {
    require(frame.size() >= ethernet_length, "a sent frame has an Ethernet header");
    const std::uint16_t type = load16(frame.data() + 12);
    const auto packet = frame.subspan(ethernet_length);
    SentTcp sent;
    Bytes segment, addresses;
    if (type == 0x0800) {
        require(packet.size() >= ipv4_length && load8(packet.data()) == 0x45, "a sent IPv4 header");
        require(load16(packet.data() + 2) == packet.size(), "a sent IPv4 length");
        require(sum_of(packet.first(ipv4_length)) == 0xffff, "a sent IPv4 checksum");
        if (load8(packet.data() + 9) != tcp) return std::nullopt;
        sent.source.address = IpAddress::from_v4(load32(packet.data() + 12));
        sent.destination.address = IpAddress::from_v4(load32(packet.data() + 16));
        addresses = packet.subspan(12, 8);
        segment = packet.subspan(ipv4_length);
    } else if (type == 0x86dd) {
        require(packet.size() >= ipv6_length && load8(packet.data()) >> 4 == 6, "a sent IPv6 header");
        require(load16(packet.data() + 4) == packet.size() - ipv6_length, "a sent IPv6 length");
        if (load8(packet.data() + 6) != tcp) return std::nullopt;
        sent.source.address = address_v6(packet.data() + 8);
        sent.destination.address = address_v6(packet.data() + 24);
        addresses = packet.subspan(8, 32);
        segment = packet.subspan(ipv6_length);
    } else {
        return std::nullopt;
    }
    require(segment.size() >= tcp_length, "a sent TCP header");
    const std::size_t header = (load8(segment.data() + 12) >> 4) * std::size_t{4};
    require(header >= tcp_length && header <= segment.size(), "a sent TCP header's length");
    require(sum_of(segment, pseudo_sum(addresses, tcp, segment.size())) == 0xffff, "a sent TCP checksum");
    sent.source.port = load16(segment.data());
    sent.destination.port = load16(segment.data() + 2);
    sent.seq = load32(segment.data() + 4);
    sent.ack = load32(segment.data() + 8);
    sent.flags = load8(segment.data() + 13);
    sent.window = load16(segment.data() + 14);
    sent.options = segment.subspan(tcp_length, header - tcp_length);
    sent.payload = segment.subspan(header);
    return sent;
}

}  // namespace understudy::fuzz
