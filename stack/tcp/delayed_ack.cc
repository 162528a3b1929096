// When an acknowledgement goes out (RFC 9293 3.8.6.3, RFC 5681 4.2), with the estimates that Linux makes: at
// the start, and after a pause, each segment is acknowledged, for the sender's window grows by
// acknowledgements; a conversation in both directions lets answers carry them.
#include <algorithm>

#include "stack/tcp/core.hh"

namespace understudy::stack::tcp {
namespace {

constexpr std::uint16_t least_estimated_mss = 536;  // until a larger segment was seen
constexpr std::uint16_t least_mss = 88;

std::uint32_t to_ms(Duration time) {
    return static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(time).count());
}

std::uint8_t ato_min(const Core& core) {
    return static_cast<std::uint8_t>(std::min(to_ms(core.settings.tcp.delayed_ack_min), 250u));
}

void grant_quick_acks(const Core& core, Connection& c, std::uint8_t most) {
    const std::uint32_t window = c.rcv_edge > c.rcv_nxt ? distance(c.rcv_nxt, c.rcv_edge) : 0;
    // Half a window of segments.
    const std::uint32_t half = std::max(window / (2u * std::max(c.rcv_mss, least_mss)), 2u);
    const auto granted = static_cast<std::uint8_t>(std::min<std::uint32_t>({half, most, 255u}));
    c.quick_acks = std::max(c.quick_acks, std::min(granted, core.settings.tcp.quick_acks));
}

void estimate_segment_size(Connection& c, const Segment& segment) {
    const auto length = static_cast<std::uint32_t>(segment.payload.size());
    const bool pushed = segment.has(wire::TcpFlags::psh);
    if (length >= c.rcv_mss) {
        c.rcv_mss = static_cast<std::uint16_t>(std::min<std::uint32_t>(length, 0xffff));
        if (pushed) c.ack_pushed = true;
        return;
    }
    // Without PSH a segment should be full.
    if (length >= least_estimated_mss || (length >= least_mss && !pushed)) {
        if (length == c.last_segment_size) c.rcv_mss = static_cast<std::uint16_t>(length);
        c.last_segment_size = static_cast<std::uint16_t>(length);
    }
    if (c.ack_pushed) c.ack_pushed_twice = true;
    c.ack_pushed = true;
}

bool acknowledges_at_once(const Connection& c) {
    return c.quick_acks != 0 && !c.interactive;
}

void delay_ack(Core& core, Connection& c) {
    std::uint32_t ms = c.ato;
    const std::uint32_t least = ato_min(core);
    if (ms > least) {
        std::uint32_t most = to_ms(core.settings.tcp.delayed_ack_max);
        if (!c.interactive && !c.ack_pushed) most = std::max(most, 500u);
        if (c.rtt.has_sample()) most = std::min(most, std::max(to_ms(c.rtt.srtt()), least));
        ms = std::min(ms, most);
    }
    const Duration delay =
        std::min<Duration>(std::chrono::milliseconds(ms), core.settings.tcp.delayed_ack_max);
    const Instant at = core.now + delay;
    if (c.ack_at != never && c.ack_at <= core.now + delay / 4) {
        c.ack_now = true;  // it is about to expire
        return;
    }
    // Armed by output(), if nothing has carried the acknowledgement until then.
    c.ack_at = std::min(c.ack_at, at);
}

}  // namespace

void begin_acknowledging(const Core&, Connection& c) {
    const std::uint32_t hint = std::min<std::uint32_t>({c.mss, c.receive_limit / 2, least_estimated_mss});
    c.rcv_mss = static_cast<std::uint16_t>(std::max<std::uint32_t>(hint, least_mss));
}

void acknowledge_quickly(const Core& core, Connection& c, std::uint8_t most) {
    grant_quick_acks(core, c, most);
    c.interactive = false;
    c.ato = ato_min(core);
}

void note_data_received(Core& core, Connection& c, const Segment& segment) {
    estimate_segment_size(c, segment);
    const std::uint32_t now = milliseconds(core.now);
    const std::uint32_t pause = now - c.data_at;
    const std::uint32_t least = ato_min(core), rto = to_ms(c.rtt.rto());
    if (c.ato == 0) {
        // The first data: the peer's slow start waits for every acknowledgement.
        grant_quick_acks(core, c, core.settings.tcp.quick_acks);
        c.ato = static_cast<std::uint8_t>(least);
    } else if (pause <= least / 2) {
        c.ato = static_cast<std::uint8_t>(c.ato / 2 + least / 2);
    } else if (pause < c.ato) {
        c.ato = static_cast<std::uint8_t>(std::min(c.ato / 2 + pause, std::min(rto, 250u)));
    } else if (pause > rto) {
        grant_quick_acks(core, c,
                         core.settings.tcp.quick_acks);  // the sender begins with a small window again
    }
    c.data_at = now;
}

void note_data_sent(const Core& core, Connection& c) {
    // An answer that leaves soon after the question: the next will carry its acknowledgement as well.
    if (c.ato != 0 && milliseconds(core.now) - c.data_at < c.ato) c.interactive = true;
}

void note_ack_sent(const Core& core, Connection& c) {
    c.last_ack_sent = c.rcv_nxt;
    c.ack_now = c.ack_pushed = c.ack_pushed_twice = c.ack_due = false;
    c.ack_at = never;
    if (c.quick_acks != 0 && --c.quick_acks == 0) c.ato = ato_min(core);
}

void schedule_ack(Core& core, Connection& c) {
    c.ack_due = true;
    const std::uint32_t unacked = distance(c.last_ack_sent, c.rcv_nxt);
    const bool two_segments = unacked > c.rcv_mss && unacked < 0x80000000u;
    // Where the window does not move on with it, reading will send the acknowledgement.
    if (acknowledges_at_once(c) || (two_segments && can_advance_window(core, c)))
        c.ack_now = true;
    else
        delay_ack(core, c);
}

void on_input_read(Core& core, Connection& c) {
    if (!c.ack_due || c.ack_now) return;
    const std::uint32_t unacked = distance(c.last_ack_sent, c.rcv_nxt);
    const bool end_of_write = c.ack_pushed_twice || (c.ack_pushed && !c.interactive);
    if ((unacked > c.rcv_mss && unacked < 0x80000000u) || (end_of_write && c.unread.empty())) {
        c.ack_now = true;
        core.mark_dirty(c);
    }
}

void on_ack_timer(Core& core, Connection& c) {
    c.ack_at = never;
    if (!c.ack_due) return;
    const std::uint32_t least = ato_min(core);
    if (!c.interactive) {
        const std::uint32_t most = std::min(to_ms(c.rtt.rto()), 250u);
        c.ato = static_cast<std::uint8_t>(std::min(2u * c.ato, most));  // it was waited for in vain
    } else {
        c.interactive = false;
        c.ato = static_cast<std::uint8_t>(least);
    }
    ++core.counters.tcp_delayed_acks;
    c.ack_now = true;
    core.mark_dirty(c);
}

}  // namespace understudy::stack::tcp
