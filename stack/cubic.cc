#include "stack/cubic.hh"

#include <algorithm>
#include <cmath>

namespace understudy::stack {
namespace {

constexpr float beta = 717.0f / 1024;  // RFC 9438 4.6, 0.7 as Linux rounds it
constexpr float c = 0.4f;              // RFC 9438 5.1
// RFC 9438 4.3: W_est grows by α segments for each window acknowledged.
constexpr float alpha = 3 * (1 - beta) / (1 + beta);
// Before the first loss W_max is unknown: at most one segment for so many, 5 % a round trip.
constexpr std::uint32_t first_growth = 20;
// While the window stands, the curve is looked at so often (as Linux).
constexpr std::uint32_t update_interval_ms = 31;

std::uint32_t milliseconds(Instant now) {
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count();
    return std::max(static_cast<std::uint32_t>(ms), 1u);
}

std::uint16_t counted(std::uint32_t segments) {
    return static_cast<std::uint16_t>(
        std::min<std::uint32_t>(segments, std::numeric_limits<std::uint16_t>::max()));
}

}  // namespace

void Cubic::on_ack(CongestionState& state, const Acknowledgement& acknowledgement) const {
    std::uint32_t segments = acknowledgement.segments;
    const std::uint32_t before = state.cwnd;
    if (state.cwnd < state.ssthresh) segments = slow_start(state, segments);
    if (segments != 0)
        grow(state, acks_for_a_segment(state, {segments, acknowledgement.min_rtt, acknowledgement.now}),
             segments);
    if (state.cwnd != before) state.every = 0;
}

// How many segments must be acknowledged for cwnd to grow by one (RFC 9438 4.2 to 4.5).
std::uint32_t Cubic::acks_for_a_segment(CongestionState& state, const Acknowledgement& acknowledgement) {
    const auto cwnd = static_cast<float>(state.cwnd);
    const std::uint32_t now_ms = milliseconds(acknowledgement.now);
    state.epoch_acked = counted(state.epoch_acked + acknowledgement.segments);
    const auto clock = static_cast<std::uint16_t>(now_ms);
    const auto since_update = static_cast<std::uint16_t>(clock - state.updated_ms);
    if (state.every != 0 && since_update <= update_interval_ms) return state.every;
    state.updated_ms = clock;
    if (state.epoch_start_ms == 0) {
        state.epoch_start_ms = now_ms;
        state.epoch_acked = counted(acknowledgement.segments);
        state.w_est = cwnd;
        const bool below = state.w_max > cwnd;
        state.k_seconds = below ? std::cbrt((state.w_max - cwnd) / c) : 0;
        state.origin = below ? state.w_max : cwnd;
    }
    const float t = static_cast<float>(now_ms - state.epoch_start_ms) / 1000 +
                    std::chrono::duration<float>(acknowledgement.min_rtt).count();
    const float offset = t - state.k_seconds;
    // Whole segments count, as in Linux: a fraction of one is no reason to send more.
    const float target = std::floor(std::min(state.origin + c * offset * offset * offset, 1.5f * cwnd));
    float every = target > cwnd ? cwnd / (target - cwnd) : 100 * cwnd;
    if (state.w_max == 0) every = std::min(every, static_cast<float>(first_growth));

    // The Reno-friendly region (RFC 9438 4.3).
    state.w_est += alpha * static_cast<float>(state.epoch_acked) / cwnd;
    state.epoch_acked = 0;
    if (const float estimate = std::floor(state.w_est); estimate > cwnd)
        every = std::min(every, cwnd / (estimate - cwnd));
    // Never faster than half of slow start.
    return state.every = static_cast<std::uint16_t>(std::clamp(every, 2.0f, 65535.0f));
}

std::uint32_t Cubic::on_loss(CongestionState& state) const {
    const auto cwnd = static_cast<float>(state.cwnd);
    state.epoch_start_ms = 0;
    state.every = 0;
    // Fast convergence (RFC 9438 4.7).
    state.w_max = cwnd < state.w_max ? cwnd * (1 + beta) / 2 : cwnd;
    return std::max(static_cast<std::uint32_t>(cwnd * beta), 2u);
}

void Cubic::on_timeout(CongestionState& state) const {
    state.epoch_start_ms = 0;  // RFC 9438 4.8
    state.epoch_acked = state.acked = 0;
    state.w_max = 0;
}

void Cubic::on_idle(CongestionState& state, Duration idle) const {
    if (state.epoch_start_ms == 0) return;
    // Time without sending is no time of growth (RFC 9438 5.8).
    state.epoch_start_ms +=
        static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(idle).count());
}

}  // namespace understudy::stack
