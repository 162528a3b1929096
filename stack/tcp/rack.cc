// Losses found by time (RFC 8985): RACK, its reordering timer, and the tail loss probe.
#include <algorithm>

#include "stack/tcp/ack_news.hh"

namespace understudy::stack::tcp {
namespace {

// A timer is never set shorter: two ticks of Linux.
constexpr Duration shortest_timer = std::chrono::milliseconds(2);
constexpr std::uint8_t reorder_recoveries = 16;  // RFC 8985 6.2.2
constexpr std::uint8_t most_reorder_steps = 255;

// Which of two segments was sent later; of those sent at once, the one that ends later (RFC 8985 5.2).
bool sent_after(Instant sent_at, Seq end, Instant other_sent_at, Seq other_end) {
    return sent_at > other_sent_at || (sent_at == other_sent_at && end > other_end);
}

// RFC 8985 6.2.4.
Duration reordering_window(const Connection& c, const Recovery& r) {
    if (!r.reordering_seen) {
        if (r.state == RecoveryState::recovery || r.state == RecoveryState::loss) return Duration::zero();
        if (r.sacked() >= c.reordering) return Duration::zero();
    }
    return std::min<Duration>(c.rtt.min_rtt() / 4 * r.reorder_steps, c.rtt.srtt());
}

// Marks the segments that were sent long enough before the latest one delivered. Returns how long the next of
// them still has; zero when none waits.
Duration mark_overdue(Core& core, Connection& c, Recovery& r) {
    const Duration patience = r.rack_rtt + reordering_window(c, r);
    Duration longest{};
    for (std::uint32_t i = 0; i < r.sent.size(); ++i) {
        const SentSegment& segment = r.sent[i];
        if (segment.sacked || (segment.lost && !segment.resent)) continue;
        if (!sent_after(r.rack_sent_at, r.rack_end, segment.sent_at, segment.end)) continue;
        const Duration left = segment.sent_at + patience - core.now;
        if (left <= Duration::zero()) {
            r.sent.mark_lost(i);
        } else {
            longest = std::max(longest, left);
        }
    }
    return longest;
}

}  // namespace

void advance_rack(Core& core, const Connection& c, Recovery& r, const SentSegment& delivered) {
    const Duration rtt = core.now - delivered.sent_at;
    // So soon after a retransmission it is the original that arrived.
    if (delivered.ever_resent && rtt < c.rtt.min_rtt()) return;
    r.rack_advanced = true;
    r.rack_rtt = rtt;
    if (r.rack_known && !sent_after(delivered.sent_at, delivered.end, r.rack_sent_at, r.rack_end)) return;
    r.rack_known = true;
    r.rack_sent_at = delivered.sent_at;
    r.rack_end = delivered.end;
}

void widen_reordering_window(const Connection& c, Recovery& r) {
    // Once a round trip.
    if (c.snd_una < r.dsack_round_end) r.dsack_seen = false;
    if (r.dsack_seen) {
        r.reorder_steps = static_cast<std::uint8_t>(std::min(r.reorder_steps + 1, int{most_reorder_steps}));
        r.dsack_seen = false;
        r.dsack_round_end = c.snd_nxt;
        r.reorder_persist = reorder_recoveries;
    } else if (r.reorder_persist == 0) {
        r.reorder_steps = 1;
    }
}

bool find_losses(Core& core, Connection& c, Recovery& r) {
    if (!r.rack_advanced) return false;
    r.rack_advanced = false;
    const Duration wait = mark_overdue(core, c, r);
    if (wait == Duration::zero()) return false;
    c.transmit_timer = TransmitTimer::reordering;
    c.retransmit_at = core.now + wait + shortest_timer;
    core.arm(c);
    return true;
}

void on_reorder_timeout(Core& core, Connection& c, Recovery& r) {
    const std::uint32_t before = r.in_flight();
    const std::uint32_t lost_before = r.sent.lost();
    (void)mark_overdue(core, c, r);
    if (r.in_flight() != before) {
        if (r.state != RecoveryState::recovery) {
            enter_recovery(core, c, r, false);
            reduce_window(c, r, 1, r.sent.lost() - lost_before, false);
        }
        resend_lost(core, c, r);
    }
    if (c.retransmit_at == never) restart_retransmission(core, c);
}

// RFC 8985 7.2, with Linux's allowance for a delayed acknowledgement.
bool schedule_loss_probe(Core& core, Connection& c, Recovery& r) {
    const bool calm = r.state == RecoveryState::open || r.state == RecoveryState::cwr;
    if (!core.settings.tcp.loss_probes || !c.sack || !calm || r.sent.empty()) return false;
    Duration wait = core.settings.tcp.rto_initial;
    if (c.rtt.has_sample()) {
        wait = 2 * c.rtt.srtt();
        wait += r.sent.size() == 1 ? core.settings.tcp.rto_min : shortest_timer;
    }
    const Instant timeout = r.sent.front().sent_at + c.rtt.rto();
    c.transmit_timer = TransmitTimer::loss_probe;
    c.retransmit_at = std::min(core.now + wait, std::max(timeout, core.now));
    core.arm(c);
    return true;
}

void send_loss_probe(Core& core, Connection& c, Recovery& r) {
    // RFC 8985 7.3: one at a time.
    if (!r.probe_out) {
        const bool fresh = send_beyond_window(core, c);
        if (fresh || (!r.sent.empty() && resend(core, c, r, r.sent.size() - 1, true))) {
            ++core.counters.tcp_loss_probes;
            r.probe_out = true;
            r.probe_was_resent = !fresh;
            r.probe_end = c.snd_nxt;
            c.transmit_timer = TransmitTimer::retransmission;
            c.retransmit_at = core.now + c.rtt.rto();
            core.arm(c);
            return;
        }
    }
    restart_retransmission(core, c);
}

// RFC 8985 7.4: was a segment lost that only the probe repaired?
void on_probe_ack(Core& core, Connection& c, Recovery& r, const AckNews& news, Seq ack) {
    if (!r.probe_out || ack < r.probe_end) return;
    if (!r.probe_was_resent || news.dsack_of_probe) {
        r.probe_out = false;
    } else if (ack > r.probe_end) {
        begin_reduction(core, c, r);
        r.state = RecoveryState::cwr;
        end_reduction(c, r);
        keep_open(c, r);
    } else if (news.duplicate && !news.data_sacked) {
        r.probe_out = false;  // both copies arrived
    }
}

}  // namespace understudy::stack::tcp
