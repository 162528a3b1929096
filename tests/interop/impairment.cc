#include "tests/interop/impairment.hh"

#include <algorithm>

namespace understudy::interop {
namespace {

constexpr std::size_t ethernet_header_bytes = 14;
constexpr std::uint64_t bits_per_byte = 8;

Duration time_on_line(std::size_t bytes, std::uint64_t bits_per_second) {
    constexpr std::uint64_t nanoseconds_per_second = 1'000'000'000;
    return Duration(bytes * bits_per_byte * nanoseconds_per_second / bits_per_second);
}

}  // namespace

Impairment::Impairment(const ImpairmentSettings& settings, std::uint64_t direction)
    : settings_(settings), random_(sim::Random(settings.seed).stream("impairment", direction)) {}

Fate Impairment::pass(std::size_t bytes, Instant now) {
    ++counters_.frames;
    // All draws for every frame: what becomes of one frame must not move the chances of the next.
    sim::Random chance = random_.stream("frame", counters_.frames);
    const bool is_lost = chance.chance(settings_.loss_per_million);
    const bool is_doubled = chance.chance(settings_.duplicate_per_million);
    const bool is_overtaken = chance.chance(settings_.reorder_per_million);
    const Duration jitter = chance.between(Duration::zero(), settings_.jitter);
    const Duration held_back = chance.between(Duration::zero(), settings_.reorder_delay);
    const bool is_truncated = chance.chance(settings_.truncate_per_million);

    Fate fate;
    fate.bytes = bytes;
    if (settings_.mtu != 0 && bytes > settings_.mtu + ethernet_header_bytes) {
        ++counters_.too_long;
        return fate;
    }
    Instant leaves = now;
    if (settings_.rate_bits_per_second != 0) {
        const Instant starts = std::max(now, line_free_at_);
        if (starts - now > time_on_line(settings_.queue_bytes, settings_.rate_bits_per_second)) {
            ++counters_.queue_full;
            return fate;
        }
        line_free_at_ = leaves = starts + time_on_line(bytes, settings_.rate_bits_per_second);
    }
    if (is_lost) {
        ++counters_.lost;
        return fate;
    }
    Instant arrives = leaves + settings_.delay + jitter;
    if (is_overtaken) {
        ++counters_.reordered;
        arrives += held_back;
    } else {
        last_arrival_ = arrives = std::max(arrives, last_arrival_);
    }
    if (is_truncated && bytes > ethernet_header_bytes) {
        ++counters_.truncated;
        fate.bytes = chance.between(ethernet_header_bytes, bytes - 1);
    }
    fate.add(arrives);
    if (is_doubled) {
        ++counters_.duplicated;
        fate.add(arrives + held_back);
    }
    return fate;
}

}  // namespace understudy::interop
