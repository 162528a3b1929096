// How much a write may queue: Linux counts whole packets with what surrounds them, not bytes, and scripts
// compare what a partial write returned.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "stack/snapshot.hh"

namespace understudy::packetdrill {

class SendLedger {
  public:
    explicit SendLedger(std::uint32_t buffer = 256 << 10) : buffer_(buffer) {}

    std::uint32_t buffer() const { return buffer_; }
    // SO_SNDBUF: fixed from now on.
    void fix_buffer(std::uint32_t bytes) {
        buffer_ = bytes;
        is_fixed_ = true;
    }
    // TCP_NOTSENT_LOWAT.
    void set_low_mark(std::uint32_t bytes) { low_mark_ = bytes; }

    // How many bytes the next step of a write takes; 0: it has to wait.
    std::uint32_t room(const stack::ConnectionSnapshot& s);
    void written(std::uint32_t bytes, const stack::ConnectionSnapshot& before);
    // The last packet takes no further bytes.
    void end_packet() { is_ended_ = true; }
    // A packet is full: whether it must ask the receiver to push, for half a window was written since one
    // did.
    bool forces_push(std::uint32_t end, const stack::ConnectionSnapshot& s);
    // All before `end` is pushed.
    void pushed(std::uint32_t end) { pushed_ = end; }
    // Whether poll() would say that there is room.
    bool is_writable(const stack::ConnectionSnapshot& s);
    // Something was acknowledged while a writer waited: the buffer follows the congestion window.
    void expand(const stack::ConnectionSnapshot& s, std::uint32_t initial_segments, std::uint32_t most);
    // Bytes with their surroundings.
    std::uint32_t queued(const stack::ConnectionSnapshot& s);

  private:
    std::uint32_t packet_goal(const stack::ConnectionSnapshot& s) const;
    bool has_memory(const stack::ConnectionSnapshot& s, bool wake);

    std::uint32_t buffer_;
    bool is_fixed_ = false;
    std::uint32_t low_mark_ = 0xffffffff;
    bool is_ended_ = false;
    std::uint32_t max_window_ = 0;
    std::optional<std::uint32_t> pushed_;
    std::deque<std::uint32_t> ends_;  // of queued packets, as sequence numbers
};

}  // namespace understudy::packetdrill
