// A port whose wire is memory: for tests, and for a simulation that drives the classifier.
#pragma once

#include <deque>
#include <vector>

#include "tap/port.hh"

namespace understudy::tap {

class MemoryPort final : public Port {
  public:
    using Bytes = std::vector<std::byte>;

    // At most `transmit_room` frames are queued between two calls of flush(); commit() of more is a send
    // failure.
    explicit MemoryPort(std::size_t mtu = 1500, std::size_t transmit_room = 512);

    // The wire's side.

    // A frame arrives; `wire_length` 0: it is whole.
    void push(Bytes frame, std::uint32_t wire_length = 0);
    // Frames pushed and not received yet.
    std::size_t waiting() const { return arriving_.size(); }
    // The frames sent so far, in order; forgets them.
    std::vector<Bytes> take_sent();
    void set_carrier(bool up) { carrier_ = up; }
    void set_link_address(const std::array<std::uint8_t, 6>& address) { link_address_ = address; }

    // The polling side.

    std::size_t receive(std::span<Frame> out) override;
    void release(std::span<const Frame> frames) override;
    std::span<std::byte> reserve(std::size_t length) override;
    void commit() override;
    void flush() override;
    std::array<std::uint8_t, 6> link_address() const override { return link_address_; }
    bool carrier() const override { return carrier_; }
    std::size_t mtu() const override { return mtu_; }
    PortStatistics statistics() const override { return statistics_; }
    std::string_view driver() const override { return "memory"; }
    const std::string& spec() const override { return spec_; }

  private:
    struct Arriving {
        Bytes bytes;
        std::uint32_t wire_length;
    };

    std::string spec_ = "memory:";
    std::size_t mtu_;
    std::size_t transmit_room_;
    std::array<std::uint8_t, 6> link_address_{};
    bool carrier_ = true;
    std::deque<Arriving> arriving_;
    std::vector<Arriving> held_;  // received and not released
    Bytes reserved_;
    std::vector<Bytes> queued_;
    std::vector<Bytes> sent_;
    PortStatistics statistics_;
};

}  // namespace understudy::tap
