#include "stack/address.hh"

#include <arpa/inet.h>

#include <charconv>
#include <cstdio>
#include <cstring>

namespace understudy::stack {

std::string to_string(const LinkAddress& address) {
    std::array<char, 18> text;
    const auto& o = address.octets;
    std::snprintf(text.data(), text.size(), "%02x:%02x:%02x:%02x:%02x:%02x", o[0], o[1], o[2], o[3], o[4],
                  o[5]);
    return text.data();
}

std::optional<LinkAddress> parse_link_address(std::string_view text) {
    if (text.size() != 17) return std::nullopt;
    LinkAddress address;
    for (std::size_t i = 0; i < 6; ++i) {
        const char* first = text.data() + 3 * i;
        const auto [end, error] = std::from_chars(first, first + 2, address.octets[i], 16);
        if (error != std::errc{} || end != first + 2) return std::nullopt;
        if (i < 5 && first[2] != ':') return std::nullopt;
    }
    return address;
}

std::string to_string(const IpAddress& address) {
    std::array<char, INET6_ADDRSTRLEN> text;
    const bool v4 = address.is_v4();
    if (inet_ntop(v4 ? AF_INET : AF_INET6, address.octets.data() + (v4 ? 12 : 0), text.data(), text.size()) ==
        nullptr)
        return "?";
    return text.data();
}

std::optional<IpAddress> parse_ip_address(std::string_view text) {
    const std::string terminated(text);
    IpAddress address;
    std::uint32_t v4 = 0;
    if (inet_pton(AF_INET, terminated.c_str(), &v4) == 1) return IpAddress::from_v4(ntohl(v4));
    if (inet_pton(AF_INET6, terminated.c_str(), address.octets.data()) == 1) return address;
    return std::nullopt;
}

std::string to_string(const Endpoint& endpoint) {
    const std::string address = to_string(endpoint.address);
    const std::string port = std::to_string(endpoint.port);
    return endpoint.address.is_v4() ? address + ":" + port : "[" + address + "]:" + port;
}

std::optional<Endpoint> parse_endpoint(std::string_view text) {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) return std::nullopt;
    std::string_view host = text.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']'))
        host = host.substr(1, host.size() - 2);
    else if (host.find(':') != std::string_view::npos)
        return std::nullopt;  // a bare IPv6 address has no telling where the port begins
    const auto address = parse_ip_address(host);
    Endpoint endpoint;
    const std::string_view port = text.substr(colon + 1);
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), endpoint.port);
    if (!address || error != std::errc{} || end != port.data() + port.size()) return std::nullopt;
    endpoint.address = *address;
    return endpoint;
}

}  // namespace understudy::stack
