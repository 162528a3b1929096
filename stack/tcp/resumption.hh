// What a promoted connection is besides an ordinary one: until its client's own numbers agree (rules.md 3),
// and until the first round trip is over.
#pragma once

#include <cstdint>

#include "stack/seq.hh"
#include "stack/time.hh"

namespace understudy::stack::tcp {

struct Resumption {
    // Verification. `client_nxt` is the highest sequence number at which the client was seen to stand.
    Seq client_nxt;
    bool client_seen = false;
    std::uint8_t probes = 0;
    Instant probe_at = Instant::max();
    // The client stands ahead of RCV.NXT, and has until then to send what lies between; from `waits_at` on.
    Instant give_up_at = Instant::max();
    Seq waits_at;
    Duration patience{};

    // Pacing: at most one segment in `segment_interval` (zero: no limit), from `paced_until` on as the window
    // allows.
    Instant paced_until = Instant::min();
    Instant next_send_at = Instant::min();
    Duration segment_interval{};
    Instant wake_at = Instant::max();  // something waits for next_send_at

    bool is_paced(Instant now) const { return now < paced_until && segment_interval != Duration::zero(); }
};

}  // namespace understudy::stack::tcp
