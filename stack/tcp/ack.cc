// Acknowledgements, the send window and recovery from loss (RFC 9293 3.10.7.4 fifth, RFC 5681, RFC 6582).
#include "stack/tcp/core.hh"

namespace understudy::stack::tcp {
namespace {

constexpr std::uint8_t duplicate_threshold = 3;  // RFC 5681 3.2

void sample_rtt(Core& core, Connection& c, const Segment& segment, Seq ack) {
    const TcpSettings& tcp = core.settings.tcp;
    const wire::TcpOptions& options = segment.header.options;
    if (c.timestamps && options.timestamps_present) {
        // RFC 7323 4.1. An echo of the primary's clock says nothing about ours (rules.md 11).
        if (static_cast<std::int32_t>(options.tsecr - c.ts_first_own) < 0) return;
        const std::uint32_t elapsed = tsval_now(core, c) - options.tsecr;
        if (static_cast<std::int32_t>(elapsed) >= 0) c.rtt.sample(std::chrono::milliseconds(elapsed), tcp);
    } else if (c.rtt_timed && ack >= c.rtt_seq) {
        c.rtt.sample(core.now - c.rtt_at, tcp);
        c.rtt_timed = false;
    }
}

void enter_recovery(Core& core, Connection& c) {
    ++core.counters.tcp_fast_retransmits;
    c.in_recovery = true;
    c.recover = c.snd_max;
    core.congestion.on_loss(c.congestion, distance(c.snd_una, c.snd_max), c.mss);
    c.congestion.cwnd += duplicate_threshold * c.mss;  // RFC 5681 3.2 step 3: what has left the network
    retransmit_first(core, c);
}

void on_duplicate_ack(Core& core, Connection& c) {
    if (c.in_recovery) {
        c.congestion.cwnd += c.mss;  // RFC 5681 3.2 step 4
        return;
    }
    if (++c.duplicate_acks < duplicate_threshold) return;
    // RFC 6582 3.2 step 2: not again for losses of the same window.
    if (c.snd_una > c.recover || c.recover == c.iss) enter_recovery(core, c);
}

void on_recovery_ack(Core& core, Connection& c, std::uint32_t acked) {
    if (c.snd_una >= c.recover) {
        c.in_recovery = false;
        const std::uint32_t flight = distance(c.snd_una, c.snd_max);
        c.congestion.cwnd = std::min(c.congestion.ssthresh, std::max(flight, std::uint32_t{c.mss}) + c.mss);
        return;
    }
    // A partial acknowledgement: the next segment is lost as well (RFC 6582 3.2 step 3).
    const std::uint32_t deflate = std::min(acked, c.congestion.cwnd);
    c.congestion.cwnd =
        std::max(c.congestion.cwnd - deflate + (acked >= c.mss ? c.mss : 0), std::uint32_t{c.mss});
    retransmit_first(core, c);
}

void on_new_ack(Core& core, Connection& c, const Segment& segment, Seq ack) {
    const std::uint32_t acked = distance(c.snd_una, ack);
    const bool window_limited = distance(c.snd_una, c.snd_max) * 2 >= c.congestion.cwnd;
    sample_rtt(core, c, segment, ack);
    c.rtt.settle(core.settings.tcp);
    c.snd_una = ack;
    c.snd_nxt = max(c.snd_nxt, ack);
    c.duplicate_acks = 0;
    c.progress_at = core.now;
    if (c.in_recovery)
        on_recovery_ack(core, c, acked);
    else if (window_limited)
        core.congestion.on_ack(c.congestion, acked, c.mss);
    // RFC 6298 5.2 and 5.3.
    c.retransmit_at = c.snd_una == c.snd_max ? never : core.now + c.rtt.rto();
    core.arm(c);
    if (c.fin_queued && c.snd_una > c.fin_seq) on_fin_acked(core, c);
}

}  // namespace

void update_send_window(Connection& c, const Segment& segment) {
    const std::uint8_t scale = segment.has(wire::TcpFlags::syn) ? 0 : c.snd_scale;
    const std::uint32_t window = std::uint32_t{segment.header.window} << scale;
    // RFC 9293 3.10.7.4: only from a segment that is not older than the last update. A newer acknowledgement,
    // or a wider window for the same one, is not older either: after a time-out the peer carries them on
    // sequence numbers that it has used before.
    const Seq seq = segment.seq(), ack = segment.ack();
    const bool is_current =
        seq > c.snd_wl1 || ack > c.snd_wl2 || (ack == c.snd_wl2 && (seq == c.snd_wl1 || window > c.snd_wnd));
    if (!is_current) return;
    c.snd_wnd = window;
    c.max_snd_wnd = std::max(c.max_snd_wnd, c.snd_wnd);
    c.snd_wl1 = max(c.snd_wl1, seq);
    c.snd_wl2 = ack;
}

bool master_ack(Core& core, Connection& c, const Segment& segment) {
    Seq ack = segment.ack();
    const bool mirrored = segment.source != Source::service;
    if (ack > c.snd_max) {
        if (!c.promoted || (c.verified && !c.ack_parked)) {
            ++core.counters.drop_bad_ack;
            if (core.settings.tcp.answer_future_acks) challenge_ack(core, c, segment);  // RFC 5961 5.2
            return false;
        }
        // The client has bytes of the primary that nobody here has seen: they are swallowed when the
        // application writes them (rules.md 3).
        if (!c.ack_parked || ack > c.parked_ack) c.parked_ack = ack;
        c.ack_parked = true;
        ++core.counters.client_acks_parked;
        ack = c.snd_max;
    }
    const std::uint32_t old_window = c.snd_wnd;
    if (ack >= c.snd_una) update_send_window(c, segment);
    if (ack > c.snd_una) {
        on_new_ack(core, c, segment, ack);
    } else if (ack == c.snd_una && c.snd_una != c.snd_max && segment.length() == 0 &&
               c.snd_wnd == old_window && !mirrored) {
        on_duplicate_ack(core, c);
    }
    if (c.snd_wnd == 0 && !c.detached)
        c.progress_at = core.now;  // a peer that answers probes is never given up
    if (old_window == 0 && c.snd_wnd != 0 && c.flight() == 0) c.retransmit_at = never;  // the probes end
    return true;
}

void release_acked(Core& core, Connection& c) {
    const std::uint32_t before = c.send_queue.bytes();
    c.send_queue.release(c.snd_una, c.is_silent());
    if (!c.send_blocked || c.send_queue.bytes() == before || !c.announced) return;
    c.send_blocked = false;
    core.events.writable(c.id());
}

}  // namespace understudy::stack::tcp
