#include "tap/frame_ring.hh"

#include <algorithm>
#include <bit>
#include <cstring>

namespace understudy::tap {
namespace {

constexpr std::size_t alignment = 8;

}  // namespace

FrameRing::FrameRing(std::size_t bytes)
    : mask_(std::bit_ceil(std::max(bytes, min_bytes)) - 1),
      bytes_(std::make_unique_for_overwrite<std::byte[]>(mask_ + 1)) {}

std::size_t FrameRing::room_of(std::size_t length) {
    return (sizeof(Record) + length + alignment - 1) / alignment * alignment;
}

FrameRing::Record FrameRing::read_record(std::uint64_t position) const {
    Record record;
    std::memcpy(&record, at(position), sizeof record);
    return record;
}

void FrameRing::write_record(std::uint64_t position, const Record& record) {
    std::memcpy(at(position), &record, sizeof record);
}

std::span<std::byte> FrameRing::reserve(std::size_t length) {
    reserved_length_ = 0;
    const std::size_t size = mask_ + 1;
    const std::size_t room = room_of(length);
    const std::size_t to_end = size - (committed_ & mask_);
    // A record lies in one piece: what is left before the end is skipped.
    const std::size_t skipped = room <= to_end ? 0 : to_end;
    const std::uint64_t end = committed_ + skipped + room;
    if (length != 0 && length <= max_frame && end - known_read_ > size)
        known_read_ = read_.load(std::memory_order_acquire);
    if (length == 0 || length > max_frame || end - known_read_ > size) {
        lost_.add();
        return {};
    }
    if (skipped >= sizeof(Record))
        write_record(committed_, {.length = wrap, .room = static_cast<std::uint32_t>(skipped), .note = {}});
    reserved_ = committed_ + skipped;
    reserved_length_ = static_cast<std::uint32_t>(length);
    return {at(reserved_) + sizeof(Record), length};
}

void FrameRing::commit(const FrameNote& note) {
    if (reserved_length_ == 0) return;
    const auto room = static_cast<std::uint32_t>(room_of(reserved_length_));
    write_record(reserved_, {.length = reserved_length_, .room = room, .note = note});
    committed_ = reserved_ + room;
    reserved_length_ = 0;
    handed_over_.add();
}

bool FrameRing::push(std::span<const std::byte> bytes, const FrameNote& note) {
    const auto room = reserve(bytes.size());
    if (room.empty()) return false;
    std::memcpy(room.data(), bytes.data(), bytes.size());
    commit(note);
    return true;
}

bool FrameRing::flush() {
    if (committed_ == written_.load(std::memory_order_relaxed)) return false;
    written_.store(committed_, std::memory_order_release);
    return true;
}

bool FrameRing::has_room(std::size_t frames, std::size_t length) const {
    // The end of the ring may cost one more frame's room.
    const std::size_t wanted = (frames + 1) * room_of(length);
    if (committed_ - known_read_ + wanted > mask_ + 1) known_read_ = read_.load(std::memory_order_acquire);
    return committed_ - known_read_ + wanted <= mask_ + 1;
}

std::size_t FrameRing::receive(std::span<RingFrame> out) {
    held_count_ = 0;
    const std::uint64_t end = written_.load(std::memory_order_acquire);
    std::uint64_t position = read_.load(std::memory_order_relaxed);
    const std::size_t most = std::min(out.size(), burst);
    while (position != end && held_count_ < most) {
        const std::size_t to_end = mask_ + 1 - (position & mask_);
        if (to_end < sizeof(Record)) {
            position += to_end;
            continue;
        }
        const Record record = read_record(position);
        if (record.length != wrap)
            out[held_count_] = {record.note, {at(position) + sizeof record, record.length}};
        position += record.room;
        if (record.length != wrap) held_[held_count_++] = position;
    }
    return held_count_;
}

void FrameRing::release(std::size_t count) {
    if (count == 0) return;
    read_.store(held_[count - 1], std::memory_order_release);
}

bool FrameRing::empty() const {
    return read_.load(std::memory_order_acquire) == written_.load(std::memory_order_acquire);
}

}  // namespace understudy::tap
