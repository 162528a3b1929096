// Finding losses and repairing them: RACK-TLP (RFC 8985) where SACK is negotiated, NewReno (RFC 6582) where
// it is not, proportional rate reduction (RFC 6937), forward RTO recovery (RFC 5682) and the undoing of what
// was no loss (RFC 3522, RFC 3708).
#pragma once

#include <cstdint>

#include "stack/hystart.hh"
#include "stack/seq.hh"
#include "stack/snapshot.hh"
#include "stack/tcp/sent_segments.hh"
#include "stack/time.hh"

namespace understudy::stack::tcp {

// What a connection has in flight, and what it knows of its losses. It exists only while something is in
// flight or a recovery is not over: an idle connection has none.
struct Recovery {
    SentSegments sent;
    RecoveryState state = RecoveryState::open;
    Seq high_seq;                   // the recovery point: the state ends when it is acknowledged
    std::uint32_t reno_sacked = 0;  // without SACK: duplicate acknowledgements stand for segments received

    // What cwnd and ssthresh were before, for undoing (ssthresh 0: not to be undone).
    std::uint32_t prior_cwnd = 0;
    std::uint32_t prior_ssthresh = 0;
    bool undo_possible = false;
    Seq undo_from;                  // retransmissions since this point was unacknowledged
    std::int32_t undo_resent = -1;  // those that no D-SACK has explained; −1: none was made
    bool resent_stamped = false;
    std::uint32_t resent_tsval = 0;  // of the first retransmission (RFC 3522)

    std::uint32_t prr_delivered = 0;
    std::uint32_t prr_out = 0;

    // RFC 8985 5.2: the most recently sent segment that was delivered.
    bool rack_known = false;
    bool rack_advanced = false;
    Instant rack_sent_at{};
    Seq rack_end;
    Duration rack_rtt{};
    Seq highest_sacked;
    bool any_sacked = false;
    // RFC 8985 6.2.2: D-SACKs widen the reordering window for a while.
    std::uint8_t reorder_steps = 1;
    std::uint8_t reorder_persist = 16;
    bool dsack_seen = false;
    Seq dsack_round_end;
    bool reordering_seen = false;

    bool probe_out = false;  // a tail loss probe is unanswered
    bool probe_was_resent = false;
    Seq probe_end;

    bool frto = false;

    HyStart hystart;

    std::uint32_t sacked() const { return sent.sacked() + reno_sacked; }
    // The pipe of RFC 6675, in segments.
    std::uint32_t in_flight() const {
        const std::uint32_t left = sacked() + sent.lost();
        return sent.size() + sent.resent() -
               (left < sent.size() + sent.resent() ? left : sent.size() + sent.resent());
    }
    bool reduces_window() const { return state == RecoveryState::cwr || state == RecoveryState::recovery; }
};

}  // namespace understudy::stack::tcp
