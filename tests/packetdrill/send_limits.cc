#include "tests/packetdrill/send_limits.hh"

#include <algorithm>

namespace understudy::packetdrill {

SendLimits::Kind SendLimits::kind_of(const stack::ConnectionSnapshot& s, bool lacks_room) {
    const auto unsent = static_cast<std::int32_t>(s.app_nxt - s.snd_nxt);
    if (unsent > 0) {
        if (s.unacked_segments >= s.cwnd_segments) return sending;
        const std::uint32_t next = std::min(static_cast<std::uint32_t>(unsent), std::uint32_t{s.mss});
        const std::uint32_t flight = s.snd_nxt - s.snd_una;
        return flight + next > s.snd_wnd ? window : sending;
    }
    if (s.snd_una == s.snd_nxt) return idle;
    return lacks_room ? buffer : sending;
}

void SendLimits::update(const stack::ConnectionSnapshot& s, bool lacks_room, stack::Instant now) {
    spent_[kind_] += now - since_;
    since_ = now;
    kind_ = kind_of(s, lacks_room);
}

}  // namespace understudy::packetdrill
