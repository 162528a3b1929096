#include "tap/memory_port.hh"

#include <algorithm>
#include <utility>

#include "tap/segmentation.hh"

namespace understudy::tap {
namespace {

constexpr std::size_t ethernet_header = 14;

}  // namespace

MemoryPort::MemoryPort(std::size_t mtu, std::size_t transmit_room, std::size_t queues)
    : mtu_(mtu), transmit_room_(transmit_room) {
    for (std::size_t i = 0; i < std::max<std::size_t>(queues, 1); ++i)
        queues_.push_back(std::make_unique<Queue>(*this));
}

void MemoryPort::push(Bytes frame, std::uint32_t wire_length, std::size_t queue, bool transport_checked) {
    const auto length = static_cast<std::uint32_t>(frame.size());
    queues_.at(queue)->arriving.push_back(
        {std::move(frame), std::max(length, wire_length), transport_checked});
}

std::size_t MemoryPort::waiting() const {
    std::size_t frames = 0;
    for (const auto& queue : queues_)
        frames += queue->arriving.size();
    return frames;
}

std::vector<MemoryPort::Bytes> MemoryPort::take_sent(std::size_t queue) {
    return std::exchange(queues_.at(queue)->sent, {});
}

PortQueue& MemoryPort::queue(std::size_t index) {
    if (index == 0) return *this;
    return *queues_.at(index);
}

PortStatistics MemoryPort::statistics() const {
    PortStatistics statistics;
    for (const auto& queue : queues_)
        queue->tally.add_to(statistics);
    return statistics;
}

std::size_t MemoryPort::Queue::receive(std::span<Frame> out) {
    held_.clear();
    held_.reserve(out.size());
    for (Frame& frame : out) {
        if (arriving.empty()) break;
        const Arriving& taken = held_.emplace_back(std::move(arriving.front()));
        arriving.pop_front();
        frame = {.bytes = taken.bytes,
                 .wire_length = taken.wire_length,
                 .transport_checked = taken.transport_checked};
        tally.received_frames.add();
        tally.received_bytes.add(taken.bytes.size());
    }
    return held_.size();
}

void MemoryPort::Queue::release(std::span<const Frame>) {
    held_.clear();
}

std::span<std::byte> MemoryPort::Queue::reserve(std::size_t length) {
    reserved_.clear();
    extensions_.clear();
    if (length == 0 || length > port_.mtu_ + ethernet_header) {
        tally.no_buffer.add();
        return {};
    }
    reserved_.resize(length);
    return reserved_;
}

std::span<std::byte> MemoryPort::Queue::extend(std::size_t length) {
    std::size_t whole = reserved_.size() + length;
    for (const Bytes& piece : extensions_)
        whole += piece.size();
    if (reserved_.empty() || whole > port_.offloads_.segmentation_bytes + ethernet_header) return {};
    return extensions_.emplace_back(length);
}

void MemoryPort::Queue::queue(Bytes frame) {
    if (queued_.size() < port_.transmit_room_)
        queued_.push_back(std::move(frame));
    else
        tally.send_failures.add();
}

void MemoryPort::Queue::commit() {
    if (reserved_.empty()) return;
    queue(std::move(reserved_));
    reserved_.clear();
}

void MemoryPort::Queue::commit_segments(std::uint16_t segment_bytes) {
    if (reserved_.empty()) return;
    for (const Bytes& piece : extensions_)
        reserved_.insert(reserved_.end(), piece.begin(), piece.end());
    cut_segments(reserved_, segment_bytes, [this](std::span<const std::byte> segment) {
        queue({segment.begin(), segment.end()});
    });
    reserved_.clear();
}

void MemoryPort::Queue::flush() {
    for (Bytes& frame : queued_) {
        tally.sent_frames.add();
        tally.sent_bytes.add(frame.size());
        sent.push_back(std::move(frame));
    }
    queued_.clear();
}

}  // namespace understudy::tap
