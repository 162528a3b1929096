#include "stack/wire/checksum.hh"

namespace understudy::stack::wire {

std::uint64_t checksum_add(Bytes bytes, std::uint64_t initial) {
    // Summed in host order and swapped at the end: the one's complement sum commutes with byte order (RFC
    // 1071 2).
    std::uint64_t sum = 0;
    const std::byte* p = bytes.data();
    std::size_t left = bytes.size();
    while (left >= 4) {
        std::uint32_t word;
        std::memcpy(&word, p, sizeof word);
        sum += word;
        p += 4;
        left -= 4;
    }
    if (left >= 2) {
        std::uint16_t half;
        std::memcpy(&half, p, sizeof half);
        sum += half;
        p += 2;
        left -= 2;
    }
    if (left != 0) sum += load8(p);
    return initial + __builtin_bswap16(checksum_fold(sum));
}

std::uint16_t checksum_fold(std::uint64_t sum) {
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(sum);
}

std::uint64_t pseudo_header_sum(const IpAddress& source, const IpAddress& destination, std::uint8_t protocol,
                                std::uint32_t segment_length) {
    const std::size_t skip = source.is_v4() ? 12 : 0;
    std::uint64_t sum = checksum_add(std::as_bytes(std::span(source.octets)).subspan(skip));
    sum = checksum_add(std::as_bytes(std::span(destination.octets)).subspan(skip), sum);
    return sum + protocol + (segment_length >> 16) + (segment_length & 0xffff);
}

}  // namespace understudy::stack::wire
