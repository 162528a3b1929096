// Answers that an attacker could draw from us, throttled (RFC 5961 7).
#include "stack/tcp/core.hh"

namespace understudy::stack::tcp {
namespace {

// One such answer of a connection in each TcpSettings::invalid_ack_interval, so that two hosts that disagree
// cannot loop.
bool is_throttled(Core& core, Connection& c) {
    const std::uint32_t ms = milliseconds(core.now);
    const auto interval = static_cast<std::int32_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(core.settings.tcp.invalid_ack_interval)
            .count());
    const auto elapsed = static_cast<std::int32_t>(ms - c.rare().answered_invalid_at);
    if (c.answered_invalid && elapsed >= 0 && elapsed < interval) {
        ++core.counters.tcp_acks_throttled;
        return true;
    }
    c.answered_invalid = true;
    c.rare().answered_invalid_at = ms;
    return false;
}

}  // namespace

bool ChallengeBudget::take(std::uint32_t second, std::uint32_t limit, Noise& noise) {
    if (second != second_) {
        // Not the limit itself: whoever counts the answers must not learn of other connections'
        // (CVE-2016-5696).
        second_ = second;
        left_ = limit == 0 ? 0 : (limit + 1) / 2 + static_cast<std::uint32_t>(noise.next() % limit);
    }
    if (left_ == 0) return false;
    --left_;
    return true;
}

bool may_answer_invalid(Core& core, Connection& c, const Segment& segment) {
    if (segment.source != Source::service) return false;  // rules.md 18
    // Data is no part of a loop of acknowledgements.
    if (segment.length() != 0 && !segment.has(wire::TcpFlags::syn)) return true;
    return !is_throttled(core, c);
}

void challenge_ack(Core& core, Connection& c, const Segment& segment) {
    if (segment.source != Source::service || is_throttled(core, c)) return;
    if (!core.challenges.take(seconds(core.now), core.settings.tcp.challenge_ack_limit, core.noise)) {
        ++core.counters.tcp_challenge_acks_withheld;
        return;
    }
    ++core.counters.tcp_challenge_acks;
    send_ack(core, c);
}

}  // namespace understudy::stack::tcp
