// Handshakes without a record, while too many are half open (RFC 4987 3.6).
//
// Our initial sequence number says all that is needed: a keyed hash of the endpoints, the client's number,
// the minute and an index into a table of segment sizes. The timestamp's low six bits carry the other
// options.
#include <algorithm>
#include <array>

#include "stack/tcp/core.hh"

namespace understudy::stack::tcp {
namespace {

using wire::TcpFlags;

constexpr std::array<std::uint16_t, 8> segment_sizes = {536, 1220, 1300, 1420, 1440, 1460, 4036, 8940};
constexpr std::uint32_t size_mask = 0xffffff;
constexpr std::uint32_t valid_minutes = 2;
constexpr std::uint32_t option_bits = 6;
constexpr std::uint8_t no_scale = 0xf;

enum Purpose : std::uint8_t { outer = 2, inner = 3 };

std::uint32_t minute(const Core& core) {
    return seconds(core.now) / 60;
}

std::uint32_t outer_hash(const Core& core, const Segment& segment) {
    return core.sequence.hash(segment.local, segment.remote, outer, 0);
}

std::uint32_t inner_hash(const Core& core, const Segment& segment, std::uint32_t count) {
    return core.sequence.hash(segment.local, segment.remote, inner, count);
}

Seq make_cookie(const Core& core, const Segment& syn) {
    const std::uint16_t mss = syn.header.options.mss != 0 ? syn.header.options.mss : default_mss;
    const auto above = std::upper_bound(segment_sizes.begin() + 1, segment_sizes.end(), mss);
    const auto index = static_cast<std::uint32_t>(above - segment_sizes.begin() - 1);
    const std::uint32_t count = minute(core);
    return Seq(outer_hash(core, syn) + syn.seq().raw() + (count << 24) +
               ((inner_hash(core, syn, count) + index) & size_mask));
}

// The index into segment_sizes that the acknowledgement brings back; nothing when it is none of ours, or old.
std::optional<std::uint32_t> read_cookie(const Core& core, const Segment& ack) {
    const std::uint32_t client_isn = ack.seq().raw() - 1;
    const std::uint32_t cookie = ack.ack().raw() - 1 - outer_hash(core, ack) - client_isn;
    const std::uint32_t age = (minute(core) - (cookie >> 24)) & 0xff;
    if (age >= valid_minutes) return std::nullopt;
    const std::uint32_t index = (cookie - inner_hash(core, ack, minute(core) - age)) & size_mask;
    return index < segment_sizes.size() ? std::optional(index) : std::nullopt;
}

std::uint32_t clock_of(const Core& core, const Segment& segment) {
    return core.sequence.timestamp_offset(segment.local, segment.remote) + milliseconds(core.now);
}

// Not later than now, with the options in its low bits.
std::uint32_t stamp_options(std::uint32_t clock, const wire::TcpOptions& options, bool ecn) {
    const std::uint32_t scale = options.window_scale_present ? options.window_scale : no_scale;
    const std::uint32_t bits = scale | (options.sack_permitted ? 0x10u : 0u) | (ecn ? 0x20u : 0u);
    const std::uint32_t stamp = (clock & ~((1u << option_bits) - 1)) | bits;
    return static_cast<std::int32_t>(stamp - clock) > 0 ? stamp - (1u << option_bits) : stamp;
}

}  // namespace

bool wants_cookie(const Core& core, const Listener& listener) {
    switch (core.settings.tcp.syn_cookies) {
        case SynCookies::off:
            return false;
        case SynCookies::automatic:
            return listener.half_open >= core.settings.tcp.syn_backlog;
        case SynCookies::always:
            return true;
    }
    return false;
}

void answer_with_cookie(Core& core, Listener& listener, const Segment& syn) {
    const TcpSettings& tcp = core.settings.tcp;
    const wire::TcpOptions& offered = syn.header.options;
    listener.cookies_until = core.now + std::chrono::minutes(valid_minutes);
    const bool timestamps = tcp.timestamps && offered.timestamps_present;
    wire::TcpHeader header;
    header.source_port = syn.local.port;
    header.destination_port = syn.remote.port;
    header.seq = make_cookie(core, syn);
    header.ack = syn.seq() + 1;
    header.flags.bits = TcpFlags::syn | TcpFlags::ack;
    header.options.mss =
        listener.options.max_segment != 0 ? std::min(listener.options.max_segment, tcp.mss) : tcp.mss;
    const std::uint32_t mss = header.options.mss - (timestamps ? 12u : 0u);
    header.window =
        static_cast<std::uint16_t>(initial_window(tcp, receive_space(tcp, listener.options), mss));
    // Without timestamps nothing but the segment size would be remembered: nothing else is agreed on.
    if (timestamps) {
        const bool ecn = accepts_ecn(core, syn);
        wire::TcpOptions agreed;
        agreed.window_scale_present = offered.window_scale_present;
        agreed.window_scale = offered.window_scale;
        agreed.sack_permitted = tcp.sack && offered.sack_permitted;
        header.options.window_scale_present = offered.window_scale_present;
        header.options.window_scale = window_scale_for(tcp, listener.options);
        header.options.sack_permitted = agreed.sack_permitted;
        header.options.timestamps_present = true;
        header.options.tsval = stamp_options(clock_of(core, syn), agreed, ecn);
        header.options.tsecr = offered.tsval;
        if (ecn) header.flags.bits |= TcpFlags::ece;
    }
    send_control(core, syn.local, syn.remote, syn.link_source, 64, header);
    ++core.counters.syn_cookies_sent;
}

Connection* accept_cookie(Core& core, const Segment& segment) {
    Listener* listener = core.listener(segment.local);
    if (listener == nullptr || core.now >= listener->cookies_until ||
        segment.has(TcpFlags::syn | TcpFlags::rst))
        return nullptr;
    const auto index = read_cookie(core, segment);
    if (!index) {
        ++core.counters.syn_cookies_failed;
        return nullptr;
    }
    wire::TcpOptions syn;
    syn.mss = segment_sizes[*index];
    const wire::TcpOptions& now = segment.header.options;
    bool ecn = false;
    if (now.timestamps_present) {
        syn.timestamps_present = true;
        syn.tsval = now.tsval;
        syn.window_scale = static_cast<std::uint8_t>(now.tsecr & 0xf);
        syn.window_scale_present = syn.window_scale != no_scale;
        syn.sack_permitted = (now.tsecr & 0x10) != 0;
        ecn = (now.tsecr & 0x20) != 0;
    }
    Connection* c = open_from_cookie(core, segment, syn);
    if (c == nullptr) return nullptr;
    c->ecn = ecn;
    ++core.counters.syn_cookies_accepted;
    return c;
}

}  // namespace understudy::stack::tcp
