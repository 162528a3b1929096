// Acknowledgements and the send window (RFC 9293 3.10.7.4 fifth, RFC 6298, RFC 7323 4).
#include <algorithm>

#include "stack/tcp/ack_news.hh"

namespace understudy::stack::tcp {
namespace {

// The round trip of what was acknowledged, best source first: a segment that was sent once, a SACKed one, the
// echoed timestamp.
void sample_rtt(Core& core, Connection& c, const Segment& segment, AckNews& news) {
    const TcpSettings& tcp = core.settings.tcp;
    const wire::TcpOptions& options = segment.header.options;
    std::optional<Duration> rtt = news.resent_acked ? std::nullopt : news.rtt;
    if (!rtt) rtt = news.sacked_rtt;
    if (!rtt && news.segments_acked && c.timestamps && options.timestamps_present) {
        // RFC 7323 4.1. An echo of the primary's clock says nothing about ours (rules.md 11).
        if (static_cast<std::int32_t>(options.tsecr - c.ts_first_own) < 0) return;
        const std::uint32_t elapsed = tsval_now(core, c) - options.tsecr;
        if (static_cast<std::int32_t>(elapsed) >= 0)
            rtt =
                std::max<Duration>(Duration(std::int64_t{elapsed} * c.ts_tick()), std::chrono::milliseconds(1));
    }
    if (rtt) c.rtt.sample(*rtt, c.snd_una, c.snd_nxt, tcp);
}

// How long an acknowledgement may wait for the rest of a burst: a few of the largest, as fast as slow start
// sends, a millisecond at most (as Linux).
Duration burst_cushion(const Connection& c) {
    constexpr Duration longest = std::chrono::milliseconds(1);
    constexpr std::int64_t bytes = 4 * 65536;
    const std::int64_t in_a_round_trip = 2 * std::int64_t{c.congestion.cwnd} * c.mss;
    return std::min<Duration>(c.rtt.srtt() * bytes / in_a_round_trip, longest);
}

void watch_slow_start(Core& core, Connection& c, Recovery& r, const AckNews& news) {
    const TcpSettings& tcp = core.settings.tcp;
    if (!tcp.hystart || tcp.congestion != CongestionAlgorithm::cubic || !news.latest_rtt ||
        news.resent_acked || c.congestion.cwnd >= c.congestion.ssthresh ||
        c.congestion.cwnd < HyStart::least_window)
        return;
    const bool paced = c.resumption() != nullptr && c.resumption()->is_paced(core.now);
    if (!r.hystart.on_ack({.rtt = *news.latest_rtt,
                           .min_rtt = c.rtt.min_rtt(),
                           .cushion = burst_cushion(c),
                           .paced = paced,
                           .una = c.snd_una,
                           .nxt = c.snd_nxt,
                           .now = core.now}))
        return;
    c.congestion.ssthresh = c.congestion.cwnd;
    ++core.counters.tcp_slow_starts_ended;
}

// Takes what is acknowledged off the scoreboard.
void take_acknowledged(Core& core, Connection& c, Recovery& r, AckNews& news) {
    while (!r.sent.empty() && r.sent.front().begin < c.snd_una) {
        const SentSegment segment = r.sent.front();
        if (segment.end > c.snd_una) {
            r.sent.trim_front(c.snd_una);
            break;
        }
        ++news.acked;
        if (segment.ever_resent) {
            news.resent_acked = true;
        } else if (!segment.sacked) {
            news.latest_rtt = core.now - segment.sent_at;
            if (!news.rtt) news.rtt = news.latest_rtt;
            if (news.known_sacked && segment.begin < *news.known_sacked) note_reordering(c, r, segment.begin);
            if (segment.end <= r.high_seq) news.original_delivered = true;
        }
        if (!segment.sacked) {
            ++news.delivered;
            if (c.sack) advance_rack(core, c, r, segment);
        }
        r.sent.pop_front();
    }
    news.segments_acked = news.acked != 0;
    if (r.any_sacked && r.highest_sacked <= c.snd_una) r.any_sacked = false;
    if (!c.sack && news.acked != 0) {
        // What the duplicate acknowledgements had stood for is told by this one, and was counted by them.
        news.delivered = std::max(news.acked - std::min(news.acked, r.reno_sacked), 1u);
        r.reno_sacked = news.acked - 1 < r.reno_sacked ? r.reno_sacked - (news.acked - 1) : 0;
        r.reno_sacked = std::min(r.reno_sacked, r.sent.size());
    }
}

void set_timer(Core& core, Connection& c, Recovery& r) {
    if (r.sent.empty()) {
        c.retransmit_at = never;
    } else if (!schedule_loss_probe(core, c, r)) {
        restart_retransmission(core, c);
    }
}

// True when the acknowledgement calls for more than making the window larger.
bool is_dubious(const Recovery& r, const AckNews& news) {
    return r.state != RecoveryState::open || news.duplicate || news.data_sacked || news.dsack ||
           news.ecn_echo;
}

void send_as_called_for(Core& core, Connection& c, Recovery& r, Resend what) {
    if (what == Resend::nothing) return;
    if (what == Resend::new_data) {
        output(core, c);
        if (c.snd_nxt > r.high_seq) return;
        r.frto = false;
    }
    resend_lost(core, c, r);
}

void process(Core& core, Connection& c, const Segment& segment, Seq ack, bool may_be_duplicate) {
    AckNews news{.prior_una = c.snd_una};
    news.advanced = ack > c.snd_una;
    news.ecn_echo = c.ecn && segment.has(wire::TcpFlags::ece) && !segment.has(wire::TcpFlags::syn);
    if (news.advanced) {
        c.snd_una = ack;
        c.progress_at = core.now;
    }
    Recovery* const r = c.recovery.get();
    if (r == nullptr) {
        if (news.ecn_echo) enter_window_reduction(core, c);
        return;
    }
    const std::uint32_t lost_before = r->sent.lost();
    const Instant head_sent = r->sent.empty() ? core.now : r->sent.front().sent_at;
    if (r->any_sacked) news.known_sacked = r->highest_sacked;
    if (r->resent_stamped && c.timestamps && segment.header.options.timestamps_present)
        news.answers_original = static_cast<std::int32_t>(segment.header.options.tsecr - r->resent_tsval) < 0;
    // Mirrored copies tell of nothing twice (rules.md 18).
    if (c.sack && segment.header.options.sack_count != 0 && segment.source == Source::service)
        take_sack_blocks(core, c, *r, segment, news);
    if (news.advanced) take_acknowledged(core, c, *r, news);
    news.duplicate = may_be_duplicate && !news.advanced && !r->sent.empty();
    sample_rtt(core, c, segment, news);
    watch_slow_start(core, c, *r, news);
    // A SACK for what was sent before the first segment's latest transmission does not prolong its time-out.
    news.set_timer = news.advanced || (news.sacked_rtt && core.now - *news.sacked_rtt > head_sent);
    widen_reordering_window(c, *r);
    on_probe_ack(core, c, *r, news, ack);
    Resend what = Resend::nothing;
    if (is_dubious(*r, news)) what = react(core, c, *r, news);
    if (news.set_timer) set_timer(core, c, *r);
    const std::uint32_t lost = r->sent.lost();
    adjust_window(core, c, *r, news, lost > lost_before ? lost - lost_before : 0);
    send_as_called_for(core, c, *r, what);
    if (r->sent.empty() && r->state == RecoveryState::open) core.put_recovery_aside(c);
}

// The peer answers probes of its window (RFC 9293 3.8.6.1): it is open now, or they go on at the same pace.
void on_probed_window(Core& core, Connection& c) {
    if (c.transmit_timer != TransmitTimer::window_probe || c.retransmit_at == never) return;
    const std::uint32_t queued = distance(c.snd_nxt, max(c.snd_nxt, c.send_queue.end()));
    if (c.snd_nxt + std::min(queued, segment_room(c)) <= c.snd_una + c.snd_wnd) {
        c.probe_backoff = 0;
        c.retransmit_at = never;
    } else {
        schedule_window_probe(core, c);
    }
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
    if (ack > c.snd_nxt) {
        // Segments of the primary may still be on their way to the client when it agrees with all we know.
        const bool late =
            core.promoted_at && core.now - *core.promoted_at < core.settings.shadow.late_delivery;
        if (!c.promoted || (c.verified && !c.ack_parked && !late)) {
            ++core.counters.drop_bad_ack;
            if (core.settings.tcp.answer_future_acks) challenge_ack(core, c, segment);  // RFC 5961 5.2
            return false;
        }
        // The client has bytes of the primary that nobody here has seen: they are swallowed when the
        // application writes them (rules.md 3).
        if (!c.ack_parked || ack > c.parked_ack) c.parked_ack = ack;
        c.ack_parked = true;
        ++core.counters.client_acks_parked;
        advance_to_parked(core, c);  // it may wait in the queue, written and not sent
        ack = c.snd_nxt;
    }
    const std::uint32_t old_window = c.snd_wnd;
    const Seq before = c.snd_una;
    if (ack >= c.snd_una) update_send_window(c, segment);
    const bool pure = segment.length() == 0 && c.snd_wnd == old_window && !mirrored;
    if (ack >= c.snd_una || segment.header.options.sack_count != 0)
        process(core, c, segment, max(ack, c.snd_una), pure && ack == c.snd_una);
    if (ack > before) c.timeouts = 0;
    if (c.fin_queued && c.snd_una > c.fin_seq && ack > before) on_fin_acked(core, c);
    on_probed_window(core, c);
    if (c.snd_wnd == 0 && !c.detached)
        c.progress_at = core.now;  // a peer that answers probes is never given up
    return true;
}

void advance_to_parked(Core& core, Connection& c) {
    if (!c.ack_parked || c.is_silent()) return;
    const Seq ack = min(c.parked_ack, c.send_queue.end());
    if (ack > c.snd_una) {
        c.snd_una = ack;
        c.snd_nxt = max(c.snd_nxt, ack);
        c.snd_max = max(c.snd_max, ack);
        drop_acknowledged(core, c);
    }
    if (c.send_queue.end() >= c.parked_ack) c.ack_parked = false;
    core.arm(c);
}

void drop_acknowledged(Core& core, Connection& c) {
    if (c.recovery == nullptr) return;
    SentSegments& sent = c.recovery->sent;
    while (!sent.empty() && sent.front().end <= c.snd_una)
        sent.pop_front();
    if (!sent.empty() && sent.front().begin < c.snd_una) sent.trim_front(c.snd_una);
    if (!sent.empty()) return;
    c.retransmit_at = never;
    core.put_recovery_aside(c);
}

void release_acked(Core& core, Connection& c) {
    const std::uint32_t before = c.send_queue.bytes();
    c.send_queue.release(release_limit(c), c.is_silent());
    if (!c.send_blocked || c.send_queue.bytes() == before || !c.announced) return;
    c.send_blocked = false;
    core.events.writable(c.id());
}

}  // namespace understudy::stack::tcp
