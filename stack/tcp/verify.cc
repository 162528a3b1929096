// A lost tail is invisible until the client speaks (rules.md 3): after the promotion its own numbers decide.
#include <algorithm>

#include "stack/tcp/core.hh"

namespace understudy::stack::tcp {
namespace {

using wire::TcpFlags;

// Probes of a client that never answers become rarer, and end.
constexpr std::uint8_t most_probes = 10;
// The client's time-out may have doubled through the outage, and its next retransmissions may be lost again.
constexpr int patience_in_timeouts = 8;

// Numbers that lie where those of this connection can lie: within one more window of what is known.
bool is_plausible(const Connection& c, const Segment& segment) {
    const Seq acked = c.ack_parked ? max(c.parked_ack, c.snd_nxt) : c.snd_nxt;
    const std::uint32_t send_window = std::max<std::uint32_t>(c.max_snd_wnd, 65535);
    return segment.seq() <= max(c.rcv_edge, c.rcv_nxt) + std::max<std::uint32_t>(c.receive_limit, 65535) &&
           segment.ack() <= acked + send_window && segment.ack() + send_window >= c.snd_una;
}

void set_next_probe(Core& core, Connection& c) {
    Resumption& r = *c.resumption();
    // A client that stands ahead is asked steadily; one that is silent, ever more seldom.
    const int shift = r.give_up_at != never ? 0 : std::min<int>(r.probes, 6);
    const bool over = r.give_up_at == never && r.probes >= most_probes;
    r.probe_at = over ? never : core.now + core.settings.shadow.probe_interval * (std::int64_t{1} << shift);
}

// The acknowledgement of the client's latest segment is what it accepts (RFC 5961 3.2, rules.md 24). It may
// have received more since, which only its answer to a probe tells: that draws the RST that it takes.
void send_refusal(Core& core, Connection& c) {
    send_reset(core, c, c.snd_una);
    send_probe(core, c);
}

// What is left once the connection is verified: pacing, while it lasts.
void drop_if_over(const Core& core, Connection& c) {
    Resumption& r = *c.resumption();
    r.probe_at = r.give_up_at = never;
    if (!r.is_paced(core.now)) c.drop_resumption();
}

}  // namespace

void begin_verification(Core& core, Connection& c) {
    if (c.resumption() == nullptr) c.rare().resumption = std::make_unique<Resumption>();
    Resumption& r = *c.resumption();
    const Duration outage =
        core.primary_seen_at == Instant{} ? Duration::zero() : core.now - core.primary_seen_at;
    const ShadowSettings& shadow = core.settings.shadow;
    r.patience = std::clamp<Duration>(std::max<Duration>(c.rtt.rto(), outage) * patience_in_timeouts,
                                      shadow.resend_patience_min, shadow.resend_patience_max);
    set_next_probe(core, c);
    core.arm(c);
}

void note_client_numbers(Core&, Connection& c, const Segment& segment) {
    if (c.resumption() == nullptr || c.verified || !segment.has(TcpFlags::ack) || !is_plausible(c, segment))
        return;
    Resumption& r = *c.resumption();
    if (!r.client_seen || segment.seq() > r.client_nxt) r.client_nxt = segment.seq();
    r.client_seen = true;
}

void judge_client_numbers(Core& core, Connection& c) {
    if (c.resumption() == nullptr || c.verified || !c.resumption()->client_seen) return;
    Resumption& r = *c.resumption();
    if (r.client_nxt > c.rcv_nxt) {
        // Bytes that nobody here has seen. If the primary never had them either, they come again.
        if (r.give_up_at == never || r.waits_at != c.rcv_nxt) {
            r.waits_at = c.rcv_nxt;
            r.give_up_at = core.now + r.patience;
            if (r.probe_at == never) set_next_probe(core, c);
            core.arm(c);
        }
        return;
    }
    r.give_up_at = never;
    if (c.ack_parked) return;  // what the client has is not ours yet
    c.verified = true;
    ++core.counters.connections_verified;
    drop_if_over(core, c);
}

bool on_verification_timer(Core& core, Connection& c) {
    Resumption& r = *c.resumption();
    if (!c.verified && c.ack_parked == false && r.client_seen) judge_client_numbers(core, c);
    if (c.resumption() == nullptr) return true;
    if (r.give_up_at <= core.now) {
        ++core.counters.connections_contradicted;
        refuse(core, c);
        return false;
    }
    if (r.probe_at <= core.now) {
        ++core.counters.verification_probes;
        ++r.probes;
        send_probe(core, c);
        set_next_probe(core, c);
    }
    return true;
}

void refuse(Core& core, Connection& c) {
    // Anything known of the client's side is at least what its latest segment acknowledged.
    if (c.ack_parked || is_abandoned(c))
        c.snd_una = c.parked_ack;
    else if (!c.is_synchronized())
        c.snd_una = max(c.snd_una, c.iss + 1);
    c.ack_parked = false;
    c.snd_nxt = max(c.snd_nxt, c.snd_una);
    c.snd_max = max(c.snd_max, c.snd_nxt);
    send_refusal(core, c);
    if (core.settings.unknown_grace < core.settings.shadow.probe_interval)
        return core.finish(c, CloseReason::uncovered);
    if (c.announced && !core.tell_closed(c, CloseReason::uncovered)) return;
    // Within the grace time a segment of no connection is met with silence: the client would wait.
    c.shadow.reset();
    c.drop_resumption();
    c.recovery.reset();
    c.out_of_order.reset();
    c.unread.clear();
    c.refused = c.promoted = true;
    c.ack_now = false;
    c.retransmit_at = c.ack_at = never;
    c.keepalive_probes = 0;
    c.life_at = core.now + core.settings.shadow.probe_interval;
    core.arm(c);
}

void on_refused_timer(Core& core, Connection& c) {
    const Duration interval = core.settings.shadow.probe_interval;
    if (++c.keepalive_probes >= core.settings.unknown_grace / interval)
        return core.finish(c, CloseReason::uncovered);
    send_refusal(core, c);
    c.life_at = core.now + interval;
    core.arm(c);
}

void refused_input(Core& core, Connection& c, const Segment& segment) {
    if (segment.has(TcpFlags::rst) || segment.source != Source::service) return;
    if (segment.has(TcpFlags::syn) && !segment.has(TcpFlags::ack)) {
        core.finish(c, CloseReason::uncovered);
        return listen_input(core, segment);
    }
    send_reset_for(core, segment);
}

}  // namespace understudy::stack::tcp
