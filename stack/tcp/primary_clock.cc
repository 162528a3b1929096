#include "stack/tcp/primary_clock.hh"

#include <algorithm>
#include <array>
#include <limits>

namespace understudy::stack::tcp {
namespace {

// Ticks of the systems there are: Linux per route, Linux and Windows, older kernels, BSD.
constexpr std::array<TickLength, 6> usual_ticks = {1'000,      1'000'000,   4'000'000,
                                                   10'000'000, 100'000'000, 500'000'000};
// Apart enough that a mirror's delays do not hide the tick length.
constexpr Duration least_span = std::chrono::milliseconds(200);
// Enough to believe a length that no system is known for.
constexpr Duration long_span = std::chrono::seconds(2);
constexpr std::uint32_t most_ticks = 1u << 30;
// Two hosts' clocks drift apart by no more than this share: an old reference gives way by as much.
constexpr std::int64_t drift_divisor = 5'000;
// The low bits of a SYN cookie's timestamp carry options (Linux): it may be as many ticks behind.
constexpr std::uint32_t cookie_ticks = 64;

// Within a seventh; the usual lengths are further apart.
bool is_near(std::uint64_t measured, TickLength usual) {
    return measured >= usual - usual / 7 && measured <= usual + usual / 7;
}

std::int64_t ticks_between(Instant from, Instant to, TickLength tick) {
    return (to - from).count() / static_cast<std::int64_t>(tick);
}

}  // namespace

void PrimaryClock::begin(std::uint32_t tsval, Instant at) {
    *this = PrimaryClock{};
    newest_ = tsval;
    newest_at_ = at;
}

void PrimaryClock::sample(std::uint32_t tsval, Instant at) {
    if (static_cast<std::int32_t>(tsval - newest_) < 0) return;
    newest_ = tsval;
    newest_at_ = at;
    if (!sampled_) {
        sampled_ = true;
        first_ = reference_ = {tsval, at};
        return;
    }
    measure_tick(tsval, at);
    const TickLength tick = tick_ != 0 ? tick_ : default_tick;
    const std::int64_t expected = ticks_between(reference_.at, at, tick);
    const auto passed = static_cast<std::int32_t>(tsval - reference_.value);
    if (passed >= expected - expected / drift_divisor) reference_ = {tsval, at};
}

void PrimaryClock::measure_tick(std::uint32_t tsval, Instant at) {
    const Duration span = at - first_.at;
    const std::uint32_t ticks = tsval - first_.value;
    if (span < least_span || ticks == 0) return;
    const auto measured = static_cast<std::uint64_t>(span.count()) / ticks;
    TickLength tick = 0;
    for (const TickLength usual : usual_ticks)
        if (is_near(measured, usual)) tick = usual;
    if (tick == 0 && span >= long_span && measured != 0 && measured <= std::numeric_limits<TickLength>::max())
        tick = static_cast<TickLength>(measured);
    if (tick != 0 && tick != tick_) {
        tick_ = tick;
        reference_ = {tsval, at};  // the older one was chosen by another tick length
    }
    if (ticks > most_ticks) first_ = {tsval, at};
}

std::uint32_t PrimaryClock::continued(Instant now, TickLength usual) const {
    const TickLength tick = tick_ != 0 ? tick_ : usual;
    if (!sampled_)
        return newest_ + cookie_ticks + static_cast<std::uint32_t>(ticks_between(newest_at_, now, tick));
    const std::uint32_t fitted =
        reference_.value + static_cast<std::uint32_t>(ticks_between(reference_.at, now, tick));
    return static_cast<std::int32_t>(fitted - newest_) > 0 ? fitted : newest_ + 1;
}

}  // namespace understudy::stack::tcp
