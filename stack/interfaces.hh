// What the stack needs from whoever drives it: where frames go, where randomness comes from, who hears
// events.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "stack/address.hh"
#include "stack/time.hh"

namespace understudy::stack {

// Names a connection. A generation tells a slot's present connection from its earlier ones; an id outlives
// its connection harmlessly: calls with a dead id do nothing.
struct ConnectionId {
    std::uint32_t index = 0;
    std::uint32_t generation = 0;
    friend constexpr auto operator<=>(const ConnectionId&, const ConnectionId&) = default;
};

// Where a frame was seen, and on a tap, who sent it.
enum class Source : std::uint8_t {
    tap_from_client,   // mirrored, client → primary
    tap_from_primary,  // mirrored, primary → client
    service,           // received on the replica's own service port
};

// Takes frames out. One frame at a time: reserve, fill, commit.
class FrameSink {
  public:
    virtual ~FrameSink() = default;
    // Room for one frame of `length` bytes, valid until the next call on this sink; empty when there is no
    // buffer (the frame is then lost, and the stack counts it).
    virtual std::span<std::byte> reserve(std::size_t length) = 0;
    // Sends the reserved frame. It may be delayed to the end of the burst.
    virtual void commit() = 0;

    // Only of a sink whose port cuts TCP segments itself (Settings::super_segment_bytes).

    // Room for `length` bytes more behind those of the reserved frame, which stay valid; they need not lie next
    // to each other. Empty: the frame can take no more, and stays as it is.
    virtual std::span<std::byte> extend(std::size_t /*length*/) { return {}; }
    // Sends the reserved frame as segments of `segment_bytes` of payload each, the last with the rest. The
    // headers are of the whole: its length, PSH and FIN of the last segment, the IPv4 identification of the
    // first, and for a checksum the folded sum of the pseudo-header.
    virtual void commit_segments(std::uint16_t /*segment_bytes*/) { commit(); }
};

// Random numbers. The stack draws its keys at construction and needs few afterwards.
class RandomSource {
  public:
    virtual ~RandomSource() = default;
    virtual std::uint64_t next() = 0;
};

// Why a connection is gone.
enum class CloseReason : std::uint8_t {
    finished,          // both ends closed
    reset_by_peer,     // the client sent RST
    reset_by_primary,  // the primary sent RST while we were silent
    aborted,           // abort() was called
    timed_out,         // no answer within the user time-out (RFC 9293 3.8.3)
    refused,           // active open answered by RST
    uncovered,         // reset at promotion: not known to be identical
    muted,             // the primary serves after all, or an operator demoted us: nothing was sent
    unreachable,       // active open: the network or the host said so
    evicted,           // the connection table was full, or the port was reused
};
const char* to_string(CloseReason reason);

// What one SYN/ACK of the primary said: the paper's Figure 3.
struct SeedRecord {
    Instant at{};
    Endpoint client;
    Endpoint service;
    LinkAddress client_link;  // where the primary sends frames of this flow
    std::uint32_t client_isn = 0;
    std::uint32_t primary_isn = 0;
    std::uint16_t client_mss = 0;   // 0: not known
    std::uint16_t primary_mss = 0;  // 0: not offered
    std::uint8_t client_window_scale = 0;
    std::uint8_t primary_window_scale = 0;
    bool window_scaling = false;
    bool timestamps = false;
    bool sack_permitted = false;
    bool inferred = false;  // part of it was not on the mirror (rules.md 4)
    std::uint32_t primary_tsval = 0;
    std::uint32_t client_tsval = 0;
};

// Hears what happens to connections. Called on the stack's own core, inside receive(), advance(), promote()
// or a call on the connection. The handler may call any method of the stack but receive(), advance() and
// promote().
class ConnectionEvents {
  public:
    virtual ~ConnectionEvents() = default;
    // A connection of a service is established (silent: on the mirror; master: here). Never called twice for
    // one id.
    virtual void accepted(ConnectionId id, const Endpoint& client, const Endpoint& service) = 0;
    // An active open (Stack::connect) is established.
    virtual void connected(ConnectionId id) = 0;
    // In-order bytes of the peer. Returns how many were taken; the rest stays queued until
    // Stack::resume_receive, and closes the window in master mode.
    virtual std::size_t received(ConnectionId id, std::span<const std::byte> bytes) = 0;
    // The peer wants everything before the `end`th byte of its stream to be read with urgency (RFC
    // 9293 3.8.5); those bytes come in line, and may have come. Each time that the end moves on.
    virtual void urgent(ConnectionId /*id*/, std::uint64_t /*end*/) {}
    // The peer's FIN, after its last byte was taken.
    virtual void peer_closed(ConnectionId id) = 0;
    // There is room to send again after Stack::send took less than it was given.
    virtual void writable(ConnectionId id) = 0;
    // The connection is gone; `id` is dead when this returns. The last event of a connection.
    virtual void closed(ConnectionId id, CloseReason reason) = 0;
    // A datagram of `client` for a UDP service, in its turn among all that arrived. `bytes` is valid until
    // this returns; it may be empty.
    virtual void datagram(const Endpoint& /*service*/, const Endpoint& /*client*/,
                          std::span<const std::byte> /*bytes*/) {}
    // Master only: another host claims `address`, one of ours, from `link`, and was answered by an
    // announcement (RFC 5227 2.4). At most once for an address in each Settings::defend_interval.
    virtual void address_conflict(const IpAddress& /*address*/, const LinkAddress& /*link*/) {}
    // The state of `service`'s program is not that of the primary's any more (silent mode only): ServiceState::lost.
    // An observation, raised once for each attestation.
    virtual void state_lost(const Endpoint& /*service*/) {}
    // The primary's next in-order bytes to the client, as the mirror showed them (silent mode only; no longer
    // once the connection cannot be continued). An observation: no method of the stack may be called.
    virtual void primary_sent(ConnectionId /*id*/, std::span<const std::byte> /*bytes*/) {}
    // A connection was seeded from the primary's SYN/ACK (silent mode only).
    virtual void seeded(const SeedRecord&) {}
};

}  // namespace understudy::stack
