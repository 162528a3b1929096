#include "tap/link_type.hh"

#include <pcap/dlt.h>

#include <algorithm>
#include <cstdint>
#include <iterator>

namespace understudy::tap {
namespace {

using Bytes = std::span<const std::byte>;
using Form = std::optional<EthernetForm>;

constexpr std::size_t address_length = 6;
constexpr std::size_t ethernet_header = 14;
constexpr std::uint16_t type_v4 = 0x0800;
constexpr std::uint16_t type_v6 = 0x86dd;
constexpr std::uint16_t type_mpls = 0x8847;
constexpr std::uint16_t type_pppoe = 0x8864;

std::uint8_t u8(Bytes bytes, std::size_t at) {
    return std::to_integer<std::uint8_t>(bytes[at]);
}
std::uint16_t u16(Bytes bytes, std::size_t at) {
    return static_cast<std::uint16_t>(u8(bytes, at) << 8 | u8(bytes, at + 1));
}
std::uint16_t u16_little(Bytes bytes, std::size_t at) {
    return static_cast<std::uint16_t>(u8(bytes, at) | u8(bytes, at + 1) << 8);
}
std::uint32_t u32_little(Bytes bytes, std::size_t at) {
    return u16_little(bytes, at) | std::uint32_t{u16_little(bytes, at + 2)} << 16;
}

Form typed(std::uint16_t type, Bytes payload, Bytes source = {}, Bytes destination = {}) {
    EthernetForm form;
    if (destination.size() == address_length)
        std::copy(destination.begin(), destination.end(), form.header.begin());
    if (source.size() == address_length)
        std::copy(source.begin(), source.end(), form.header.begin() + address_length);
    form.header[12] = std::byte(type >> 8);
    form.header[13] = std::byte(type & 0xff);
    form.payload = payload;
    return form;
}

Bytes after(Bytes frame, std::size_t length) {
    return frame.size() > length ? frame.subspan(length) : Bytes{};
}

Form ethernet(Bytes frame) {
    if (frame.size() < ethernet_header) return std::nullopt;
    EthernetForm form;
    std::copy_n(frame.begin(), ethernet_header, form.header.begin());
    form.payload = frame.subspan(ethernet_header);
    return form;
}

// The packet says itself which IP it is.
Form bare_ip(Bytes packet) {
    if (packet.empty()) return std::nullopt;
    const int version = u8(packet, 0) >> 4;
    if (version != 4 && version != 6) return std::nullopt;
    return typed(version == 4 ? type_v4 : type_v6, packet);
}

// RFC 1042, and 802.1H for the types that bridges translate.
Form llc(Bytes bytes, Bytes source = {}, Bytes destination = {}) {
    if (bytes.size() >= 3 && u8(bytes, 0) == 0x06 && u8(bytes, 1) == 0x06)
        return typed(type_v4, bytes.subspan(3), source, destination);
    if (bytes.size() < 8 || u8(bytes, 0) != 0xaa || u8(bytes, 1) != 0xaa || u8(bytes, 2) != 0x03)
        return std::nullopt;
    return typed(u16(bytes, 6), bytes.subspan(8), source, destination);
}

Form ppp(Bytes bytes) {
    if (bytes.size() >= 2 && u8(bytes, 0) == 0xff && u8(bytes, 1) == 0x03) bytes = bytes.subspan(2);
    if (bytes.size() < 2) return std::nullopt;
    const bool compressed = (u8(bytes, 0) & 1) != 0;  // RFC 1661 6.5
    const std::uint16_t protocol = compressed ? u8(bytes, 0) : u16(bytes, 0);
    const Bytes payload = bytes.subspan(compressed ? 1 : 2);
    switch (protocol) {
        case 0x0021:
            return typed(type_v4, payload);
        case 0x0057:
            return typed(type_v6, payload);
        case 0x0281:
            return typed(type_mpls, payload);
        default:
            return std::nullopt;
    }
}

// Cisco's HDLC names the protocol by its EtherType, behind one byte of address and one of control.
Form hdlc(Bytes frame) {
    if (frame.size() < 4) return std::nullopt;
    if (u8(frame, 0) == 0xff) return ppp(frame);
    return typed(u16(frame, 2), frame.subspan(4));
}

Form by_type(std::uint16_t type, Bytes payload, Bytes source) {
    if (type == 0x0004) return llc(payload, source);
    if (type == 0x0001) return ethernet(payload);  // "802.3 without LLC": bridged frames
    return typed(type, payload, source);
}

Form linux_cooked(Bytes frame) {
    if (frame.size() < 16) return std::nullopt;
    const Bytes source = u16(frame, 4) == address_length ? frame.subspan(6, address_length) : Bytes{};
    const std::uint16_t type = u16(frame, 14);
    if (type == 0) return bare_ip(frame.subspan(16));
    return by_type(type, frame.subspan(16), source);
}

Form linux_cooked_2(Bytes frame) {
    if (frame.size() < 20) return std::nullopt;
    const Bytes source = u8(frame, 11) == address_length ? frame.subspan(12, address_length) : Bytes{};
    const std::uint16_t type = u16(frame, 0);
    if (type == 0) return bare_ip(frame.subspan(20));
    return by_type(type, frame.subspan(20), source);
}

// IEEE 802.11 9.3.2: data frames in the clear.
Form wireless(Bytes frame) {
    if (frame.size() < 24) return std::nullopt;
    const std::uint8_t control = u8(frame, 0), flags = u8(frame, 1);
    constexpr std::uint8_t type_mask = 0x0c, data = 0x08, quality_of_service = 0x80, no_data = 0x40;
    constexpr std::uint8_t to_ds = 0x01, from_ds = 0x02, more_fragments = 0x04, is_protected = 0x40,
                           order = 0x80;
    if ((control & type_mask) != data || (control & no_data) != 0) return std::nullopt;
    if ((flags & (is_protected | more_fragments)) != 0) return std::nullopt;
    const bool to = (flags & to_ds) != 0, from = (flags & from_ds) != 0;
    std::size_t length = 24 + (to && from ? address_length : 0);
    if ((control & quality_of_service) != 0) length += (flags & order) != 0 ? 6 : 2;
    if (frame.size() < length) return std::nullopt;
    const auto address = [&](std::size_t at) { return frame.subspan(at, address_length); };
    const Bytes destination = to ? address(16) : address(4);
    const Bytes source = !from ? address(10) : to ? address(24) : address(16);
    const Form at_once = llc(frame.subspan(length), source, destination);
    if (at_once) return at_once;
    // Some captures keep the padding to four bytes that the radio's driver had inserted.
    if (length % 4 != 0 && frame.size() > length + 2)
        return llc(frame.subspan(length + 2), source, destination);
    return std::nullopt;
}

Form radiotap(Bytes frame) {
    if (frame.size() < 8) return std::nullopt;
    const std::size_t length = u16_little(frame, 2);
    if (length < 8 || length > frame.size()) return std::nullopt;
    return wireless(frame.subspan(length));
}

Form avs_or_prism(Bytes frame) {
    if (frame.size() < 8) return std::nullopt;
    constexpr std::size_t prism_length = 144;
    const std::size_t avs = std::size_t{u16(frame, 4)} << 16 | u16(frame, 6);
    if (u16(frame, 0) == 0x8021) return avs <= frame.size() ? wireless(frame.subspan(avs)) : std::nullopt;
    return wireless(after(frame, prism_length));
}

Form per_packet_information(Bytes frame) {
    if (frame.size() < 8) return std::nullopt;
    const std::size_t length = u16_little(frame, 2);
    const int inner = static_cast<int>(u32_little(frame, 4));
    if (length < 8 || length > frame.size() || inner == DLT_PPI) return std::nullopt;
    return as_ethernet(inner, frame.subspan(length));
}

Form fddi(Bytes frame) {
    if (frame.size() < 13 || (u8(frame, 0) & 0x30) != 0x10) return std::nullopt;  // LLC frames alone
    return llc(frame.subspan(13), frame.subspan(7, address_length), frame.subspan(1, address_length));
}

Form token_ring(Bytes frame) {
    if (frame.size() < 16 || (u8(frame, 1) & 0xc0) != 0x40) return std::nullopt;
    std::size_t length = 14;
    if ((u8(frame, 8) & 0x80) != 0) length += u8(frame, 14) & 0x1fu;  // source routing
    return llc(after(frame, length), frame.subspan(8, address_length), frame.subspan(2, address_length));
}

// RFC 2427.
Form frame_relay(Bytes frame) {
    std::size_t at = 0;
    while (at < frame.size() && at < 4 && (u8(frame, at) & 1) == 0)
        ++at;
    ++at;
    if (frame.size() < at + 2) return std::nullopt;
    if (u8(frame, at) != 0x03) return typed(u16(frame, at), frame.subspan(at + 2));  // Cisco
    ++at;
    if (u8(frame, at) == 0) ++at;
    if (frame.size() <= at) return std::nullopt;
    switch (u8(frame, at)) {
        case 0xcc:
            return typed(type_v4, frame.subspan(at + 1));
        case 0x8e:
            return typed(type_v6, frame.subspan(at + 1));
        case 0x80:
            if (frame.size() < at + 6) return std::nullopt;
            return typed(u16(frame, at + 4), frame.subspan(at + 6));
        default:
            return std::nullopt;
    }
}

Form packet_filter_log(Bytes frame) {
    if (frame.empty()) return std::nullopt;
    return bare_ip(after(frame, (u8(frame, 0) + std::size_t{3}) & ~std::size_t{3}));
}

// Netfilter's log: attributes, one of which is the packet.
Form netfilter_log(Bytes frame) {
    constexpr std::uint16_t payload_attribute = 9;
    for (Bytes rest = after(frame, 4); rest.size() >= 4;) {
        const std::size_t length = u16_little(rest, 0);
        if (length < 4 || length > rest.size()) return std::nullopt;
        if ((u16_little(rest, 2) & 0x7fff) == payload_attribute) return bare_ip(rest.subspan(4, length - 4));
        rest = after(rest, (length + 3) & ~std::size_t{3});
    }
    return std::nullopt;
}

Form apple_packet_tap(Bytes frame) {
    if (frame.size() < 12) return std::nullopt;
    const std::size_t length = u32_little(frame, 0);
    const int inner = static_cast<int>(u32_little(frame, 8));
    if (length < 12 || length > frame.size() || inner == DLT_PKTAP) return std::nullopt;
    return as_ethernet(inner, frame.subspan(length));
}

Form ip_over_fibre_channel(Bytes frame) {
    if (frame.size() < 16) return std::nullopt;
    return llc(frame.subspan(16), frame.subspan(10, address_length), frame.subspan(2, address_length));
}

struct LinkType {
    int number;
    Form (*read)(Bytes);
};

template <std::size_t length>
Form ip_after(Bytes frame) {
    return bare_ip(after(frame, length));
}

constexpr LinkType link_types[] = {
    {DLT_EN10MB, ethernet},
    {DLT_NULL, ip_after<4>},  // an address family, in the byte order of some host
    {DLT_LOOP, ip_after<4>},
    {DLT_ENC, ip_after<12>},
    {DLT_RAW, bare_ip},
    {14, bare_ip},   // DLT_RAW of OpenBSD
    {101, bare_ip},  // LINKTYPE_RAW
    {DLT_IPV4, bare_ip},
    {DLT_IPV6, bare_ip},
    {DLT_SLIP, ip_after<16>},
    {DLT_LINUX_SLL, linux_cooked},
    {DLT_LINUX_SLL2, linux_cooked_2},
    {DLT_PPP, ppp},
    {DLT_PPP_SERIAL, hdlc},
    {DLT_C_HDLC, hdlc},
    {DLT_PPP_WITH_DIR, [](Bytes frame) { return ppp(after(frame, 1)); }},
    {DLT_PPP_ETHER, [](Bytes frame) { return typed(type_pppoe, frame); }},
    {DLT_IEEE802_11, wireless},
    {DLT_IEEE802_11_RADIO, radiotap},
    {DLT_IEEE802_11_RADIO_AVS, avs_or_prism},
    {DLT_PRISM_HEADER, avs_or_prism},
    {DLT_PPI, per_packet_information},
    {DLT_FDDI, fddi},
    {DLT_IEEE802, token_ring},
    {DLT_ATM_RFC1483, [](Bytes frame) { return llc(frame); }},
    {DLT_FRELAY, frame_relay},
    {DLT_PFLOG, packet_filter_log},
    {DLT_NFLOG, netfilter_log},
    {DLT_PKTAP, apple_packet_tap},
    {DLT_IP_OVER_FC, ip_over_fibre_channel},
    {DLT_MPLS, [](Bytes frame) { return typed(type_mpls, frame); }},
    {DLT_NETANALYZER, [](Bytes frame) { return ethernet(after(frame, 4)); }},
};

const LinkType* find(int number) {
    const auto* found = std::find_if(std::begin(link_types), std::end(link_types),
                                     [number](const LinkType& type) { return type.number == number; });
    return found == std::end(link_types) ? nullptr : found;
}

}  // namespace

bool is_readable_link_type(int link_type) {
    return find(link_type) != nullptr;
}

std::string_view readable_link_types() {
    return "Ethernet, loopback, raw IP, Linux cooked, PPP, HDLC, PPPoE, 802.11, FDDI, Token Ring, ATM, frame "
           "relay, SLIP, MPLS, packet filter logs";
}

std::optional<EthernetForm> as_ethernet(int link_type, Bytes frame) {
    const LinkType* type = find(link_type);
    return type == nullptr ? std::nullopt : type->read(frame);
}

}  // namespace understudy::tap
