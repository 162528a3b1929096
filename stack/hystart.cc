#include "stack/hystart.hh"

#include <algorithm>

namespace understudy::stack {
namespace {

using namespace std::chrono_literals;

constexpr Duration train_gap = 2ms;  // acknowledgements closer than this belong together
constexpr std::uint8_t samples_wanted = 8;
constexpr Duration least_rise = 4ms, greatest_rise = 16ms;

}  // namespace

bool HyStart::on_ack(const Acknowledgement& acknowledgement) {
    if (!begun_ || acknowledgement.una > round_end_) {
        begun_ = true;
        samples_ = 0;
        round_end_ = acknowledgement.nxt;
        round_start_ = acknowledgement.now;
        in_train_until_ = acknowledgement.now + train_gap;
        least_rtt_ = acknowledgement.rtt;
    }
    const bool full = train_fills_path(acknowledgement);
    return delay_rises(acknowledgement) || full;
}

// An unbroken train of acknowledgements that lasts as long as the way there is a full pipe.
bool HyStart::train_fills_path(const Acknowledgement& acknowledgement) {
    if (acknowledgement.now > in_train_until_) return false;
    in_train_until_ = acknowledgement.now + train_gap;
    const Duration round_trip = acknowledgement.min_rtt + acknowledgement.cushion;
    return acknowledgement.now - round_start_ > (acknowledgement.paced ? round_trip : round_trip / 2);
}

// The shortest of enough round trips is longer than the path's: a queue grows.
bool HyStart::delay_rises(const Acknowledgement& acknowledgement) {
    least_rtt_ = std::min(least_rtt_, acknowledgement.rtt);
    if (samples_ < samples_wanted) {
        ++samples_;
        return false;
    }
    return least_rtt_ > acknowledgement.min_rtt +
                            std::clamp<Duration>(acknowledgement.min_rtt / 8, least_rise, greatest_rise);
}

}  // namespace understudy::stack
