// What one end of the heartbeat links says and understands, datagram by datagram: the links, and the keys
// that authenticate them. Pure: bytes, time and randomness are arguments; whoever owns the sockets moves the
// bytes.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "failover/datagram.hh"
#include "failover/key_ring.hh"
#include "failover/links.hh"
#include "failover/time.hh"
#include "failover/words.hh"

namespace understudy::failover {

class Session {
  public:
    struct Taken {
        bool sign_of_life = false;
        // To be sent back at once on the same link; empty: nothing.
        std::string reply;
        std::optional<proto::v1::Repair> repair;
        // What the peer says of itself; nothing: the message is none to go by.
        std::optional<PeerWords> words;
    };

    // Without keys, heartbeats are neither authenticated nor accepted from a peer that authenticates its own.
    Session(const Links::Settings& links, Role role, KeyRing keys, std::function<std::uint64_t()> random);

    // What every message says of us from here on. Without keys nothing is said, nor believed (rules.md 13 b).
    void say(const AgentWord& word);
    void say(const ReplicaWord& word);

    // The next Hello for `link`, sent at `now`.
    std::string hello(std::size_t link, Instant now);
    // Judges what came from the peer's address on `link` at `now`, and counts it.
    Taken take(std::size_t link, std::string_view bytes, Instant now);

    // A repair message, ready to be sent; empty without keys: repair is for authenticated links alone.
    std::string repair(proto::v1::Repair message, Instant now);

    Links& links() { return links_; }
    const Links& links() const { return links_; }
    KeyRing& keys() { return keys_; }
    const KeyRing& keys() const { return keys_; }

  private:
    using Decoded = std::variant<proto::v1::Heartbeat, proto::v1::Repair, DatagramError>;
    std::optional<PeerWords> words_in(std::size_t link, const proto::v1::Heartbeat& message);
    Decoded decode(std::string_view bytes, Instant now) const;
    std::string encode(proto::v1::Heartbeat& message, Instant now) const;

    Role role_;
    Links links_;
    KeyRing keys_;
};

}  // namespace understudy::failover
