#include "stack/ip/routes.hh"

#include "stack/wire/icmp6.hh"

namespace understudy::stack::ip {
namespace {

constexpr unsigned mapped_bits = 96;  // of an IPv4 address before its own

bool covers(const Route& route, const IpAddress& address) {
    if (route.prefix.is_v4() != address.is_v4()) return false;
    const unsigned bits = route.length + (address.is_v4() ? mapped_bits : 0u);
    for (unsigned i = 0; i < address.octets.size() && i * 8 < bits; ++i) {
        const unsigned left = bits - i * 8;
        const unsigned mask = left >= 8 ? 0xffu : 0xffu << (8 - left) & 0xffu;
        if (((route.prefix.octets[i] ^ address.octets[i]) & mask) != 0) return false;
    }
    return true;
}

}  // namespace

IpAddress next_hop(const std::vector<Route>& routes, const IpAddress& destination) {
    if (wire::is_link_local(destination)) return destination;
    const Route* best = nullptr;
    for (const Route& route : routes)
        if (covers(route, destination) && (best == nullptr || route.length > best->length)) best = &route;
    return best == nullptr || best->gateway == IpAddress{} ? destination : best->gateway;
}

}  // namespace understudy::stack::ip
