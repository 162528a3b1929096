#include "stack/new_reno.hh"

#include <algorithm>

namespace understudy::stack {

void NewReno::on_ack(CongestionState& state, const Acknowledgement& acknowledgement) const {
    std::uint32_t segments = acknowledgement.segments;
    if (state.cwnd < state.ssthresh) segments = slow_start(state, segments);
    if (segments != 0) grow(state, state.cwnd, segments);
}

std::uint32_t NewReno::on_loss(CongestionState& state) const {
    return std::max(state.cwnd / 2, 2u);  // RFC 5681 (4)
}

}  // namespace understudy::stack
