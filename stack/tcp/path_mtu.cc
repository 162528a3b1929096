// What the path can carry (RFC 1191, RFC 8201), where it says so and where it does not (RFC 4821), and what
// else ICMP says of a connection.
#include <algorithm>
#include <array>
#include <utility>

#include "stack/tcp/core.hh"

namespace understudy::stack::tcp {
namespace {

// RFC 1191 7.1: where routers that give no number may stand.
constexpr std::array<std::uint32_t, 8> plateaus = {32000, 17914, 8166, 4352, 2002, 1492, 1006, 508};
constexpr std::uint16_t tcp_and_ipv4 = 40, tcp_and_ipv6 = 60;
constexpr std::uint32_t least_ipv6_mtu = 1280;
constexpr std::uint8_t timeouts_before_suspicion = 3;  // RFC 1122's R1

std::uint16_t headers(const Connection& c) {
    return c.key.remote.is_v4() ? tcp_and_ipv4 : tcp_and_ipv6;
}

// Sends again what is in flight, cut smaller. No congestion: the window stays.
void shrink(Core& core, Connection& c, std::uint16_t mss) {
    c.mss = mss;
    resend_smaller(core, c);
    core.mark_dirty(c);
}

// Whether the quoted segment may be one of ours, while silent the primary's (RFC 5927 4.1).
bool is_in_flight(const Connection& c, Seq quoted) {
    return c.snd_una <= quoted && quoted < (c.is_silent() ? c.snd_nxt : c.snd_max);
}

}  // namespace

void on_path_mtu(Core& core, Connection& c, std::uint32_t mtu, Seq quoted) {
    if (!is_in_flight(c, quoted)) {
        ++core.counters.drop_icmp_unproven;
        return;
    }
    if (mtu == 0) {
        const std::uint32_t now = c.mss + std::uint32_t{headers(c)};
        const auto below = std::find_if(plateaus.begin(), plateaus.end(),
                                        [&](std::uint32_t plateau) { return plateau < now; });
        mtu = below != plateaus.end() ? *below : plateaus.back();
    }
    const std::uint32_t least =
        c.key.remote.is_v4() ? core.settings.tcp.min_path_mtu : std::uint32_t{least_ipv6_mtu};
    const std::uint32_t room = std::max(mtu, least) - headers(c);
    if (room >= c.mss) return;
    ++core.counters.path_mtu_lowered;
    if (c.rare().path_mss == 0) c.rare().path_mss = c.mss;
    c.rare().path_lowered_at = seconds(core.now);
    const auto mss = static_cast<std::uint16_t>(std::max<std::uint32_t>(room, least_send_mss));
    if (c.is_silent() || !c.is_synchronized()) {
        c.mss = mss;  // what is sent later
        return;
    }
    shrink(core, c, mss);
}

void forget_old_path_mtu(Core& core, Connection& c) {
    const Duration patience = core.settings.tcp.path_mtu_timeout;
    if (c.rare_state == nullptr || c.rare_state->path_mss == 0 || patience == Duration::zero()) return;
    if (std::chrono::seconds(seconds(core.now) - c.rare_state->path_lowered_at) < patience) return;
    c.mss = std::exchange(c.rare_state->path_mss, std::uint16_t{0});
    ++core.counters.path_mtu_raised;
}

void suspect_black_hole(Core& core, Connection& c) {
    if (c.timeouts < 0xff) ++c.timeouts;
    // RFC 4821 7.2 and 7.7: full segments that vanish, time after time, while nobody says why.
    if (!core.settings.tcp.mtu_probing || c.timeouts < timeouts_before_suspicion) return;
    const std::uint32_t base = core.settings.tcp.base_mss;
    const std::uint32_t next = c.mss > base ? base : c.mss / 2u;
    const auto mss = static_cast<std::uint16_t>(std::max<std::uint32_t>(next, least_send_mss));
    if (mss >= c.mss) return;
    c.mss = mss;
    ++core.counters.path_black_holes;
}

void on_unreachable(Core& core, Connection& c, bool hard, Seq quoted) {
    if (c.is_silent() || !is_in_flight(c, quoted)) {
        ++core.counters.drop_icmp_unproven;
        return;
    }
    // A soft error never ends a connection (RFC 9293 3.9.2.2, MUST-56); a hard one only before it is
    // established, for it may be forged (RFC 5927 5.2).
    c.unreachable = true;
    if (hard && c.state == State::syn_sent) core.finish(c, CloseReason::unreachable);
}

}  // namespace understudy::stack::tcp
