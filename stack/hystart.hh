// HyStart (RFC 9438 4.10 lets CUBIC use it; the variant of Linux): slow start ends before its first loss,
// when the acknowledgements of a round trip show that the path is full.
#pragma once

#include <cstdint>

#include "stack/seq.hh"
#include "stack/time.hh"

namespace understudy::stack {

class HyStart {
  public:
    // Smaller windows grow on: they say nothing about the path.
    static constexpr std::uint32_t least_window = 16;  // segments

    struct Acknowledgement {
        Duration rtt{};      // of the latest segment that it acknowledges
        Duration min_rtt{};  // of the connection, this one included
        // How long an acknowledgement may wait at either end for the rest of a burst.
        Duration cushion{};
        bool paced = false;  // segments leave over half the round trip
        Seq una;             // SND.UNA, this acknowledgement taken
        Seq nxt;
        Instant now{};
    };
    // Takes one that came in slow start, with least_window at least. True: slow start should end here.
    [[nodiscard]] bool on_ack(const Acknowledgement& acknowledgement);

  private:
    bool train_fills_path(const Acknowledgement& acknowledgement);
    bool delay_rises(const Acknowledgement& acknowledgement);

    bool begun_ = false;
    std::uint8_t samples_ = 0;
    Seq round_end_;
    Instant round_start_{};
    Instant in_train_until_{};
    Duration least_rtt_{};  // of the round
};

}  // namespace understudy::stack
