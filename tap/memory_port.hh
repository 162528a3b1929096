// A port whose wire is memory: for tests, and for a simulation that drives the classifier.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "tap/port.hh"
#include "tap/queue_tally.hh"

namespace understudy::tap {

class MemoryPort final : public Port {
  public:
    using Bytes = std::vector<std::byte>;

    // At most `transmit_room` frames are queued between two calls of flush() on a queue; commit() of more is
    // a send failure.
    explicit MemoryPort(std::size_t mtu = 1500, std::size_t transmit_room = 512, std::size_t queues = 1);

    // The wire's side: by the thread that polls the queue, or while none does.

    // A frame arrives at a queue of the wire's choice; `wire_length` 0: it is whole.
    void push(Bytes frame, std::uint32_t wire_length = 0, std::size_t queue = 0,
              bool transport_checked = false);
    // Frames pushed and not received yet, on all queues.
    std::size_t waiting() const;
    // The frames that left a queue so far, in order; forgets them.
    std::vector<Bytes> take_sent(std::size_t queue = 0);
    // What it claims from now on. It does cut segments; the rest of the work is for whoever plays the wire.
    void set_offloads(const PortOffloads& offloads) { offloads_ = offloads; }
    void set_carrier(bool up) { carrier_ = up; }
    void set_link_address(const std::array<std::uint8_t, 6>& address) { link_address_ = address; }

    // The polling side.

    std::size_t queues() const override { return queues_.size(); }
    PortQueue& queue(std::size_t index) override;
    bool spreads_by_flow() const override { return queues_.size() == 1; }
    std::size_t receive(std::span<Frame> out) override { return queues_[0]->receive(out); }
    void release(std::span<const Frame> frames) override { queues_[0]->release(frames); }
    std::span<std::byte> reserve(std::size_t length) override { return queues_[0]->reserve(length); }
    void commit() override { queues_[0]->commit(); }
    std::span<std::byte> extend(std::size_t length) override { return queues_[0]->extend(length); }
    void commit_segments(std::uint16_t segment_bytes) override { queues_[0]->commit_segments(segment_bytes); }
    void flush() override { queues_[0]->flush(); }
    std::array<std::uint8_t, 6> link_address() const override { return link_address_; }
    bool carrier() const override { return carrier_; }
    std::size_t mtu() const override { return mtu_; }
    PortOffloads offloads() const override { return offloads_; }
    PortStatistics statistics() const override;
    std::string_view driver() const override { return "memory"; }
    const std::string& spec() const override { return spec_; }

  private:
    struct Arriving {
        Bytes bytes;
        std::uint32_t wire_length;
        bool transport_checked;
    };

    class Queue final : public PortQueue {
      public:
        explicit Queue(const MemoryPort& port) : port_(port) {}
        std::size_t receive(std::span<Frame> out) override;
        void release(std::span<const Frame> frames) override;
        std::span<std::byte> reserve(std::size_t length) override;
        void commit() override;
        std::span<std::byte> extend(std::size_t length) override;
        void commit_segments(std::uint16_t segment_bytes) override;
        void flush() override;

        std::deque<Arriving> arriving;
        std::vector<Bytes> sent;
        QueueTally tally;

      private:
        const MemoryPort& port_;
        std::vector<Arriving> held_;  // received and not released
        void queue(Bytes frame);

        Bytes reserved_;
        std::deque<Bytes> extensions_;  // of the reserved frame
        std::vector<Bytes> queued_;
    };

    std::string spec_ = "memory:";
    std::size_t mtu_;
    std::size_t transmit_room_;
    std::array<std::uint8_t, 6> link_address_{};
    PortOffloads offloads_;
    bool carrier_ = true;
    std::vector<std::unique_ptr<Queue>> queues_;
};

}  // namespace understudy::tap
