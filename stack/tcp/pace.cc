// The congestion window of a promoted connection is as large as the primary's was, but nothing is in flight
// to clock it out: it is spread over the round trip.
#include <algorithm>

#include "stack/tcp/ack_news.hh"

namespace understudy::stack::tcp {
namespace {

// By then the acknowledgements of the first paced round trip have come.
constexpr int paced_round_trips = 2;
// Somewhat faster than the window asks for, as Linux paces in congestion avoidance.
constexpr int pace_numerator = 5, pace_denominator = 6;

}  // namespace

void begin_pacing(Core& core, Connection& c, std::uint32_t burst) {
    if (!c.rtt.has_sample() || c.congestion.cwnd <= burst) return;
    if (c.resumption() == nullptr) c.rare().resumption = std::make_unique<Resumption>();
    Resumption& r = *c.resumption();
    const Duration rtt = c.rtt.srtt();
    r.segment_interval = std::max<Duration>(
        rtt * pace_numerator / (pace_denominator * std::int64_t{c.congestion.cwnd}), Duration(1));
    r.paced_until = core.now + rtt * paced_round_trips;
    r.next_send_at = core.now - r.segment_interval * std::int64_t{burst};
}

bool may_send_paced(Core& core, Connection& c) {
    if (c.resumption() == nullptr || !c.resumption()->is_paced(core.now)) return true;
    Resumption& r = *c.resumption();
    if (r.next_send_at <= core.now) return true;
    r.wake_at = r.next_send_at;
    core.arm(c);
    return false;
}

void note_paced(Core& core, Connection& c) {
    if (c.resumption() == nullptr || !c.resumption()->is_paced(core.now)) return;
    c.resumption()->next_send_at += c.resumption()->segment_interval;
}

void resume_pacing(Core& core, Connection& c) {
    if (c.resumption() == nullptr) return;
    Resumption& r = *c.resumption();
    if (r.wake_at <= core.now) {
        r.wake_at = never;
        if (c.recovery != nullptr) resend_lost(core, c, *c.recovery);
        core.mark_dirty(c);
    }
    if (c.verified && !r.is_paced(core.now) && r.wake_at == never) c.drop_resumption();
}

}  // namespace understudy::stack::tcp
