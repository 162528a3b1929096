// IP headers of either version, by the family of their addresses.
#pragma once

#include "stack/wire/ethernet.hh"
#include "stack/wire/ipv4.hh"
#include "stack/wire/ipv6.hh"

namespace understudy::stack::wire {

// Without options and extension headers.
inline std::size_t ip_header_length(const IpAddress& address) {
    return address.is_v4() ? ipv4_header_length : ipv6_header_length;
}

inline EtherType ether_type(const IpAddress& address) {
    return address.is_v4() ? EtherType::ipv4 : EtherType::ipv6;
}

inline void write_ip(MutableBytes packet, const IpHeader& header) {
    if (header.source.is_v4())
        write_ipv4(packet, header);
    else
        write_ipv6(packet, header);
}

}  // namespace understudy::stack::wire
