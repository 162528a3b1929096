// A service as the tap knows it.
#pragma once

#include <array>
#include <compare>
#include <cstdint>

namespace understudy::tap {

enum class Transport : std::uint8_t { tcp, udp };

struct ServiceEndpoint {
    std::array<std::uint8_t, 16> address{};  // IPv6, or IPv4 in its mapped form (RFC 4291 2.5.5.2)
    std::uint16_t port = 0;
    Transport transport = Transport::tcp;
    friend constexpr auto operator<=>(const ServiceEndpoint&, const ServiceEndpoint&) = default;
};

}  // namespace understudy::tap
