// The one way out. While the gate is closed nothing leaves the replica (paper section IV.A.2).
#pragma once

#include "stack/counters.hh"
#include "stack/interfaces.hh"

namespace understudy::stack {

class EgressGate {
  public:
    EgressGate(FrameSink& sink, Counters& counters, bool open)
        : sink_(sink), counters_(counters), open_(open) {}

    bool is_open() const { return open_; }
    void open() { open_ = true; }
    void close() { open_ = false; }

    // Room for a frame; empty when the gate is closed or there is no buffer, each of them counted. With
    // `queue` the frame goes there and waits.
    std::span<std::byte> reserve(std::size_t length, FrameSink* queue = nullptr) {
        if (!open_) {
            ++counters_.withheld_frames;
            return {};
        }
        target_ = queue != nullptr ? queue : &sink_;
        const auto frame = target_->reserve(length);
        if (frame.empty()) ++counters_.drop_no_buffer;
        return frame;
    }
    // The same for the one frame that may leave while the gate is closed: a probe of the primary (rules.md 15).
    std::span<std::byte> reserve_probe(std::size_t length) {
        const auto frame = sink_.reserve(length);
        if (frame.empty()) ++counters_.drop_no_buffer;
        return frame;
    }
    // Of the frame that was reserved last: FrameSink's calls.
    std::span<std::byte> extend(std::size_t length) { return target_->extend(length); }
    void commit() { target_->commit(); }
    void commit_segments(std::uint16_t segment_bytes) { target_->commit_segments(segment_bytes); }

  private:
    FrameSink& sink_;
    FrameSink* target_ = &sink_;  // of the frame that was reserved last
    Counters& counters_;
    bool open_;
};

}  // namespace understudy::stack
