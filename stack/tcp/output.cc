// Segments on their way out (RFC 9293 3.8.6 and 3.10.2).
#include <algorithm>

#include "stack/tcp/core.hh"
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

// Sends one segment of an established connection; it always carries an acknowledgement.
bool send_segment(Core& core, Connection& c, Seq seq, std::uint32_t payload_length, std::uint8_t flags) {
    wire::TcpHeader header = header_for(core, c, seq, flags | TcpFlags::ack);
    header.window = select_window(c);
    if (c.sack && c.out_of_order != nullptr && payload_length == 0) {
        const std::size_t room = c.timestamps ? 3 : wire::max_sack_blocks;
        header.options.sack_count = static_cast<std::uint8_t>(
            c.out_of_order->sack_blocks(c.latest_out_of_order, std::span(header.options.sack).first(room)));
    }
    if (!emit(core, core.local_of(c), core.remote_of(c), c.peer_link, c.ttl, header, &c.send_queue, seq,
              payload_length))
        return false;
    note_ack_sent(core, c);
    return true;
}

// Sends [seq, seq + length) and the FIN if it stands there, and keeps the books of retransmission.
bool send_data(Core& core, Connection& c, Seq seq, std::uint32_t length, bool fin, bool push = false) {
    const Seq end = seq + length + (fin ? 1 : 0);
    std::uint8_t flags = fin ? TcpFlags::fin : 0;
    if (length != 0 && (push || (seq + length == c.send_queue.end() && !c.more_coming)))
        flags |= TcpFlags::psh;
    if (!send_segment(core, c, seq, length, flags)) return false;
    if (seq < c.snd_max) {
        ++core.counters.tcp_retransmitted;
        ++c.retransmitted;
        c.rtt_timed = false;  // Karn (RFC 6298 3)
    } else if (!c.rtt_timed) {
        c.rtt_timed = true;
        c.rtt_seq = end;
        c.rtt_at = core.now;
    }
    if (c.snd_una == c.snd_max) c.progress_at = core.now;
    if (length != 0) note_data_sent(core, c);
    if (length != 0 && length < segment_room(c)) c.snd_small = end;
    c.snd_max = max(c.snd_max, end);
    return true;
}

// Whether the small rest of what was written waits for more (RFC 9293 3.7.4): with Minshall's change, only
// while another small segment is on its way.
bool waits_for_more(const Connection& c) {
    if (c.push_once) return false;
    return c.cork || c.more_coming || (!c.nodelay && c.snd_small > c.snd_una && c.snd_small <= c.snd_max);
}

// True when sending `length` of `queued` bytes is worth a segment (RFC 9293 3.8.6.2.1).
bool worth_sending(const Connection& c, std::uint32_t length, std::uint32_t queued) {
    if (length >= segment_room(c)) return true;
    return length == queued ? !waits_for_more(c) : length >= c.max_snd_wnd / 2;
}

void await_acknowledgement(Core& core, Connection& c) {
    if (c.retransmit_at == never) c.retransmit_at = core.now + c.rtt.rto();
    core.arm(c);
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
    std::uint64_t bytes = std::uint64_t{c.congestion.cwnd} * (slow_start ? 200 : 120) * 10000 /
                          static_cast<std::uint64_t>(rtt_us) / 1024;
    const auto near = static_cast<std::uint64_t>(rtt_us) >> 9;
    if (near < 32) bytes += largest_burst >> near;  // what fills a short path is small in any case
    return std::max(
        least, static_cast<std::uint32_t>(std::min<std::uint64_t>(bytes, largest_burst)) / segment_room(c));
}

void send_allowed(Core& core, Connection& c) {
    std::uint32_t run = 0;
    const std::uint32_t longest_run = burst_segments(core, c);
    while (true) {
        const Seq data_end = c.send_queue.end();
        const Seq limit = c.snd_una + std::min(c.congestion.cwnd, c.snd_wnd);
        const std::uint32_t queued = c.snd_nxt < data_end ? distance(c.snd_nxt, data_end) : 0;
        const std::uint32_t usable = c.snd_nxt < limit ? distance(c.snd_nxt, limit) : 0;
        const std::uint32_t length = std::min({queued, usable, segment_room(c)});
        const bool fin = c.fin_queued && c.snd_nxt + length == c.fin_seq;
        if (length == 0 && !fin) break;
        if (!fin && !worth_sending(c, length, queued)) break;
        const bool continued = std::min(queued, usable) >= length + segment_room(c);
        // Half the congestion window at most, so that two bursts are on their way (as in Linux).
        const std::uint32_t longest = std::min(longest_run, std::max(c.congestion.cwnd / c.mss / 2, 1u));
        const bool push = ++run > 1 && (run >= longest || !continued);
        if (run >= longest || !continued) run = 0;
        const bool sent = send_data(core, c, c.snd_nxt, length, fin, push);
        if (sent) c.snd_nxt += length + (fin ? 1 : 0);
        await_acknowledgement(core, c);
        if (!sent) break;  // no buffer: the timer tries again
        if (fin) on_fin_sent(core, c);
    }
    c.push_once = false;
    // A closed window is probed for ever (RFC 9293 3.8.6.1).
    const bool stuck = c.flight() == 0 && c.snd_nxt < c.send_queue.end();
    if (stuck) await_acknowledgement(core, c);
}

}  // namespace

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

// From SND.MAX: after a time-out SND.NXT is behind what the peer has received, and a segment without data
// there is unacceptable. Two peers that have both gone back would refuse each other's acknowledgements for
// ever.
void send_ack(Core& core, Connection& c) {
    send_segment(core, c, c.snd_max, 0, 0);
}

void send_probe(Core& core, Connection& c) {
    const Seq acked = c.ack_parked ? max(c.parked_ack, c.snd_una) : c.snd_una;
    send_segment(core, c, acked - 1, 0, 0);
}

void probe_window(Core& core, Connection& c) {
    const std::uint32_t queued = distance(c.snd_nxt, c.send_queue.end());
    const std::uint32_t length = std::max(std::min({queued, c.snd_wnd, segment_room(c)}), 1u);
    if (send_data(core, c, c.snd_nxt, length, false, true)) c.snd_nxt += length;
}

bool retransmit_first(Core& core, Connection& c) {
    const Seq data_end = c.send_queue.end();
    const std::uint32_t queued = c.snd_una < data_end ? distance(c.snd_una, data_end) : 0;
    const std::uint32_t length = std::min({queued, segment_room(c), distance(c.snd_una, c.snd_max)});
    const bool fin = c.fin_queued && c.snd_una + length == c.fin_seq && c.snd_max > c.fin_seq;
    if (length == 0 && !fin) return false;
    return send_data(core, c, c.snd_una, length, fin);
}

void send_handshake(Core& core, Connection& c) {
    const bool answer = c.state == State::syn_received;
    wire::TcpHeader header =
        header_for(core, c, c.iss, answer ? TcpFlags::syn | TcpFlags::ack : TcpFlags::syn);
    // The window of a SYN is never scaled (RFC 7323 2.2).
    const std::uint32_t mss = offered_mss(core, c);
    const std::uint32_t window = initial_window(core, c, mss - (answer && c.timestamps ? 12 : 0));
    header.window = static_cast<std::uint16_t>(window);
    header.options.mss = static_cast<std::uint16_t>(mss);
    header.options.window_scale_present = c.window_scaling;
    header.options.window_scale = c.rcv_scale;
    header.options.sack_permitted = c.sack;
    if (answer) {
        c.last_ack_sent = c.rcv_nxt;
        c.rcv_edge = max(c.rcv_edge, c.rcv_nxt + header.window);
    }
    emit(core, core.local_of(c), core.remote_of(c), c.peer_link, c.ttl, header, nullptr, {}, 0);
    if (c.handshake_sent++ != 0) ++core.counters.tcp_retransmitted;
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
