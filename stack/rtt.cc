#include "stack/rtt.hh"

namespace understudy::stack {

void RttEstimator::sample(Duration rtt, const TcpSettings& settings) {
    rtt = std::max(rtt, Duration(1));
    if (!has_sample()) {
        srtt_ = rtt;  // RFC 6298 2.2
        rttvar_ = rtt / 2;
    } else {
        const Duration error = rtt > srtt_ ? rtt - srtt_ : srtt_ - rtt;  // RFC 6298 2.3
        rttvar_ = (rttvar_ * 3 + error) / 4;
        srtt_ = std::max((srtt_ * 7 + rtt) / 8, Duration(1));
    }
    settle(settings);
}

void RttEstimator::settle(const TcpSettings& settings) {
    if (!has_sample()) return;
    // The variance term has a floor of rto_min, as Linux has it: a steady path would otherwise time out on
    // the first delayed acknowledgement.
    rto_ = std::min(srtt_ + std::max(rttvar_ * 4, settings.rto_min), settings.rto_max);
}

}  // namespace understudy::stack
