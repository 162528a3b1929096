#include "stack/new_reno.hh"

#include <algorithm>

namespace understudy::stack {
namespace {

constexpr std::uint32_t largest_cwnd = 1u << 30;

// RFC 5681 (4): half of what was in flight, at least two segments.
std::uint32_t halved(std::uint32_t flight, std::uint32_t mss) {
    return std::max(flight / 2, 2 * mss);
}

}  // namespace

void NewReno::on_ack(CongestionState& state, std::uint32_t acked, std::uint32_t mss) const {
    if (state.cwnd < state.ssthresh) {
        // By the bytes acknowledged (RFC 3465 2.2), without its limit, as Linux: receivers that collect
        // segments acknowledge many at once.
        const std::uint32_t grown = std::min(acked, state.ssthresh - state.cwnd);
        state.cwnd += grown;
        acked -= grown;
    }
    if (state.cwnd >= state.ssthresh) {
        state.bytes_acked += acked;  // RFC 3465 2.1: one segment for each window acknowledged
        if (state.bytes_acked >= state.cwnd) {
            state.bytes_acked -= state.cwnd;
            state.cwnd += mss;
        }
    }
    state.cwnd = std::min(state.cwnd, largest_cwnd);
}

void NewReno::on_loss(CongestionState& state, std::uint32_t flight, std::uint32_t mss) const {
    state.ssthresh = halved(flight, mss);
    state.cwnd = state.ssthresh;
    state.bytes_acked = 0;
}

void NewReno::on_timeout(CongestionState& state, std::uint32_t flight, std::uint32_t mss) const {
    state.ssthresh = halved(flight, mss);
    state.cwnd = mss;  // RFC 5681 3.1: the loss window
    state.bytes_acked = 0;
}

}  // namespace understudy::stack
