// Segments on their way out (RFC 9293 3.8.6 and 3.10.2).
#include <algorithm>

#include "stack/tcp/ack_news.hh"
#include "stack/wire/ethernet.hh"
#include "stack/wire/ipv4.hh"

namespace understudy::stack::tcp {
namespace {

using wire::TcpFlags;

// Builds one segment around a header whose ports and window are set; the payload comes from the send queue.
bool emit(Core& core, const Endpoint& local, const Endpoint& remote, const LinkAddress& link,
          std::uint8_t ttl, const wire::TcpHeader& header, const SendQueue* queue, Seq payload_at,
          std::uint32_t payload_length) {
    const std::size_t tcp_length = wire::tcp_header_length + wire::tcp_options_length(header.options);
    const std::size_t offset = wire::ethernet_header_length + wire::ipv4_header_length;
    const auto frame = core.gate.reserve(offset + tcp_length + payload_length);
    if (frame.empty()) return false;
    wire::write_ethernet(frame, {link, core.settings.link_address, wire::EtherType::ipv4});
    wire::Ipv4Header ip;
    ip.source = local.address;
    ip.destination = remote.address;
    ip.protocol = wire::IpProtocol::tcp;
    ip.ttl = ttl;
    ip.identification = core.next_ip_identification++;
    ip.total_length = static_cast<std::uint16_t>(frame.size() - wire::ethernet_header_length);
    wire::write_ipv4(frame.subspan(wire::ethernet_header_length), ip);
    const auto segment = frame.subspan(offset);
    wire::write_tcp(segment, header);
    if (payload_length != 0) queue->copy(payload_at, segment.subspan(tcp_length));
    const std::uint64_t pseudo = wire::pseudo_header_sum(local.address, remote.address,
                                                         static_cast<std::uint8_t>(wire::IpProtocol::tcp),
                                                         static_cast<std::uint32_t>(segment.size()));
    wire::store16(segment.data() + wire::tcp_checksum_offset,
                  wire::checksum_finish(wire::checksum_add(segment, pseudo)));
    core.gate.commit();
    ++core.counters.tcp_segments_sent;
    return true;
}

wire::TcpHeader header_for(const Core& core, const Connection& c, Seq seq, std::uint8_t flags) {
    wire::TcpHeader header;
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
    return header;
}

// Moves the advertised edge as far as the buffer allows and returns the window field. The edge never moves
// back (RFC 9293 3.8.6), and it moves forward only by what is worth a segment (3.8.6.2.2).
std::uint16_t advertise_window(Connection& c) {
    const std::uint32_t room = c.receive_limit > c.unread.size() ? c.receive_limit - c.unread.size() : 0;
    const Seq wanted = c.rcv_nxt + room;
    const std::uint32_t step = std::min<std::uint32_t>(c.mss, c.receive_limit / 2);
    if (wanted > c.rcv_edge && distance(c.rcv_edge, wanted) >= step) c.rcv_edge = wanted;
    const std::uint32_t window = c.rcv_edge > c.rcv_nxt ? distance(c.rcv_nxt, c.rcv_edge) : 0;
    const std::uint32_t unit = 1u << c.rcv_scale;
    const std::uint32_t field = std::min((window + unit - 1) >> c.rcv_scale, 0xffffu);
    c.rcv_edge = max(c.rcv_edge, c.rcv_nxt + (field << c.rcv_scale));
    return static_cast<std::uint16_t>(field);
}

// Sends one segment of an established connection; it always carries an acknowledgement.
bool send_segment(Core& core, Connection& c, Seq seq, std::uint32_t payload_length, std::uint8_t flags) {
    wire::TcpHeader header = header_for(core, c, seq, flags | TcpFlags::ack);
    header.window = advertise_window(c);
    if (c.sack && (c.out_of_order != nullptr || c.dsack_due) && payload_length == 0) {
        const std::size_t room = c.timestamps ? 3 : wire::max_sack_blocks;
        header.options.sack_count = fill_sack_blocks(c, std::span(header.options.sack).first(room));
    }
    if (!emit(core, core.local_of(c), core.remote_of(c), c.peer_link, c.ttl, header, &c.send_queue, seq,
              payload_length))
        return false;
    c.last_ack_sent = c.rcv_nxt;
    c.unacked_segments = 0;
    c.ack_now = false;
    c.ack_at = never;
    return true;
}

bool ends_with_fin(const Connection& c, const SentSegment& segment) {
    return c.fin_queued && segment.end == c.fin_seq + 1;
}

bool wants_nagle(const Core& core, const Connection& c) {
    return core.settings.tcp.nagle && !c.nodelay;
}

// RFC 5681 4.1: after a time-out's worth of silence the window begins as that of a new connection; it halves
// for each, as Linux has it (RFC 2861).
void restart_after_idle(Core& core, Connection& c, const Recovery& r) {
    if (!r.sent.empty() || c.sent_at == Instant{}) return;
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
bool send_data(Core& core, Connection& c, Seq seq, std::uint32_t length, bool fin) {
    std::uint8_t flags = fin ? TcpFlags::fin : 0;
    if (length != 0 && seq + length == c.send_queue.end()) flags |= TcpFlags::psh;
    return send_segment(core, c, seq, length, flags);
}

bool send_new(Core& core, Connection& c, std::uint32_t length, bool fin) {
    Recovery& r = core.recovery_of(c);
    restart_after_idle(core, c, r);
    const Seq end = c.snd_nxt + length + (fin ? 1 : 0);
    if (c.cwr_due) {
        c.cwr_due = false;
        c.cwr_now = true;
    }
    if (!send_data(core, c, c.snd_nxt, length, fin)) return false;
    if (r.sent.empty()) {
        c.progress_at = core.now;
        restart_retransmission(core, c);
    }
    r.sent.push(c.snd_nxt, end, core.now);
    if (length < segment_room(c)) c.snd_sml = end;
    c.snd_nxt = c.snd_max = end;
    c.sent_at = core.now;
    if (r.reduces_window()) ++r.prr_out;
    if (fin) on_fin_sent(core, c);
    return true;
}

// True when sending `length` of `queued` bytes is worth a segment (RFC 9293 3.8.6.2.1, without Nagle's part).
bool worth_sending(const Connection& c, std::uint32_t length, std::uint32_t queued) {
    return length == queued || length >= segment_room(c) || length >= c.max_snd_wnd / 2;
}

// RFC 9293 3.7.4, as Minshall refined it: only a small segment that is unacknowledged holds up another.
bool nagle_holds(const Core& core, const Connection& c, std::uint32_t length) {
    if (length >= segment_room(c) || c.recovery == nullptr || c.recovery->sent.empty()) return false;
    return wants_nagle(core, c) && c.snd_sml > c.snd_una && c.snd_sml <= c.snd_nxt;
}

// The segment that would go out next, by window and queue alone.
struct Next {
    std::uint32_t length = 0;
    std::uint32_t queued = 0;
    bool fin = false;
    bool nothing() const { return length == 0 && !fin; }
};

Next next_segment(const Connection& c) {
    const Seq data_end = c.send_queue.end(), limit = c.snd_una + c.snd_wnd;
    Next next;
    next.queued = c.snd_nxt < data_end ? distance(c.snd_nxt, data_end) : 0;
    const std::uint32_t usable = c.snd_nxt < limit ? distance(c.snd_nxt, limit) : 0;
    next.length = std::min({next.queued, usable, segment_room(c)});
    next.fin = c.fin_queued && c.snd_nxt + next.length == c.fin_seq;
    return next;
}

void send_allowed(Core& core, Connection& c) {
    bool sent_any = false, limited = false;
    while (true) {
        const Next next = next_segment(c);
        if (next.nothing()) break;
        const std::uint32_t pipe = c.recovery != nullptr ? c.recovery->in_flight() : 0;
        if (pipe >= c.congestion.cwnd) {
            limited = true;
            break;
        }
        if (!next.fin && (!worth_sending(c, next.length, next.queued) || nagle_holds(core, c, next.length)))
            break;
        if (!send_new(core, c, next.length, next.fin)) {
            restart_retransmission(core, c);  // no buffer: the timer tries again
            break;
        }
        sent_any = true;
    }
    Recovery* const r = c.recovery.get();
    if (r != nullptr) {
        note_window_use(c, r->sent.size(), limited || r->in_flight() >= c.congestion.cwnd);
        if (sent_any && c.transmit_timer != TransmitTimer::reordering) schedule_loss_probe(core, c, *r);
    }
    // A closed window is probed for ever (RFC 9293 3.8.6.1).
    const bool stuck = (r == nullptr || r->sent.empty()) && c.snd_nxt < c.send_queue.end();
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
    const auto ms =
        std::chrono::duration_cast<std::chrono::milliseconds>(core.now.time_since_epoch()).count();
    return c.ts_offset + static_cast<std::uint32_t>(ms);
}

std::uint32_t segment_room(const Connection& c) {
    return c.mss - (c.timestamps ? 12u : 0u);
}

void output(Core& core, Connection& c) {
    if (!c.is_synchronized()) return;
    if (c.state != State::time_wait) send_allowed(core, c);
    if (c.ack_now) send_ack(core, c);
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
    if (next.length == 0 || !send_new(core, c, next.length, next.fin)) send_probe(core, c);
}

bool resend(Core& core, Connection& c, Recovery& r, std::uint32_t i, bool probe) {
    const std::uint32_t room = segment_room(c);
    const Seq limit = c.snd_una + c.snd_wnd;
    // The first segment goes out even into a closed window: its answer tells whether it is still closed.
    if (r.sent[i].begin >= limit && i != 0) return false;
    if (r.sent[i].length() > room + 1 || (r.sent[i].length() > room && !ends_with_fin(c, r.sent[i])))
        r.sent.split(i, r.sent[i].begin + room);
    // What had been small segments goes out as one.
    while (!probe && i + 1 < r.sent.size() && !r.sent[i].sacked && !r.sent[i + 1].sacked &&
           distance(r.sent[i].begin, r.sent[i + 1].end) <= room && r.sent[i + 1].end <= limit)
        r.sent.merge_with_next(i);
    const SentSegment segment = r.sent[i];
    const bool fin = ends_with_fin(c, segment);
    if (!send_data(core, c, segment.begin, segment.length() - (fin ? 1 : 0), fin)) return false;
    ++core.counters.tcp_retransmitted;
    ++c.retransmitted;
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
    for (std::uint32_t i = 0; i < r.sent.size() && r.sent.has_lost_unsent(); ++i) {
        const SentSegment& segment = r.sent[i];
        if (!segment.lost || segment.resent) continue;
        if (r.in_flight() >= c.congestion.cwnd) break;
        if (!resend(core, c, r, i, false)) break;
        if (r.reduces_window()) ++r.prr_out;
        if (i == 0 && c.transmit_timer != TransmitTimer::reordering) restart_retransmission(core, c);
    }
}

bool send_beyond_window(Core& core, Connection& c) {
    const Next next = next_segment(c);
    return !next.nothing() && send_new(core, c, next.length, next.fin);
}

void send_handshake(Core& core, Connection& c) {
    const bool answer = c.state == State::syn_received;
    wire::TcpHeader header =
        header_for(core, c, c.iss, answer ? TcpFlags::syn | TcpFlags::ack : TcpFlags::syn);
    // The window of a SYN is never scaled (RFC 7323 2.2).
    header.window = static_cast<std::uint16_t>(std::min<std::uint32_t>(c.receive_limit, 0xffff));
    header.options.mss = core.settings.tcp.mss;
    header.options.window_scale_present = c.window_scaling;
    header.options.window_scale = c.rcv_scale;
    header.options.sack_permitted = c.sack;
    if (answer) {
        c.last_ack_sent = c.rcv_nxt;
        c.rcv_edge = max(c.rcv_edge, c.rcv_nxt + header.window);
    }
    emit(core, core.local_of(c), core.remote_of(c), c.peer_link, c.ttl, header, nullptr, {}, 0);
    if (c.handshake_sent++ == 0)
        c.sent_at = core.now;
    else
        ++core.counters.tcp_retransmitted;
    c.transmit_timer = TransmitTimer::retransmission;
    c.retransmit_at = core.now + c.rtt.rto();
    core.arm(c);
}

void send_reset(Core& core, const Connection& c, Seq seq) {
    const wire::TcpHeader header = header_for(core, c, seq, TcpFlags::rst | TcpFlags::ack);
    emit(core, core.local_of(c), core.remote_of(c), c.peer_link, c.ttl, header, nullptr, {}, 0);
    ++core.counters.tcp_resets_sent;
}

void send_control(Core& core, const Endpoint& local, const Endpoint& remote, const LinkAddress& link,
                  std::uint8_t ttl, const wire::TcpHeader& header) {
    emit(core, local, remote, link, ttl, header, nullptr, {}, 0);
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
    emit(core, segment.local, segment.remote, segment.link_source, 64, header, nullptr, {}, 0);
    ++core.counters.tcp_resets_sent;
}

}  // namespace understudy::stack::tcp
