// The window that we offer: never shrunk, never silly (RFC 9293 3.8.6), and as large as the path needs.
#include <algorithm>
#include <bit>

#include "stack/tcp/core.hh"

namespace understudy::stack::tcp {
namespace {

std::uint32_t round_down(std::uint32_t value, std::uint32_t unit) {
    return unit == 0 ? value : value / unit * unit;
}

std::uint32_t open_window(const Connection& c) {
    return c.rcv_edge > c.rcv_nxt ? distance(c.rcv_nxt, c.rcv_edge) : 0;
}

// Half of a buffer is for bytes, half for what surrounds them, as Linux has it (tcp_adv_win_scale 1).
std::uint32_t window_space(std::uint32_t buffer) {
    return std::max(buffer / 2, 1u);
}

// Without window scaling no more than 65535 can be named, however much there is room for.
std::uint32_t full_window(const Connection& c) {
    return std::min(c.receive_limit, 0xffffu << c.rcv_scale);
}

// The window that the buffer's room allows, before what was promised earlier (RFC 1122 4.2.3.3).
std::uint32_t allowed_window(const Connection& c) {
    const std::uint32_t full = full_window(c);
    const std::uint32_t space = c.receive_limit > c.unread.size() ? c.receive_limit - c.unread.size() : 0;
    std::uint32_t room = std::min(space, full);
    const std::uint32_t mss = std::min<std::uint32_t>(c.rcv_mss, full);
    if (room < full / 2) {
        room = round_down(room, 1u << c.rcv_scale);
        if (room < full / 16 || room < mss) return 0;
    }
    if (c.rcv_scale != 0) {
        const std::uint32_t unit = 1u << c.rcv_scale;
        return round_down(room + unit - 1, unit);
    }
    const std::uint32_t window = open_window(c);
    if (window <= room - std::min(mss, room) || window > room) return round_down(room, mss);
    if (mss == full && room > window + full / 2) return room;
    return window;
}

}  // namespace

std::uint8_t window_scale_for(const TcpSettings& settings, const ConnectionOptions& options) {
    if (settings.window_scale != automatic_window_scale) return settings.window_scale;
    const std::uint32_t most =
        options.receive_buffer_bytes != 0
            ? options.receive_buffer_bytes
            : std::max(settings.receive_buffer_bytes, settings.receive_buffer_max_bytes);
    const int bits = std::bit_width(most) - 1;
    return static_cast<std::uint8_t>(std::clamp(bits - 15, 0, 14));
}

void size_receive_buffer(const Core& core, Connection& c) {
    const ConnectionOptions& options = options_of(core, c);
    const std::uint32_t buffer = options.receive_buffer_bytes != 0 ? options.receive_buffer_bytes
                                                                   : core.settings.tcp.receive_buffer_bytes;
    c.receive_limit = window_space(buffer);
}

std::uint32_t initial_window(const Core& core, const Connection& c, std::uint32_t mss) {
    const TcpSettings& tcp = core.settings.tcp;
    std::uint32_t window = c.receive_limit;
    if (window > mss) window = round_down(window, mss);
    if (tcp.initial_receive_window != 0) window = std::min(window, tcp.initial_receive_window);
    return std::min(window, 0xffffu);
}

std::uint16_t select_window(Connection& c) {
    const std::uint32_t open = open_window(c), unit = 1u << c.rcv_scale;
    std::uint32_t window = allowed_window(c);
    if (window < open) window = round_down(open + unit - 1, unit);
    const std::uint32_t field = std::min(window >> c.rcv_scale, 0xffffu);
    c.rcv_edge = max(c.rcv_edge, c.rcv_nxt + (field << c.rcv_scale));
    return static_cast<std::uint16_t>(field);
}

bool can_advance_window(const Core&, const Connection& c) {
    // What was offered with the last acknowledgement, from where it stood.
    const std::uint32_t offered = c.rcv_edge > c.last_ack_sent ? distance(c.last_ack_sent, c.rcv_edge) : 0;
    return allowed_window(c) >= std::min(offered, 0xffffu << c.rcv_scale);
}

// Dynamic right-sizing: twice what the application read in a round trip, and room for slow start to double
// it, is what the path can fill.
void tune_receive_buffer(Core& core, Connection& c) {
    const TcpSettings& tcp = core.settings.tcp;
    const auto now = static_cast<std::uint32_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(core.now.time_since_epoch()).count());
    const auto read = static_cast<std::uint32_t>(c.bytes_received - c.unread.size());
    if (c.tune_space == 0) {
        c.tune_space = std::min(c.receive_limit, 10u * c.mss);
        c.tune_at = now;
        c.tune_read = read;
        return;
    }
    const Duration rtt = c.rtt.has_sample() ? c.rtt.srtt() : std::chrono::milliseconds(100);
    const auto rtt_us = std::chrono::duration_cast<std::chrono::microseconds>(rtt).count();
    if (now - c.tune_at < std::max<std::int64_t>(rtt_us, 1)) return;
    const std::uint32_t copied = read - c.tune_read;
    c.tune_at = now;
    c.tune_read = read;
    if (copied <= c.tune_space) return;
    const ConnectionOptions& options = options_of(core, c);
    if (options.receive_buffer_bytes == 0) {
        std::uint64_t wanted = 2ull * copied + 16ull * c.mss;
        wanted += 2 * (wanted * (copied - c.tune_space) / c.tune_space);
        // No more than the window field can say.
        const std::uint64_t most =
            std::min(window_space(tcp.receive_buffer_max_bytes), 0xffffu << c.rcv_scale);
        c.receive_limit = std::max(c.receive_limit, static_cast<std::uint32_t>(std::min(wanted, most)));
    }
    c.tune_space = copied;
}

void update_window_after_read(Core& core, Connection& c) {
    // After the peer's FIN a window means nothing, and the peer may be gone: an update would draw its RST.
    if (c.peer_fin_taken) return;
    // Only of a window that is at least twice as wide (RFC 1122 4.2.3.3).
    const std::uint32_t open = open_window(c);
    if (2ull * open > full_window(c)) return;
    const std::uint32_t wider = allowed_window(c);
    if (wider == 0 || wider < 2 * open) return;
    c.ack_now = true;
    core.mark_dirty(c);
}

void note_input_read(Core& core, Connection& c) {
    tune_receive_buffer(core, c);
    on_input_read(core, c);
    update_window_after_read(core, c);
}

}  // namespace understudy::stack::tcp
