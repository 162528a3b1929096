// A TAP interface: the kernel's end of the wire that the stack's frames travel on.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "stack/interfaces.hh"
#include "stack/stack.hh"
#include "tests/interop/descriptor.hh"

namespace understudy::interop {

class TapDevice final : public stack::FrameSink {
  public:
    // Attaches to the interface `name`, and makes it where there is none. Throws std::system_error.
    explicit TapDevice(const std::string& name);

    int descriptor() const { return descriptor_.get(); }
    // The frames that have arrived, up to a burst; valid until the next call.
    std::span<const stack::ReceivedFrame> receive();
    std::uint64_t send_failures() const { return send_failures_; }

    // FrameSink
    std::span<std::byte> reserve(std::size_t length) override;
    void commit() override;

  private:
    static constexpr std::size_t burst = 64;
    static constexpr std::size_t frame_room = 2048;

    Descriptor descriptor_;
    std::array<std::array<std::byte, frame_room>, burst> received_;
    std::vector<stack::ReceivedFrame> frames_;
    std::vector<std::byte> outgoing_;
    std::uint64_t send_failures_ = 0;
};

}  // namespace understudy::interop
