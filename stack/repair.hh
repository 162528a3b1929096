// Bytes that a silent stack lacks, and their repair from another source than the mirror (design.md 4,
// rules.md 9).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "stack/address.hh"
#include "stack/interfaces.hh"
#include "stack/time.hh"

namespace understudy::stack {

enum class Direction : std::uint8_t {
    from_client,   // a hole: the primary has acknowledged them
    from_primary,  // uncompared: the client has acknowledged them, or the primary has sent later ones
};

// Sequence numbers [begin, end) of one direction, which the mirror proved sent and did not show. A FIN has a
// number as well: where one closes the range, the last number may be its.
struct MissingBytes {
    ConnectionId connection;
    Endpoint client;
    Endpoint service;
    Direction direction = Direction::from_client;
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
    Instant since{};
};

// What a repair source found: `bytes` from `begin` on, and whether a FIN stands after the last of them.
struct RepairBytes {
    ConnectionId connection;
    Direction direction = Direction::from_client;
    std::uint32_t begin = 0;
    std::span<const std::byte> bytes;
    bool fin = false;
};

}  // namespace understudy::stack
