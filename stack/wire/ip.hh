// What the stack needs to know of an IP header, whatever its version.
#pragma once

#include "stack/address.hh"

namespace understudy::stack::wire {

enum class IpProtocol : std::uint8_t { icmp = 1, tcp = 6, udp = 17, icmp6 = 58 };

struct IpHeader {
    IpAddress source;
    IpAddress destination;
    IpProtocol protocol{};  // IPv6: of the upper layer, behind all extension headers
    std::uint8_t traffic_class = 0;
    std::uint8_t ttl = 64;             // IPv6: hop limit
    std::uint32_t identification = 0;  // IPv4: of every packet; IPv6: of fragments
    bool dont_fragment = true;         // IPv4
    bool fragment = false;             // more fragments, or an offset
    bool more_fragments = false;
    std::uint16_t fragment_offset = 0;  // bytes
    std::uint16_t header_length = 0;    // with options and extension headers
    std::uint32_t total_length = 0;
};

enum class IpError : std::uint8_t {
    none,
    malformed,
    bad_checksum,
    unfilled_checksum,  // left zero for a NIC to fill in; the header is read all the same
    source_routed,   // the sender says which way it must take (RFC 7126 4.3, RFC 5095)
    unknown_option,  // of an extension header, to be dropped by those who do not know it (RFC 8200 4.2)
};

}  // namespace understudy::stack::wire
