// Frames on their way from one core to another: a ring of bytes with one producer and one consumer.
//
// Frames are copied in, whole and in order, and read in place. A full ring refuses; nothing waits.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "tap/frame.hh"
#include "tap/tally.hh"

namespace understudy::tap {

// What the producer says of a frame beside its bytes.
struct FrameNote {
    std::uint64_t number = 0;       // of its arrival: smaller is earlier, on every core
    std::uint32_t wire_length = 0;  // as Frame::wire_length
    std::uint32_t tag = 0;          // the owner's
};

struct RingFrame {
    FrameNote note;
    std::span<const std::byte> bytes;
};

class FrameRing {
  public:
    static constexpr std::size_t min_bytes = 1 << 18;
    static constexpr std::size_t max_frame = (1 << 16) + 64;  // an IP packet of 64 KiB and its link header

    // `bytes` is rounded up to a power of two, and is at least min_bytes.
    explicit FrameRing(std::size_t bytes);

    // Producer's side.

    // Room for one frame, valid until the next call here; empty when the ring is full or the frame is longer
    // than max_frame: counted as lost. A frame reserved and not committed is forgotten.
    std::span<std::byte> reserve(std::size_t length);
    void commit(const FrameNote& note);
    // Both, with a copy. False: counted as lost.
    bool push(std::span<const std::byte> bytes, const FrameNote& note);
    // Shows what was committed to the consumer. True when there was something new.
    bool flush();
    // There is room for `frames` frames of any length up to `length`.
    bool has_room(std::size_t frames, std::size_t length) const;

    // Consumer's side.

    // Frames in order, valid until release(), which must be called before the next receive().
    std::size_t receive(std::span<RingFrame> out);
    // Gives the first `count` frames of the last burst back; the others are received again.
    void release(std::size_t count);

    // Either side.

    bool empty() const;
    std::uint64_t handed_over() const { return handed_over_.get(); }
    std::uint64_t lost() const { return lost_.get(); }

  private:
    struct Record {
        std::uint32_t length;  // of the frame, or `wrap`
        std::uint32_t room;    // of the record, this header included
        FrameNote note;
    };
    static constexpr std::uint32_t wrap = ~0u;
    static constexpr std::size_t burst = 64;
    static constexpr std::size_t cache_line = 64;

    static std::size_t room_of(std::size_t length);
    Record read_record(std::uint64_t position) const;
    void write_record(std::uint64_t position, const Record& record);
    std::byte* at(std::uint64_t position) const { return &bytes_[position & mask_]; }

    std::size_t mask_;
    std::unique_ptr<std::byte[]> bytes_;
    // Positions only grow; the place in the ring is their remainder.
    alignas(cache_line) std::atomic<std::uint64_t> written_{0};
    std::uint64_t committed_ = 0;  // producer's
    std::uint64_t reserved_ = 0;   // where the reserved record begins
    std::uint32_t reserved_length_ = 0;
    mutable std::uint64_t known_read_ = 0;  // producer's copy of read_
    Tally handed_over_;
    Tally lost_;
    alignas(cache_line) std::atomic<std::uint64_t> read_{0};
    std::uint64_t held_[burst]{};  // where each frame of the last burst ends; consumer's
    std::size_t held_count_ = 0;
};

}  // namespace understudy::tap
