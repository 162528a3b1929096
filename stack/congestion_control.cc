#include "stack/congestion_control.hh"

#include <algorithm>

#include "stack/cubic.hh"
#include "stack/new_reno.hh"

namespace understudy::stack {
namespace {

constexpr std::uint32_t largest_cwnd = 1u << 20;

}  // namespace

std::uint32_t CongestionControl::slow_start(CongestionState& state, std::uint32_t segments) {
    const std::uint32_t wanted = std::min(state.cwnd + segments, state.ssthresh);
    const std::uint32_t left = segments - (wanted - state.cwnd);
    state.cwnd = std::min(wanted, largest_cwnd);
    return left;
}

void CongestionControl::grow(CongestionState& state, std::uint32_t every, std::uint32_t segments) {
    // What was counted under a larger window is worth one segment at most.
    every = std::min<std::uint32_t>(every, std::numeric_limits<std::uint16_t>::max());
    std::uint32_t acked = state.acked;
    if (acked >= every) {
        acked = 0;
        ++state.cwnd;
    }
    acked += segments;
    state.cwnd += acked / every;
    state.acked = static_cast<std::uint16_t>(acked % every);
    state.cwnd = std::min(state.cwnd, largest_cwnd);
}

const CongestionControl& congestion_control(CongestionAlgorithm algorithm) {
    static const NewReno new_reno;
    static const Cubic cubic;
    if (algorithm == CongestionAlgorithm::new_reno) return new_reno;
    return cubic;
}

}  // namespace understudy::stack
