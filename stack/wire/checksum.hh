// The Internet checksum (RFC 1071).
#pragma once

#include <cstdint>

#include "stack/address.hh"
#include "stack/wire/bytes.hh"

namespace understudy::stack::wire {

// One's complement sum, unfolded; `initial` chains the sums of consecutive pieces, all but the last of even
// length.
std::uint64_t checksum_add(Bytes bytes, std::uint64_t initial = 0);
// The 16-bit sum, not complemented.
constexpr std::uint16_t checksum_fold(std::uint64_t sum) {
    sum = (sum >> 32) + (sum & 0xffffffff);
    sum = (sum >> 16) + (sum & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    return static_cast<std::uint16_t>(sum);
}
// The value of a checksum field.
inline std::uint16_t checksum_finish(std::uint64_t sum) {
    return static_cast<std::uint16_t>(~checksum_fold(sum));
}

// Sum of the pseudo-header of a transport segment (RFC 9293 3.1; RFC 8200 8.1 for IPv6).
std::uint64_t pseudo_header_sum(const IpAddress& source, const IpAddress& destination, std::uint8_t protocol,
                                std::uint32_t segment_length);

// Who fills in the checksums of what is sent.
enum class Summing : std::uint8_t {
    here,
    port,  // the field gets the folded sum of the pseudo-header, to which the port adds the rest
};
// The value for the checksum field of a TCP segment or UDP datagram, where it holds zero now.
std::uint16_t transport_checksum(Bytes segment, const IpAddress& source, const IpAddress& destination,
                                 std::uint8_t protocol, Summing summing);

}  // namespace understudy::stack::wire
