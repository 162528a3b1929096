// What one end of the heartbeat links says and understands, datagram by datagram: the links, and the keys
// that authenticate them. Pure: bytes, time and randomness are arguments; whoever owns the sockets moves the
// bytes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "failover/datagram.hh"
#include "failover/key_ring.hh"
#include "failover/links.hh"
#include "failover/time.hh"

namespace understudy::failover {

class Session {
  public:
    struct Taken {
        bool sign_of_life = false;
        // To be sent back at once on the same link; empty: nothing.
        std::string reply;
    };

    // Without keys, heartbeats are neither authenticated nor accepted from a peer that authenticates its own.
    Session(const Links::Settings& links, Role role, KeyRing keys, std::function<std::uint64_t()> random);

    // The next Hello for `link`, sent at `now`.
    std::string hello(std::size_t link, Instant now);
    // Judges what came from the peer's address on `link` at `now`, and counts it.
    Taken take(std::size_t link, std::string_view bytes, Instant now);

    Links& links() { return links_; }
    const Links& links() const { return links_; }
    KeyRing& keys() { return keys_; }
    const KeyRing& keys() const { return keys_; }

  private:
    std::variant<proto::v1::Heartbeat, DatagramError> decode(std::string_view bytes, Instant now) const;
    std::string encode(proto::v1::Heartbeat& message, Instant now) const;

    Role role_;
    Links links_;
    KeyRing keys_;
};

}  // namespace understudy::failover
