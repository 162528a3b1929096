// Where bytes come from that the mirror did not show (design.md 4). The first source is the primary's agent.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string_view>

#include "failover/time.hh"

namespace understudy::failover {

// An end of a connection; an IPv4 address is mapped (RFC 4291 2.5.5.2).
struct RepairEndpoint {
    std::array<std::uint8_t, 16> address{};
    std::uint16_t port = 0;
    friend auto operator<=>(const RepairEndpoint&, const RepairEndpoint&) = default;
};

// Sequence numbers [begin, end) of one direction of a connection.
struct RepairRange {
    RepairEndpoint client;
    RepairEndpoint service;
    bool from_primary = false;
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
    friend auto operator<=>(const RepairRange&, const RepairRange&) = default;
};

// The asker's own name for a connection; comes back with the answer.
using RepairOwner = std::array<std::uint32_t, 3>;

// Bytes from `begin` on, within a range that was asked for; valid during the call.
struct RepairPiece {
    RepairOwner owner{};
    bool from_primary = false;
    std::uint32_t begin = 0;
    std::string_view bytes;
    bool fin = false;  // after the last byte
};

class RepairSource {
  public:
    using OnPiece = std::function<void(const RepairPiece&)>;
    virtual ~RepairSource() = default;
    // Asks for what is still missing. Call it again and again with all of it: the source remembers what it
    // asked for, and asks anew when no answer comes. Answers go to OnPiece, in pieces, in any order, if at
    // all.
    virtual void ask(const RepairRange& range, const RepairOwner& owner, Instant now) = 0;
};

}  // namespace understudy::failover
