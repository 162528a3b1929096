// One datagram that several taps show is one datagram.
//
// A sender may repeat itself, and its repetitions are datagrams of their own: so the k-th equal one on a tap
// is taken for the same as the k-th on every other, within a bounded time. A tap that lost one is made up for
// by the others.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <unordered_map>

#include "stack/settings.hh"
#include "stack/udp/datagram.hh"

namespace understudy::stack::udp {

class TapCopies {
  public:
    // `secret` keys the digests.
    TapCopies(const UdpSettings& settings, std::uint64_t secret);

    enum class Verdict : std::uint8_t {
        fresh,
        copy,  // another tap has shown it
    };
    // Of a mirrored datagram, each in its turn. Oldest entries make room: each of them adds to `forgotten`.
    Verdict judge(const Datagram& datagram, Instant now, std::uint64_t& forgotten);

  private:
    struct Shown {
        Instant since{};
        std::array<std::uint16_t, max_taps> times{};  // on each tap
        std::uint16_t most = 0;                       // on any
    };

    std::uint64_t digest(const Datagram& datagram) const;
    void forget_oldest();

    const std::uint8_t taps_;
    const Duration skew_;
    const std::uint32_t max_entries_;
    const std::uint64_t secret_;
    std::unordered_map<std::uint64_t, Shown> shown_;  // by digest
    std::deque<std::uint64_t> order_;                 // the oldest first
};

}  // namespace understudy::stack::udp
