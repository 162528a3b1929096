// The connectionless services: datagrams of clients to the application, and its answers out, or withheld.
//
// While silent an answer is withheld. The primary's equal one, seen on the tap before or after it, cancels
// it; what nothing cancelled within UdpSettings::hold is dropped, and what waits at promotion is sent
// (rules.md 27).
#pragma once

#include <cstddef>
#include <optional>

#include "stack/interfaces.hh"
#include "stack/snapshot.hh"
#include "stack/tcp/core.hh"
#include "stack/udp/datagram.hh"
#include "stack/udp/datagram_store.hh"
#include "stack/udp/peer_links.hh"
#include "stack/udp/tap_copies.hh"

namespace understudy::stack::udp {

class Services {
  public:
    // What they refer to must outlive this. Draws keys from `random`.
    Services(tcp::Core& core, RandomSource& random);

    bool is_service(const Endpoint& endpoint) const;
    // A datagram that read_datagram() took, in its turn among the segments of its burst.
    void input(const Datagram& datagram);
    // Sends, or while silent withholds, a datagram. False when it was refused: each reason has its counter.
    bool send(const Endpoint& service, const Endpoint& client, wire::Bytes bytes);
    // Sends what waits, in the order in which it was answered; the gate is open. Returns how many were sent.
    std::size_t release();
    // Drops what has waited too long.
    void expire();
    std::optional<Instant> next_deadline() const;
    const std::vector<DatagramServiceSnapshot>& snapshots() const { return tallies_; }

  private:
    using Tally = DatagramServiceSnapshot;

    // Null for an endpoint that is no service.
    Tally* tally_of(const Endpoint& endpoint);
    void take_from_client(const Datagram& datagram, Tally& tally);
    void take_from_primary(const Datagram& datagram, Tally& tally);
    bool is_sendable(const Endpoint& service, const Endpoint& client, std::size_t length) const;
    // Drops what has waited too long, each counted in this member of its service's tally.
    std::size_t expire(DatagramStore& store, std::uint64_t Tally::*counter);
    bool transmit(const Flow& flow, wire::Bytes bytes);

    tcp::Core& core_;
    DatagramStore withheld_;  // answers of the application that the primary was not seen to give
    DatagramStore ahead_;     // answers of the primary that the application has not given
    PeerLinks links_;
    TapCopies tap_copies_;
    std::vector<Tally> tallies_;  // one for each service
};

}  // namespace understudy::stack::udp
