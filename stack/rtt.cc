#include "stack/rtt.hh"

namespace understudy::stack {
namespace {

std::uint32_t microseconds(Duration duration) {
    const auto us = std::chrono::duration_cast<std::chrono::microseconds>(duration).count();
    return static_cast<std::uint32_t>(std::clamp<std::int64_t>(us, 1, 1 << 28));
}

}  // namespace

void RttEstimator::sample(Duration rtt, Seq una, Seq nxt, const TcpSettings& settings) {
    const std::uint32_t us = microseconds(rtt);
    const std::uint32_t floor = microseconds(settings.rto_min);
    min_us_ = min_us_ == 0 ? us : std::min(min_us_, us);
    if (!has_sample()) {
        srtt_us_ = us << 3;  // RFC 6298 2.2
        mdev_us_ = us << 1;
        mdev_max_us_ = rttvar_us_ = std::max(mdev_us_, floor);
        round_end_ = nxt;
    } else {
        // RFC 6298 2.3. A shorter round trip raises the variation by little: it calls for no longer wait.
        const std::int64_t error = std::int64_t{us} - (srtt_us_ >> 3);
        srtt_us_ = static_cast<std::uint32_t>(std::max<std::int64_t>(srtt_us_ + error, 1));
        std::int64_t change = (error < 0 ? -error : error) - (mdev_us_ >> 2);
        if (error < 0 && change > 0) change >>= 3;
        mdev_us_ = static_cast<std::uint32_t>(mdev_us_ + change);
        if (mdev_us_ > mdev_max_us_) {
            mdev_max_us_ = mdev_us_;
            rttvar_us_ = std::max(rttvar_us_, mdev_max_us_);
        }
        if (una > round_end_) {
            if (mdev_max_us_ < rttvar_us_) rttvar_us_ -= (rttvar_us_ - mdev_max_us_) >> 2;
            round_end_ = nxt;
            mdev_max_us_ = floor;
        }
    }
    settle(settings);
}

void RttEstimator::settle(const TcpSettings& settings) {
    set_rto(has_sample() ? std::min<Duration>(std::chrono::microseconds((srtt_us_ >> 3) + rttvar_us_),
                                              settings.rto_max)
                         : settings.rto_initial);
}

}  // namespace understudy::stack
