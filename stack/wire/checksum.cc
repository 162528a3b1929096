#include "stack/wire/checksum.hh"

namespace understudy::stack::wire {
namespace {
__extension__ using Wide = unsigned __int128;
}

std::uint64_t checksum_add(Bytes bytes, std::uint64_t initial) {
    // Summed in host order and swapped at the end: the one's complement sum commutes with byte order (RFC
    // 1071 2). Words of 64 bits, their carries counted in the upper half.
    Wide wide = 0;
    const std::byte* p = bytes.data();
    std::size_t left = bytes.size();
    const auto load = [](const std::byte* from, auto word) {
        std::memcpy(&word, from, sizeof word);
        return word;
    };
    for (; left >= 32; p += 32, left -= 32) {
        wide += load(p, std::uint64_t{});
        wide += load(p + 8, std::uint64_t{});
        wide += load(p + 16, std::uint64_t{});
        wide += load(p + 24, std::uint64_t{});
    }
    for (; left >= 8; p += 8, left -= 8)
        wide += load(p, std::uint64_t{});
    const auto low = static_cast<std::uint64_t>(wide);
    std::uint64_t sum = (low & 0xffffffff) + (low >> 32) + static_cast<std::uint64_t>(wide >> 64);
    if ((left & 4) != 0) {
        sum += load(p, std::uint32_t{});
        p += 4;
    }
    if ((left & 2) != 0) {
        sum += load(p, std::uint16_t{});
        p += 2;
    }
    if ((left & 1) != 0) sum += load8(p);
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

std::uint16_t transport_checksum(Bytes segment, const IpAddress& source, const IpAddress& destination,
                                 std::uint8_t protocol, Summing summing) {
    const std::uint64_t pseudo =
        pseudo_header_sum(source, destination, protocol, static_cast<std::uint32_t>(segment.size()));
    if (summing == Summing::port) return checksum_fold(pseudo);
    return checksum_finish(checksum_add(segment, pseudo));
}

}  // namespace understudy::stack::wire
