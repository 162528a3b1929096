#include "stack/wire/checksum.hh"

namespace understudy::stack::wire {

std::uint64_t checksum_add(Bytes bytes, std::uint64_t initial) {
    // Summed in host order and swapped at the end: the one's complement sum commutes with byte order (RFC
    // 1071 2). Two words a step, in halves: no sum carries out of 64 bits, and none waits for the one before.
    std::uint64_t low = 0, high = 0;
    const std::byte* p = bytes.data();
    std::size_t left = bytes.size();
    const auto load = [](const std::byte* from, auto word) {
        std::memcpy(&word, from, sizeof word);
        return word;
    };
    for (; left >= 16; p += 16, left -= 16) {
        const auto a = load(p, std::uint64_t{}), b = load(p + 8, std::uint64_t{});
        low += (a & 0xffffffff) + (b & 0xffffffff);
        high += (a >> 32) + (b >> 32);
    }
    std::uint64_t sum = checksum_fold(low) + std::uint64_t{checksum_fold(high)};
    for (; left >= 4; p += 4, left -= 4)
        sum += load(p, std::uint32_t{});
    if (left >= 2) {
        sum += load(p, std::uint16_t{});
        p += 2;
        left -= 2;
    }
    if (left != 0) sum += load8(p);
    return initial + __builtin_bswap16(checksum_fold(sum));
}

std::uint64_t pseudo_header_sum(const IpAddress& source, const IpAddress& destination, std::uint8_t protocol,
                                std::uint32_t segment_length) {
    std::uint64_t sum = protocol + (segment_length >> 16) + (segment_length & 0xffff);
    if (source.is_v4()) {
        const auto add = [&](std::uint32_t v4) { sum += (v4 >> 16) + (v4 & 0xffff); };
        add(source.v4());
        add(destination.v4());
        return sum;
    }
    sum = checksum_add(std::as_bytes(std::span(source.octets)), sum);
    return checksum_add(std::as_bytes(std::span(destination.octets)), sum);
}

}  // namespace understudy::stack::wire
