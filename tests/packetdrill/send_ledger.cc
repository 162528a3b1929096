#include "tests/packetdrill/send_ledger.hh"

#include <algorithm>
#include <bit>
#include <utility>

namespace understudy::packetdrill {
namespace {

constexpr std::uint32_t packet_overhead = 1024;  // about what one packet of Linux costs beside its bytes
constexpr std::uint32_t largest_packet = 65215;  // GSO_MAX_SIZE without room for headers

std::int32_t ahead(std::uint32_t a, std::uint32_t b) {
    return static_cast<std::int32_t>(a - b);
}

}  // namespace

std::uint32_t SendLedger::packet_goal(const stack::ConnectionSnapshot& s) const {
    const std::uint32_t mss = std::max<std::uint32_t>(s.mss, 1);
    const std::uint32_t half = s.snd_wnd > 536 ? s.snd_wnd / 2 : s.snd_wnd;
    return std::max(std::min(half, largest_packet) / mss * mss, mss);
}

std::uint32_t SendLedger::queued(const stack::ConnectionSnapshot& s) {
    while (!ends_.empty() && ahead(ends_.front(), s.snd_una) <= 0)
        ends_.pop_front();
    return s.app_nxt - s.snd_una + static_cast<std::uint32_t>(ends_.size()) * packet_overhead;
}

bool SendLedger::has_memory(const stack::ConnectionSnapshot& s, bool wake) {
    if (queued(s) >= buffer_) return false;
    const std::uint64_t unsent = ahead(s.app_nxt, s.snd_nxt) > 0 ? s.app_nxt - s.snd_nxt : 0;
    return unsent << (wake ? 1 : 0) < low_mark_;
}

std::uint32_t SendLedger::room(const stack::ConnectionSnapshot& s) {
    const std::uint32_t goal = packet_goal(s);
    queued(s);
    if (!ends_.empty() && !is_ended_ && ahead(s.app_nxt, s.snd_nxt) > 0) {
        // The last packet is not sent yet, at least not all of it: it grows.
        const std::uint32_t begin = ends_.size() > 1 ? ends_[ends_.size() - 2] : s.snd_una;
        const std::uint32_t unsent_from = ahead(s.snd_nxt, begin) > 0 ? s.snd_nxt : begin;
        const std::uint32_t length = s.app_nxt - unsent_from;
        if (length < goal) return goal - length;
    }
    return has_memory(s, false) ? goal : 0;
}

void SendLedger::written(std::uint32_t bytes, const stack::ConnectionSnapshot& before) {
    const std::uint32_t end = before.app_nxt + bytes;
    const bool grows = !ends_.empty() && !std::exchange(is_ended_, false) &&
                       ahead(before.app_nxt, before.snd_nxt) > 0 && room(before) != 0 &&
                       room(before) < packet_goal(before);
    if (!grows) {
        ends_.push_back(end);
        return;
    }
    const std::uint32_t begin = ends_.size() > 1 ? ends_[ends_.size() - 2] : before.snd_una;
    if (ahead(before.snd_nxt, begin) > 0) {
        ends_.back() = before.snd_nxt;  // cut in two where sending stopped
        ends_.push_back(end);
    } else {
        ends_.back() = end;
    }
}

bool SendLedger::forces_push(std::uint32_t end, const stack::ConnectionSnapshot& s) {
    max_window_ = std::max(max_window_, s.snd_wnd);
    if (!pushed_) pushed_ = s.iss;
    return ahead(end, *pushed_ + (max_window_ >> 1)) > 0;
}

bool SendLedger::is_writable(const stack::ConnectionSnapshot& s) {
    const std::uint32_t now = queued(s);
    return now < buffer_ && buffer_ - now >= now / 2 && has_memory(s, true);
}

void SendLedger::expand(const stack::ConnectionSnapshot& s, std::uint32_t initial_segments,
                        std::uint32_t most) {
    if (is_fixed_ || s.mss == 0 || s.unacked_segments >= s.cwnd_segments) return;
    const std::uint32_t segments = std::max(initial_segments, s.cwnd_segments);
    const std::uint32_t per_segment = std::bit_ceil(std::uint32_t{s.mss} + 640) + 256;
    buffer_ = std::max(buffer_, std::min(2 * segments * per_segment, most));
}

}  // namespace understudy::packetdrill
