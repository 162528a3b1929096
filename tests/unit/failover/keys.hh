// Heartbeat keys for tests.
#pragma once

#include <array>
#include <cstdint>

#include "failover/heartbeat_key.hh"
#include "failover/key_ring.hh"

namespace understudy::failover {

inline HeartbeatKey make_key(std::uint8_t octet) {
    std::array<std::uint8_t, HeartbeatKey::bytes> secret;
    secret.fill(octet);
    return HeartbeatKey(secret);
}

inline KeyRing ring_of(std::uint8_t octet) {
    KeyRing keys;
    keys.add(make_key(octet), Instant{}, Duration::zero());
    return keys;
}

}  // namespace understudy::failover
