#include "tap/memory_port.hh"

#include <algorithm>
#include <utility>

namespace understudy::tap {
namespace {

constexpr std::size_t ethernet_header = 14;

}  // namespace

MemoryPort::MemoryPort(std::size_t mtu, std::size_t transmit_room)
    : mtu_(mtu), transmit_room_(transmit_room) {}

void MemoryPort::push(Bytes frame, std::uint32_t wire_length) {
    const auto length = static_cast<std::uint32_t>(frame.size());
    arriving_.push_back({std::move(frame), std::max(length, wire_length)});
}

std::vector<MemoryPort::Bytes> MemoryPort::take_sent() {
    return std::exchange(sent_, {});
}

std::size_t MemoryPort::receive(std::span<Frame> out) {
    held_.clear();
    held_.reserve(out.size());
    for (Frame& frame : out) {
        if (arriving_.empty()) break;
        const Arriving& taken = held_.emplace_back(std::move(arriving_.front()));
        arriving_.pop_front();
        frame = {.bytes = taken.bytes, .wire_length = taken.wire_length};
        ++statistics_.received_frames;
        statistics_.received_bytes += taken.bytes.size();
    }
    return held_.size();
}

void MemoryPort::release(std::span<const Frame>) {
    held_.clear();
}

std::span<std::byte> MemoryPort::reserve(std::size_t length) {
    reserved_.clear();
    if (length == 0 || length > mtu_ + ethernet_header) {
        ++statistics_.no_buffer;
        return {};
    }
    reserved_.resize(length);
    return reserved_;
}

void MemoryPort::commit() {
    if (reserved_.empty()) return;
    if (queued_.size() < transmit_room_)
        queued_.push_back(std::move(reserved_));
    else
        ++statistics_.send_failures;
    reserved_.clear();
}

void MemoryPort::flush() {
    for (Bytes& frame : queued_) {
        ++statistics_.sent_frames;
        statistics_.sent_bytes += frame.size();
        sent_.push_back(std::move(frame));
    }
    queued_.clear();
}

}  // namespace understudy::tap
