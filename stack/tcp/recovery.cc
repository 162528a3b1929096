// The states of recovery and the windows in them (RFC 5681, RFC 6582, RFC 6937, RFC 5682).
#include "stack/tcp/recovery.hh"

#include <algorithm>

#include "stack/tcp/ack_news.hh"

namespace understudy::stack::tcp {
namespace {

using enum RecoveryState;

bool any_resent(const Recovery& r) {
    return r.sent.resent() != 0 || (!r.sent.empty() && r.sent.front().ever_resent);
}

void forget_stamp(Recovery& r) {
    if (!any_resent(r)) r.resent_stamped = false;
}

void prepare_undo(const Connection& c, Recovery& r) {
    r.undo_possible = true;
    r.undo_from = c.snd_una;
    r.undo_resent = r.sent.resent() != 0 ? static_cast<std::int32_t>(r.sent.resent()) : -1;
}

std::uint32_t current_ssthresh(const Connection& c, const Recovery& r) {
    if (r.reduces_window()) return c.congestion.ssthresh;
    return std::max(c.congestion.ssthresh, c.congestion.cwnd / 4 * 3 + c.congestion.cwnd % 4 * 3 / 4);
}

// Every retransmission is explained by a D-SACK (RFC 3708), or the acknowledgement answers a segment from
// before the first of them (RFC 3522).
bool may_undo(const Recovery& r, bool answers_original) {
    return r.undo_possible && (r.undo_resent == 0 || (r.resent_stamped && answers_original));
}

void undo_reduction(Connection& c, Recovery& r, bool unmark_lost) {
    if (unmark_lost) r.sent.unmark_lost();
    if (r.prior_ssthresh != 0) {
        c.congestion.cwnd = std::max(c.congestion.cwnd, r.prior_cwnd);
        c.congestion.ssthresh = std::max(c.congestion.ssthresh, r.prior_ssthresh);
    }
    r.undo_possible = false;
    r.rack_advanced = true;
}

// A duplicate acknowledgement without SACK: one more segment has left the network, but never more than leave
// one for the loss.
void add_reno_sack(const Connection&, Recovery& r, bool duplicate) {
    if (!duplicate) return;
    const std::uint32_t holes = std::clamp(r.sent.lost(), 1u, std::max(r.sent.size(), 1u));
    if (r.reno_sacked + 1 + holes <= r.sent.size()) ++r.reno_sacked;
}

void mark_reno_lost(const Connection& c, Recovery& r, bool advanced) {
    const bool before = r.state != recovery && r.state != loss;
    if (r.sent.empty() || r.sent.front().lost) return;
    if ((before && r.reno_sacked >= c.reordering) || (r.state == recovery && advanced)) r.sent.mark_lost(0);
}

void find_losses_of(Core& core, Connection& c, Recovery& r, AckNews& news) {
    if (r.sent.empty()) return;
    if (!c.sack) return mark_reno_lost(c, r, news.advanced);
    const std::uint32_t resent = r.sent.resent();
    if (find_losses(core, c, r)) news.set_timer = false;
    if (r.sent.resent() < resent) news.lost_resent = true;
}

void try_to_open(Core& core, Connection& c, Recovery& r, const AckNews& news) {
    forget_stamp(r);
    if (news.ecn_echo) enter_window_reduction(core, c);
    if (r.state != cwr) keep_open(c, r);
}

// The whole window of the loss is acknowledged. True when the state must be held (RFC 6582 4.1).
bool leave_recovery(Core& core, Connection& c, Recovery& r, bool answers_original) {
    if (may_undo(r, answers_original)) {
        ++core.counters.tcp_recoveries_undone;
        undo_reduction(c, r, false);
    }
    if (c.snd_una == r.high_seq && !c.sack) {
        forget_stamp(r);
        return true;
    }
    r.state = open;
    return false;
}

bool undo_by_dsack(Core& core, Connection& c, Recovery& r) {
    if (!r.undo_possible || r.undo_resent != 0) return false;
    ++core.counters.tcp_recoveries_undone;
    undo_reduction(c, r, false);
    return true;
}

// A partial acknowledgement that answers the original. True when it was no loss, and nothing is to be done.
bool undo_partial(Core& core, Connection& c, Recovery& r, bool answers_original) {
    if (!r.undo_possible || !r.resent_stamped || !answers_original) return false;
    if (r.sent.resent() != 0) return true;
    forget_stamp(r);
    ++core.counters.tcp_recoveries_undone;
    undo_reduction(c, r, true);
    keep_open(c, r);
    return true;
}

bool undo_loss(Core& core, Connection& c, Recovery& r, bool by_frto, bool answers_original) {
    if (!by_frto && !may_undo(r, answers_original)) return false;
    ++core.counters.tcp_recoveries_undone;
    undo_reduction(c, r, true);
    c.rtt.settle(core.settings.tcp);
    if (by_frto || c.sack) r.state = open;
    return true;
}

// RFC 5682 3.1, and the ordinary way out of a time-out.
Resend react_in_loss(Core& core, Connection& c, Recovery& r, const AckNews& news) {
    const bool recovered = c.snd_una >= r.high_seq;
    const bool answers_original = news.answers_original;
    if (news.advanced && undo_loss(core, c, r, false, answers_original)) return Resend::nothing;
    if (r.frto) {
        if (news.original_delivered && undo_loss(core, c, r, true, answers_original)) return Resend::nothing;
        if (c.snd_nxt > r.high_seq) {
            if (news.data_sacked || news.duplicate) r.frto = false;
        } else if (news.advanced && !recovered) {
            r.high_seq = c.snd_nxt;
            const bool can_send = c.snd_nxt < c.send_queue.end() && c.snd_nxt < c.snd_una + c.snd_wnd;
            if (can_send) return Resend::new_data;
            r.frto = false;
        }
    }
    if (recovered) {
        (void)leave_recovery(core, c, r, answers_original);
        return Resend::nothing;
    }
    if (!c.sack) {
        if (c.snd_nxt > r.high_seq && news.duplicate)
            add_reno_sack(c, r, true);
        else if (news.advanced)
            r.reno_sacked = 0;
    }
    return Resend::lost;
}

}  // namespace

void keep_open(const Connection& c, Recovery& r) {
    const bool disordered = r.sacked() + r.sent.lost() != 0 || any_resent(r);
    const RecoveryState next = disordered ? disorder : open;
    if (r.state == next) return;
    r.state = next;
    r.high_seq = c.snd_nxt;
}

void begin_reduction(Core& core, Connection& c, Recovery& r) {
    r.high_seq = c.snd_nxt;
    r.probe_out = false;
    r.prior_cwnd = c.congestion.cwnd;
    r.prr_delivered = r.prr_out = 0;
    c.congestion.acked = 0;
    c.congestion.ssthresh = core.congestion_of(c).on_loss(c.congestion);
    c.cwr_due = c.ecn;
}

void end_reduction(Connection& c, Recovery& r) {
    if (c.congestion.ssthresh < infinite_ssthresh && (r.state == cwr || r.undo_possible))
        c.congestion.cwnd = c.congestion.ssthresh;
}

// RFC 6937, with the slow start of its later revision where the loss is repaired.
void reduce_window(Connection& c, Recovery& r, std::uint32_t delivered, std::uint32_t newly_lost,
                   bool advanced) {
    if (delivered == 0 || r.prior_cwnd == 0) return;
    const std::uint32_t pipe = r.in_flight();
    const std::uint32_t ssthresh = c.congestion.ssthresh;
    r.prr_delivered += delivered;
    std::int64_t send = 0;
    if (pipe > ssthresh) {
        const std::uint64_t share =
            (std::uint64_t{ssthresh} * r.prr_delivered + r.prior_cwnd - 1) / r.prior_cwnd;
        send = static_cast<std::int64_t>(share) - r.prr_out;
    } else {
        send = std::max<std::int64_t>(std::int64_t{r.prr_delivered} - r.prr_out, delivered);
        if (advanced && newly_lost == 0) ++send;
        send = std::min<std::int64_t>(send, ssthresh - pipe);
    }
    // The first retransmission always leaves.
    send = std::max<std::int64_t>(send, r.prr_out != 0 ? 0 : 1);
    c.congestion.cwnd = pipe + static_cast<std::uint32_t>(send);
}

void enter_recovery(Core& core, Connection& c, Recovery& r, bool ecn_echo) {
    ++core.counters.tcp_fast_retransmits;
    r.prior_ssthresh = 0;
    prepare_undo(c, r);
    if (!r.reduces_window()) {
        if (!ecn_echo) r.prior_ssthresh = current_ssthresh(c, r);
        begin_reduction(core, c, r);
    }
    if (r.reorder_persist != 0) --r.reorder_persist;
    r.state = recovery;
}

void enter_window_reduction(Core& core, Connection& c) {
    Recovery& r = core.recovery_of(c);
    r.prior_ssthresh = 0;
    if (r.state != open && r.state != disorder) return;
    r.undo_possible = false;
    begin_reduction(core, c, r);
    ++core.counters.tcp_congestion_echoes;
    r.state = cwr;
}

void enter_loss(Core& core, Connection& c, Recovery& r) {
    const bool is_new = r.state != recovery && r.state != loss;
    // RFC 2018 8: a peer that had reported the first segment and wants it again has thrown it away.
    if (!r.sent.empty() && r.sent.front().sacked) r.sent.forget_sacks();
    const Duration patience = r.rack_known ? r.rack_rtt : Duration::zero();
    for (std::uint32_t i = 0; i < r.sent.size(); ++i) {
        const SentSegment& segment = r.sent[i];
        // What was sent within the last round trip may still arrive.
        if (segment.sacked || (c.sack && i != 0 && segment.sent_at + patience > core.now)) continue;
        r.sent.mark_lost(i);
    }
    r.reno_sacked = 0;
    if (is_new || c.snd_una >= r.high_seq || r.state != loss) {
        r.prior_ssthresh = current_ssthresh(c, r);
        r.prior_cwnd = c.congestion.cwnd;
        c.congestion.ssthresh = core.congestion_of(c).on_loss(c.congestion);
        core.congestion_of(c).on_timeout(c.congestion);
        prepare_undo(c, r);
    }
    c.congestion.cwnd = r.in_flight() + 1;
    c.congestion.acked = 0;
    r.probe_out = false;
    r.frto = core.settings.tcp.forward_rto_recovery && (is_new || r.state == loss);
    r.state = loss;
    r.high_seq = c.snd_nxt;
    c.cwr_due = c.ecn;
}

void resend_smaller(Core& core, Connection& c) {
    if (c.recovery == nullptr || c.recovery->sent.empty()) return;
    Recovery& r = *c.recovery;
    const std::uint32_t room = segment_room(c);
    for (std::uint32_t i = 0; i < r.sent.size(); ++i)
        if (!r.sent[i].sacked && r.sent[i].length() > room) r.sent.mark_lost(i);
    if (!r.sent.has_lost_unsent()) return;
    if (r.state != loss) {
        r.high_seq = c.snd_nxt;
        c.congestion.ssthresh = current_ssthresh(c, r);
        r.prior_ssthresh = 0;
        r.undo_possible = false;
        r.state = loss;
    }
    resend_lost(core, c, r);
}

Resend react(Core& core, Connection& c, Recovery& r, AckNews& news) {
    if (r.sent.empty()) r.reno_sacked = 0;
    if (news.ecn_echo) r.prior_ssthresh = 0;
    if (r.state != open && c.snd_una >= r.high_seq) {
        if (r.state == cwr && c.snd_una != r.high_seq) {
            end_reduction(c, r);
            r.state = open;
        } else if (r.state == recovery) {
            if (!c.sack) r.reno_sacked = 0;
            if (leave_recovery(core, c, r, news.answers_original)) return Resend::nothing;
            end_reduction(c, r);
        }
    }
    if (r.state == recovery) {
        if (!news.advanced) {
            if (!c.sack) add_reno_sack(c, r, news.duplicate);
        } else if (undo_partial(core, c, r, news.answers_original)) {
            return Resend::nothing;
        }
        if (undo_by_dsack(core, c, r)) keep_open(c, r);
        find_losses_of(core, c, r, news);
        if (r.state == recovery) return Resend::lost;
        if (r.sent.lost() == 0) {
            try_to_open(core, c, r, news);
            return Resend::nothing;
        }
        enter_recovery(core, c, r, news.ecn_echo);
        return Resend::lost;
    }
    if (r.state == loss) {
        const Resend resend = react_in_loss(core, c, r, news);
        find_losses_of(core, c, r, news);
        if (r.state != open && !news.lost_resent) return resend;
    } else if (!c.sack) {
        if (news.advanced) r.reno_sacked = 0;
        add_reno_sack(c, r, news.duplicate);
    }
    if (r.state == open || r.state == disorder) (void)undo_by_dsack(core, c, r);
    find_losses_of(core, c, r, news);
    if (r.sent.lost() == 0) {
        try_to_open(core, c, r, news);
        return Resend::nothing;
    }
    enter_recovery(core, c, r, news.ecn_echo);
    return Resend::lost;
}

void adjust_window(Core& core, Connection& c, Recovery& r, const AckNews& news, std::uint32_t newly_lost) {
    if (r.reduces_window()) {
        reduce_window(c, r, news.delivered, newly_lost, news.advanced);
        return;
    }
    // A window that began anew is opened by what was sent under it, not by what the primary had sent.
    if (c.promoted && r.state == loss && !core.settings.shadow.warm_start) return;
    const bool progress = news.segments_acked || (c.reordering > default_reordering && news.data_sacked);
    if (!progress || news.delivered == 0 || !is_window_limited(c)) return;
    core.congestion_of(c).on_ack(c.congestion, {news.delivered, c.rtt.min_rtt(), core.now});
}

}  // namespace understudy::stack::tcp
