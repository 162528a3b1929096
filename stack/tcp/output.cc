// Segments on their way out (RFC 9293 3.8.6 and 3.10.2).
#include <algorithm>

#include "stack/tcp/ack_news.hh"

namespace understudy::stack::tcp {
namespace {

using wire::TcpFlags;

// A segment without payload, around a header whose ports and window are set.
void send_bare(Core& core, const Endpoint& local, const Endpoint& remote, const LinkAddress& link,
               std::uint8_t ttl, const wire::TcpHeader& header, std::uint8_t traffic_class = 0) {
    // Without a buffer it is lost, as on the way.
    (void)core.super_segment.send(core, {.local = local,
                                         .remote = remote,
                                         .link = link,
                                         .ttl = ttl,
                                         .traffic_class = traffic_class,
                                         .header = header});
}

// Into a header that is fresh.
void fill_header(const Core& core, const Connection& c, Seq seq, std::uint8_t flags,
                 wire::TcpHeader& header) {
    header.source_port = c.key.local_port;
    header.destination_port = c.key.remote_port;
    header.seq = seq;
    header.flags.bits = flags;
    if (header.flags.has(TcpFlags::ack)) header.ack = c.rcv_nxt;
    if (c.timestamps) {
        header.options.timestamps_present = true;
        header.options.tsval = tsval_now(core, c);
        header.options.tsecr = header.flags.has(TcpFlags::ack) ? c.ts_recent : 0;
    }
}

wire::TcpHeader header_for(const Core& core, const Connection& c, Seq seq, std::uint8_t flags) {
    wire::TcpHeader header;
    fill_header(core, c, seq, flags, header);
    return header;
}

// RFC 9293 3.8.5: the pointer leads to the byte behind what is urgent (MUST-62).
void mark_urgent(Connection& c, wire::TcpHeader& header) {
    constexpr std::uint32_t farthest = 0xffff;
    const Seq end = c.rare_state->snd_up;
    if (c.snd_una >= end) c.rare_state->has_snd_up = false;
    if (header.seq >= end) return;
    header.flags.bits |= TcpFlags::urg;
    header.urgent = static_cast<std::uint16_t>(std::min(distance(header.seq, end), farthest));
}

// Sends one segment of an established connection; it always carries an acknowledgement.
bool send_segment(Core& core, Connection& c, Seq seq, std::uint32_t payload_length, std::uint8_t flags) {
    const std::uint8_t mark = mark_outgoing(c, payload_length != 0 && seq >= c.snd_max, flags);
    Outgoing segment;
    wire::TcpHeader& header = segment.header;
    fill_header(core, c, seq, flags | TcpFlags::ack, header);
    header.window = select_window(c);
    if (c.sack && (c.out_of_order != nullptr || c.dsack_due) && payload_length == 0) {
        const std::size_t room = c.timestamps ? 3 : wire::max_sack_blocks;
        header.options.sack_count = fill_sack_blocks(c, std::span(header.options.sack).first(room));
    }
    if (c.rare_state != nullptr && c.rare_state->has_snd_up) mark_urgent(c, header);
    segment.local = core.local_of(c);
    segment.remote = core.remote_of(c);
    segment.link = c.peer_link;
    segment.ttl = c.ttl;
    segment.traffic_class = static_cast<std::uint8_t>(traffic_class_of(core, c) | mark);
    segment.queue = &c.send_queue;
    segment.payload_length = payload_length;
    if (!core.super_segment.send(core, segment)) return false;
    note_ack_sent(core, c);
    return true;
}

bool ends_with_fin(const Connection& c, const SentSegment& segment) {
    return c.fin_queued && segment.end == c.fin_seq + 1;
}

// RFC 5681 4.1: after a time-out's worth of silence the window begins as that of a new connection; it halves
// for each, as Linux has it (RFC 2861).
void restart_after_idle(Core& core, Connection& c) {
    if (c.recovery != nullptr && !c.recovery->sent.empty()) return;
    if (c.sent_at == Instant{}) return;
    const Duration idle = core.now - c.sent_at;
    core.congestion_of(c).on_idle(c.congestion, idle);
    if (!core.settings.tcp.restart_after_idle || idle <= c.rtt.rto()) return;
    const std::uint32_t restart = std::min(core.settings.tcp.initial_window_segments, c.congestion.cwnd);
    c.congestion.ssthresh = std::max(c.congestion.ssthresh, c.congestion.cwnd / 4 * 3);
    for (Duration left = idle - c.rtt.rto(); left > Duration::zero() && c.congestion.cwnd > restart;
         left -= c.rtt.rto())
        c.congestion.cwnd /= 2;
    c.congestion.cwnd = std::max(c.congestion.cwnd, restart);
}

// Whether the congestion window, not the application, was what held the sender back in the latest round trip
// (RFC 9438 5.8): only then may it grow.
void note_window_use(Connection& c, std::uint32_t out, bool limited) {
    if (c.snd_una >= c.window_use_end || limited || (!c.window_limited && out > c.most_out)) {
        c.window_limited = limited;
        c.most_out = out;
        c.window_use_end = c.snd_nxt;
    }
}

// Sends [seq, seq + length) and the FIN if it stands there.
bool send_data(Core& core, Connection& c, Seq seq, std::uint32_t length, bool fin, bool push) {
    std::uint8_t flags = fin ? TcpFlags::fin : 0;
    if (length != 0 && push) flags |= TcpFlags::psh;
    if (!send_segment(core, c, seq, length, flags)) return false;
    if (length != 0) note_data_sent(core, c);
    return true;
}

// `joins`: it leaves in one burst with the segment before it.
bool send_new(Core& core, Connection& c, std::uint32_t length, bool fin, bool push, bool joins) {
    Recovery& r = core.recovery_of(c);
    const Seq end = c.snd_nxt + length + (fin ? 1 : 0);
    // A retransmission asks to push where a write ended, not where a burst did.
    const WriteEnd mark = c.marks() != nullptr ? c.marks()->at(c.snd_nxt + length) : WriteEnd::none;
    const bool ends_write = (c.snd_nxt + length == c.send_queue.end() && !c.more_coming) ||
                            mark == WriteEnd::push || mark == WriteEnd::record || mark == WriteEnd::urgent;
    if (!send_data(core, c, c.snd_nxt, length, fin, push || ends_write)) return false;
    if (r.sent.empty()) {
        c.progress_at = core.now;
        restart_retransmission(core, c);
    }
    r.sent.push(c.snd_nxt, end, core.now,
                {.pushed = ends_write, .joins = joins, .ends_record = mark == WriteEnd::record});
    if (length != 0 && length < segment_room(c)) c.snd_small = end;
    c.snd_nxt = c.snd_max = end;
    if (c.marks() != nullptr) {
        c.marks()->drop_through(end);
        if (c.marks()->empty()) c.rare_state->marks.reset();
    }
    c.sent_at = core.now;
    if (r.reduces_window()) ++r.prr_out;
    if (fin) on_fin_sent(core, c);
    return true;
}

// Whether the small rest of what was written waits for more (RFC 9293 3.7.4): with Minshall's change, only
// while another small segment is on its way.
bool waits_for_more(const Connection& c) {
    if (c.push_once) return false;
    const bool small_out = c.snd_small > c.snd_una && c.snd_small <= c.snd_nxt;
    return c.cork || c.more_waits || (!c.nodelay && small_out && c.recovery != nullptr);
}

// True when sending `length` of `queued` bytes is worth a segment (RFC 9293 3.8.6.2.1).
bool worth_sending(const Connection& c, std::uint32_t length, std::uint32_t queued) {
    if (length >= segment_room(c)) return true;
    if (length == queued) return !waits_for_more(c);
    // Behind the end of a record nothing is waited for.
    if (c.marks() != nullptr && c.marks()->at(c.snd_nxt + length) == WriteEnd::record) return true;
    return length >= c.max_snd_wnd / 2;
}

// The segment that would go out next, by window and queue alone.
struct Next {
    std::uint32_t length = 0;
    std::uint32_t queued = 0;
    std::uint32_t usable = 0;  // what the peer's window takes
    bool fin = false;
    bool nothing() const { return length == 0 && !fin; }
};

Next next_segment(const Connection& c) {
    const Seq data_end = c.send_queue.end(), limit = c.snd_una + c.snd_wnd;
    Next next;
    next.queued = c.snd_nxt < data_end ? distance(c.snd_nxt, data_end) : 0;
    next.usable = c.snd_nxt < limit ? distance(c.snd_nxt, limit) : 0;
    next.length = std::min({next.queued, next.usable, segment_room(c)});
    if (c.marks() != nullptr)
        next.length = std::min(
            next.length, distance(c.snd_nxt, c.marks()->record_after(c.snd_nxt, c.snd_nxt + next.length)));
    next.fin = c.fin_queued && c.snd_nxt + next.length == c.fin_seq;
    return next;
}

// How many segments leave back to back before one of them asks the receiver to push (RFC 9293 3.9.1.2 leaves
// it to the sender): as many as Linux hands to the NIC in one piece, a millisecond's worth, so that receivers
// that collect segments wait no longer than the sender sends.
std::uint32_t burst_segments(const Core& core, const Connection& c) {
    constexpr std::uint32_t largest_burst = 65536;
    const std::uint32_t least = core.settings.tcp.min_burst_segments;
    const auto rtt_us = std::chrono::duration_cast<std::chrono::microseconds>(c.rtt.srtt()).count();
    if (rtt_us == 0) return largest_burst / segment_room(c);
    const bool slow_start = c.congestion.cwnd < c.congestion.ssthresh / 2;
    std::uint64_t bytes = std::uint64_t{c.congestion.cwnd} * c.mss * (slow_start ? 200 : 120) * 10000 /
                          static_cast<std::uint64_t>(rtt_us) / 1024;
    const auto near = static_cast<std::uint64_t>(rtt_us) >> 9;
    if (near < 32) bytes += largest_burst >> near;  // what fills a short path is small in any case
    return std::max(
        least, static_cast<std::uint32_t>(std::min<std::uint64_t>(bytes, largest_burst)) / segment_room(c));
}

void send_allowed(Core& core, Connection& c) {
    forget_old_path_mtu(core, c);
    std::uint32_t run = 0, longest_run = 0;
    if (!next_segment(c).nothing()) {
        restart_after_idle(core, c);
        longest_run = burst_segments(core, c);
    }
    bool sent_any = false, limited = false;
    const SuperSegment::Collect collect(core);
    while (true) {
        const Next next = next_segment(c);
        if (next.nothing()) break;
        const std::uint32_t pipe = c.recovery != nullptr ? c.recovery->in_flight() : 0;
        // The last segment, which carries the FIN, is not kept back (as in Linux).
        if (pipe >= c.congestion.cwnd && !next.fin) {
            limited = true;
            break;
        }
        if (!next.fin && !worth_sending(c, next.length, next.queued)) break;
        if (!may_send_paced(core, c)) {
            limited = true;
            break;
        }
        const std::uint32_t allowed =
            (c.congestion.cwnd > pipe ? c.congestion.cwnd - pipe : 1) * segment_room(c);
        const bool continued =
            std::min({next.queued, next.usable, allowed}) >= next.length + segment_room(c) &&
            (c.marks() == nullptr || c.marks()->at(c.snd_nxt + next.length) == WriteEnd::none);
        // Half the congestion window at most, so that two bursts are on their way (as in Linux).
        const std::uint32_t longest = std::min(longest_run, std::max(c.congestion.cwnd / 2, 1u));
        const bool joins = ++run > 1;
        const bool push = joins && (run >= longest || !continued);
        if (run >= longest || !continued) run = 0;
        if (!send_new(core, c, next.length, next.fin, push, joins)) {
            restart_retransmission(core, c);  // no buffer: the timer tries again
            break;
        }
        note_paced(core, c);
        sent_any = true;
    }
    Recovery* const r = c.recovery.get();
    if (r != nullptr) {
        note_window_use(c, r->sent.size(), limited || r->in_flight() >= c.congestion.cwnd);
        if (sent_any && c.transmit_timer != TransmitTimer::reordering) schedule_loss_probe(core, c, *r);
    }
    c.push_once = c.more_waits = false;
    // A closed window is probed for ever (RFC 9293 3.8.6.1).
    const bool waits = c.resumption() != nullptr && c.resumption()->wake_at != never;
    const bool stuck = !waits && (r == nullptr || r->sent.empty()) && c.snd_nxt < c.send_queue.end();
    if (stuck && c.retransmit_at == never) schedule_window_probe(core, c);
}

}  // namespace

bool is_window_limited(const Connection& c) {
    if (c.congestion.cwnd < c.congestion.ssthresh) return c.congestion.cwnd < 2 * c.most_out;
    return c.window_limited;
}

void restart_retransmission(Core& core, Connection& c) {
    Duration wait = c.rtt.rto();
    // Behind a probe or a reordering timer the time since the first segment was sent counts.
    const bool counted_from_head =
        c.transmit_timer == TransmitTimer::loss_probe || c.transmit_timer == TransmitTimer::reordering;
    if (counted_from_head && c.recovery != nullptr && !c.recovery->sent.empty())
        wait = std::max<Duration>(c.recovery->sent.front().sent_at + wait - core.now,
                                  std::chrono::milliseconds(1));
    c.transmit_timer = TransmitTimer::retransmission;
    c.retransmit_at = core.now + wait;
    core.arm(c);
}

void schedule_window_probe(Core& core, Connection& c) {
    const TcpSettings& tcp = core.settings.tcp;
    const Duration base = std::max(c.rtt.rto(), tcp.rto_min);
    c.transmit_timer = TransmitTimer::window_probe;
    c.retransmit_at =
        core.now + std::min(base * (std::int64_t{1} << std::min<int>(c.probe_backoff, 16)), tcp.rto_max);
    core.arm(c);
}

std::uint32_t tsval_now(const Core& core, const Connection& c) {
    return c.ts_offset + ticks_at(core.now, c.ts_tick());
}

std::uint32_t segment_room(const Connection& c) {
    return c.mss - (c.timestamps ? 12u : 0u);
}

void output(Core& core, Connection& c) {
    if (!c.is_synchronized() || c.doomed || c.refused) return;  // what differs is not sent: a RST follows
    if (c.state != State::time_wait) send_allowed(core, c);
    if (c.ack_now) send_ack(core, c);
    if (c.ack_at != never) core.arm(c);
}

void send_ack(Core& core, Connection& c) {
    send_segment(core, c, c.snd_nxt, 0, 0);
}

void send_probe(Core& core, Connection& c) {
    const Seq acked = c.ack_parked ? max(c.parked_ack, c.snd_una) : c.snd_una;
    send_segment(core, c, acked - 1, 0, 0);
}

void probe_window(Core& core, Connection& c) {
    const Next next = next_segment(c);
    if (next.length == 0 || !send_new(core, c, next.length, next.fin, true, false)) send_probe(core, c);
}

bool resend(Core& core, Connection& c, Recovery& r, std::uint32_t i, bool probe, bool push) {
    const std::uint32_t room = segment_room(c);
    const Seq limit = c.snd_una + c.snd_wnd;
    // The first segment goes out even into a closed window: its answer tells whether it is still closed.
    if (r.sent[i].begin >= limit && i != 0) return false;
    if (r.sent[i].length() > room + 1 || (r.sent[i].length() > room && !ends_with_fin(c, r.sent[i])))
        r.sent.split(i, r.sent[i].begin + room);
    // What had been small segments goes out as one.
    while (!probe && i + 1 < r.sent.size() && !r.sent[i].ends_record && !r.sent[i].sacked &&
           !r.sent[i + 1].sacked && distance(r.sent[i].begin, r.sent[i + 1].end) <= room &&
           r.sent[i + 1].end <= limit)
        r.sent.merge_with_next(i);
    const SentSegment segment = r.sent[i];
    const bool fin = ends_with_fin(c, segment);
    if (!send_data(core, c, segment.begin, segment.length() - (fin ? 1 : 0), fin, push || segment.pushed))
        return false;
    ++core.counters.tcp_retransmitted;
    ++c.rare().retransmitted;
    if (probe) {
        r.sent.mark_probed(i, core.now);
        return true;
    }
    if (!r.resent_stamped) {
        r.resent_stamped = true;
        r.resent_tsval = tsval_now(core, c);
    }
    r.undo_resent = std::max(r.undo_resent, 0) + 1;
    r.sent.mark_resent(i, core.now);
    return true;
}

void resend_lost(Core& core, Connection& c, Recovery& r) {
    std::uint32_t run = 0;
    const SuperSegment::Collect collect(core);
    for (std::uint32_t i = 0; i < r.sent.size() && r.sent.has_lost_unsent(); ++i) {
        const SentSegment& segment = r.sent[i];
        if (!segment.lost || segment.resent) {
            run = 0;
            continue;
        }
        if (r.in_flight() >= c.congestion.cwnd || !may_send_paced(core, c)) break;
        note_paced(core, c);
        // What left in one burst and leaves in one again ends with a push, as it did.
        run = segment.joins ? run + 1 : 1;
        const bool goes_on = i + 1 < r.sent.size() && r.sent[i + 1].joins && r.sent[i + 1].lost &&
                             !r.sent[i + 1].resent && r.in_flight() + 1 < c.congestion.cwnd;
        if (!resend(core, c, r, i, false, run > 1 && !goes_on)) break;
        if (r.reduces_window()) ++r.prr_out;
        if (i == 0 && c.transmit_timer != TransmitTimer::reordering) restart_retransmission(core, c);
    }
}

bool send_beyond_window(Core& core, Connection& c) {
    const Next next = next_segment(c);
    return !next.nothing() && send_new(core, c, next.length, next.fin, false, false);
}

void send_handshake(Core& core, Connection& c) {
    const bool answer = c.state == State::syn_received;
    wire::TcpHeader header =
        header_for(core, c, c.iss, answer ? TcpFlags::syn | TcpFlags::ack : TcpFlags::syn);
    // RFC 3168 6.1.1; a SYN sent again may have been lost for what it asked (6.1.1.1).
    if (answer && c.ecn) header.flags.bits |= TcpFlags::ece;
    if (!answer && core.settings.tcp.ecn == Ecn::active && c.handshake_sent == 0)
        header.flags.bits |= TcpFlags::ece | TcpFlags::cwr;
    // The window of a SYN is never scaled (RFC 7323 2.2).
    const std::uint32_t mss = offered_mss(core, c);
    const std::uint32_t window =
        initial_window(core.settings.tcp, c.receive_limit, mss - (answer && c.timestamps ? 12 : 0));
    header.window = static_cast<std::uint16_t>(window);
    header.options.mss = static_cast<std::uint16_t>(mss);
    header.options.window_scale_present = c.window_scaling;
    header.options.window_scale = c.rcv_scale;
    header.options.sack_permitted = c.sack;
    if (answer) {
        c.last_ack_sent = c.rcv_nxt;
        c.rcv_edge = max(c.rcv_edge, c.rcv_nxt + header.window);
    }
    send_bare(core, core.local_of(c), core.remote_of(c), c.peer_link, c.ttl, header,
              traffic_class_of(core, c));
    if (c.handshake_sent++ != 0) ++core.counters.tcp_retransmitted;
    c.transmit_timer = TransmitTimer::retransmission;
    c.retransmit_at = core.now + c.rtt.rto();
    core.arm(c);
}

void send_reset(Core& core, const Connection& c, Seq seq) {
    const wire::TcpHeader header = header_for(core, c, seq, TcpFlags::rst | TcpFlags::ack);
    send_bare(core, core.local_of(c), core.remote_of(c), c.peer_link, c.ttl, header,
              traffic_class_of(core, c));
    ++core.counters.tcp_resets_sent;
}

void send_control(Core& core, const Endpoint& local, const Endpoint& remote, const LinkAddress& link,
                  std::uint8_t ttl, const wire::TcpHeader& header) {
    send_bare(core, local, remote, link, ttl, header);
}

void send_reset_for(Core& core, const Segment& segment) {
    if (segment.has(TcpFlags::rst)) return;
    wire::TcpHeader header;
    header.source_port = segment.local.port;
    header.destination_port = segment.remote.port;
    if (segment.has(TcpFlags::ack)) {
        header.seq = segment.ack();
        header.flags.bits = TcpFlags::rst;
    } else {
        header.ack = segment.end();
        header.flags.bits = TcpFlags::rst | TcpFlags::ack;
    }
    send_bare(core, segment.local, segment.remote, segment.link_source, 64, header);
    ++core.counters.tcp_resets_sent;
}

}  // namespace understudy::stack::tcp
