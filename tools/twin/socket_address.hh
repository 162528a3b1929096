// Between stack::Endpoint and the kernel's socket addresses.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "stack/address.hh"

namespace understudy::twin {

struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;

    sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

inline SocketAddress to_socket_address(const stack::Endpoint& endpoint) {
    SocketAddress result;
    if (endpoint.address.is_v4()) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(endpoint.port);
        address.sin_addr.s_addr = htonl(endpoint.address.v4());
        std::memcpy(&result.storage, &address, sizeof address);
        result.length = sizeof address;
    } else {
        sockaddr_in6 address{};
        address.sin6_family = AF_INET6;
        address.sin6_port = htons(endpoint.port);
        std::copy(endpoint.address.octets.begin(), endpoint.address.octets.end(), address.sin6_addr.s6_addr);
        std::memcpy(&result.storage, &address, sizeof address);
        result.length = sizeof address;
    }
    return result;
}

inline stack::Endpoint to_endpoint(const SocketAddress& address) {
    stack::Endpoint endpoint;
    if (address.storage.ss_family == AF_INET) {
        sockaddr_in v4{};
        std::memcpy(&v4, &address.storage, sizeof v4);
        endpoint.address = stack::IpAddress::from_v4(ntohl(v4.sin_addr.s_addr));
        endpoint.port = ntohs(v4.sin_port);
    } else {
        sockaddr_in6 v6{};
        std::memcpy(&v6, &address.storage, sizeof v6);
        std::copy(std::begin(v6.sin6_addr.s6_addr), std::end(v6.sin6_addr.s6_addr),
                  endpoint.address.octets.begin());
        endpoint.port = ntohs(v6.sin6_port);
    }
    return endpoint;
}

}  // namespace understudy::twin
