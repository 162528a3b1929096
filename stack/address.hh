// Link-level and network addresses.
#pragma once

#include <array>
#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace understudy::stack {

// An IEEE 802 MAC address.
struct LinkAddress {
    std::array<std::uint8_t, 6> octets{};

    static constexpr LinkAddress broadcast() { return {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}; }
    constexpr bool is_group() const { return (octets[0] & 1) != 0; }
    constexpr bool is_zero() const { return *this == LinkAddress{}; }
    friend constexpr auto operator<=>(const LinkAddress&, const LinkAddress&) = default;
};

// "02:00:00:00:00:01". parse_link_address returns nothing for any other form.
std::string to_string(const LinkAddress& address);
std::optional<LinkAddress> parse_link_address(std::string_view text);

// An IPv4 or IPv6 address; IPv4 is held in its mapped form (RFC 4291 2.5.5.2), so that one type keys every
// flow.
struct IpAddress {
    std::array<std::uint8_t, 16> octets{};

    // Read and compared for every frame: as two words, of a little-endian host.
    static constexpr IpAddress from_v4(std::uint32_t host_order) {
        const Words words{0, std::uint64_t{__builtin_bswap32(host_order)} << 32 | v4_prefix};
        return {std::bit_cast<std::array<std::uint8_t, 16>>(words)};
    }
    constexpr bool is_v4() const {
        return words().low == 0 && static_cast<std::uint32_t>(words().high) == v4_prefix;
    }
    // The IPv4 address in host order; only for is_v4().
    constexpr std::uint32_t v4() const {
        return __builtin_bswap32(static_cast<std::uint32_t>(words().high >> 32));
    }
    friend constexpr auto operator<=>(const IpAddress&, const IpAddress&) = default;
    friend constexpr bool operator==(const IpAddress& a, const IpAddress& b) {
        return a.words() == b.words();
    }

  private:
    static constexpr std::uint32_t v4_prefix = 0xffff0000;  // ::ffff:0:0/96
    struct Words {
        std::uint64_t low, high;
        friend constexpr bool operator==(const Words&, const Words&) = default;
    };
    constexpr Words words() const { return std::bit_cast<Words>(octets); }
};

// Dotted quad for IPv4, RFC 5952 form for IPv6. parse_ip_address takes both.
std::string to_string(const IpAddress& address);
std::optional<IpAddress> parse_ip_address(std::string_view text);

// One end of a connection.
struct Endpoint {
    IpAddress address;
    std::uint16_t port = 0;
    friend constexpr auto operator<=>(const Endpoint&, const Endpoint&) = default;
};

// "10.77.0.1:7000", "[fd00::1]:7000".
std::string to_string(const Endpoint& endpoint);
std::optional<Endpoint> parse_endpoint(std::string_view text);

}  // namespace understudy::stack
