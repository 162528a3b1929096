#include "failover/key_ring.hh"

#include <algorithm>

namespace understudy::failover {

bool KeyRing::add(const HeartbeatKey& key, Instant now, Duration overlap) {
    if (!keys_.empty() && newest().id() == key.id()) return false;
    // What the peer is not known to hold was never sent with.
    if (keys_.empty()) known_to_peer_ = key.id();
    std::erase_if(keys_,
                  [&](const Held& held) { return held.key.id() == key.id() || held.accepted_until <= now; });
    for (Held& held : keys_)
        held.accepted_until = std::min(held.accepted_until, now + overlap);
    if (keys_.size() == max_keys) keys_.erase(keys_.begin());
    keys_.push_back({key});
    return true;
}

const HeartbeatKey& KeyRing::to_send_with(Instant now) const {
    const HeartbeatKey* shared = find(known_to_peer_, now);
    return shared != nullptr ? *shared : newest();
}

const HeartbeatKey* KeyRing::find(KeyId id, Instant now) const {
    const auto held = std::ranges::find_if(keys_, [&](const Held& candidate) {
        return candidate.key.id() == id && now < candidate.accepted_until;
    });
    return held != keys_.end() ? &held->key : nullptr;
}

void KeyRing::peer_holds(KeyId id) {
    if (!keys_.empty() && id == newest().id()) known_to_peer_ = id;
}

}  // namespace understudy::failover
