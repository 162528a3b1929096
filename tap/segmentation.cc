#include "tap/segmentation.hh"

#include <algorithm>
#include <optional>
#include <vector>

namespace understudy::tap {
namespace {

constexpr std::size_t ethernet_header = 14, tag_length = 4;
constexpr std::size_t v4_header = 20, v6_header = 40, least_tcp_header = 20;
constexpr std::uint16_t type_v4 = 0x0800, type_vlan = 0x8100, type_v6 = 0x86dd;
constexpr std::uint8_t protocol_tcp = 6;
constexpr unsigned fin = 0x01, psh = 0x08, cwr = 0x80;

using Bytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

unsigned byte_at(Bytes bytes, std::size_t at) {
    return std::to_integer<unsigned>(bytes[at]);
}
unsigned word_at(Bytes bytes, std::size_t at) {
    return byte_at(bytes, at) << 8 | byte_at(bytes, at + 1);
}
void put_word(MutableBytes bytes, std::size_t at, std::size_t value) {
    bytes[at] = static_cast<std::byte>(value >> 8);
    bytes[at + 1] = static_cast<std::byte>(value);
}

std::uint64_t sum_of(Bytes bytes) {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i + 1 < bytes.size(); i += 2)
        sum += word_at(bytes, i);
    if (bytes.size() % 2 != 0) sum += byte_at(bytes, bytes.size() - 1) << 8;
    return sum;
}
unsigned checksum(std::uint64_t sum) {
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<unsigned>(~sum & 0xffff);
}

struct Layout {
    bool v4;
    std::size_t ip;
    std::size_t tcp;
    std::size_t payload;
};

std::optional<Layout> layout_of(Bytes frame) {
    if (frame.size() < ethernet_header) return std::nullopt;
    const bool tagged = word_at(frame, 12) == type_vlan;
    const std::size_t ip = ethernet_header + (tagged ? tag_length : 0);
    if (frame.size() < ip + v6_header + least_tcp_header) return std::nullopt;
    const unsigned type = word_at(frame, ip - 2);
    if (type != type_v4 && type != type_v6) return std::nullopt;
    const bool v4 = type == type_v4;
    if (byte_at(frame, ip + (v4 ? 9 : 6)) != protocol_tcp) return std::nullopt;
    const std::size_t tcp = ip + (v4 ? v4_header : v6_header);
    const std::size_t payload = tcp + (byte_at(frame, tcp + 12) >> 4) * 4;
    if (payload < tcp + least_tcp_header || payload > frame.size()) return std::nullopt;
    return Layout{v4, ip, tcp, payload};
}

// Headers of the segment that carries the payload from `offset` on, number `index` of them.
void write_headers(MutableBytes segment, const Layout& at, std::size_t offset, std::size_t index, bool last) {
    const std::size_t tcp_length = segment.size() - at.tcp;
    if (at.v4) {
        put_word(segment, at.ip + 2, segment.size() - at.ip);
        put_word(segment, at.ip + 4, word_at(segment, at.ip + 4) + index);
        put_word(segment, at.ip + 10, 0);
        put_word(segment, at.ip + 10, checksum(sum_of(segment.subspan(at.ip, v4_header))));
    } else {
        put_word(segment, at.ip + 4, tcp_length);
    }
    const std::size_t seq =
        (std::size_t{word_at(segment, at.tcp + 4)} << 16 | word_at(segment, at.tcp + 6)) + offset;
    put_word(segment, at.tcp + 4, seq >> 16);
    put_word(segment, at.tcp + 6, seq);
    unsigned flags = byte_at(segment, at.tcp + 13);
    if (!last) flags &= ~(fin | psh);
    if (index != 0) flags &= ~cwr;
    segment[at.tcp + 13] = static_cast<std::byte>(flags);
    put_word(segment, at.tcp + 16, 0);
    const Bytes addresses = segment.subspan(at.ip + (at.v4 ? 12 : 8), at.v4 ? 8 : 32);
    put_word(segment, at.tcp + 16,
             checksum(sum_of(addresses) + protocol_tcp + tcp_length + sum_of(segment.subspan(at.tcp))));
}

}  // namespace

void cut_segments(Bytes frame, std::uint16_t segment_bytes, const std::function<void(Bytes)>& sink) {
    const auto at = layout_of(frame);
    if (!at || segment_bytes == 0 || frame.size() - at->payload <= segment_bytes) return sink(frame);
    std::vector<std::byte> segment;
    const Bytes headers = frame.first(at->payload), payload = frame.subspan(at->payload);
    for (std::size_t offset = 0, index = 0; offset < payload.size(); offset += segment_bytes, ++index) {
        const Bytes piece =
            payload.subspan(offset, std::min<std::size_t>(segment_bytes, payload.size() - offset));
        segment.assign(headers.begin(), headers.end());
        segment.insert(segment.end(), piece.begin(), piece.end());
        write_headers(segment, *at, offset, index, offset + piece.size() == payload.size());
        sink(segment);
    }
}

}  // namespace understudy::tap
