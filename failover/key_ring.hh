// The keys that a process holds while one replaces another, without a moment in which the two ends of the
// links do not understand each other. Pure: time is an argument.
//
// Both ends accept the newest key and, until a bound, those before it. Each message names its sender's newest
// key; a process sends with its own newest once the peer is known to hold it, or once the bound has passed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "failover/heartbeat_key.hh"
#include "failover/time.hh"

namespace understudy::failover {

class KeyRing {
  public:
    // Older keys are forgotten first.
    static constexpr std::size_t max_keys = 4;

    // `key` is the newest at `now`; all others are accepted for `overlap` more. False when it was the newest
    // already: then nothing changes.
    bool add(const HeartbeatKey& key, Instant now, Duration overlap);
    bool empty() const { return keys_.empty(); }
    // Not on an empty ring.
    const HeartbeatKey& newest() const { return keys_.back().key; }
    const HeartbeatKey& to_send_with(Instant now) const;
    // Nothing: not held, or not accepted any more.
    const HeartbeatKey* find(KeyId id, Instant now) const;
    // An authenticated message of the peer said that it holds the key.
    void peer_holds(KeyId id);

  private:
    struct Held {
        HeartbeatKey key;
        Instant accepted_until = Instant::max();
    };
    std::vector<Held> keys_;  // the newest last
    KeyId known_to_peer_ = 0;
};

}  // namespace understudy::failover
