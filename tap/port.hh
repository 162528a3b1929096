// Frames in and frames out, in bursts: what a DPDK port, a live interface, a capture file and an in-memory
// wire have in common.
//
// A queue of a port belongs to one thread, the one that polls it. Nothing here blocks.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "tap/frame.hh"

namespace understudy::tap {

// A port that cannot be opened or used: one line that says which, what is wrong and what to do.
class PortError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// Since the port was opened.
struct PortStatistics {
    std::uint64_t received_frames = 0;
    std::uint64_t received_bytes = 0;
    std::uint64_t missed_frames = 0;   // lost before receive(): a full ring, no receive buffer
    std::uint64_t receive_errors = 0;  // broken, or in a form that cannot be handed out
    std::uint64_t sent_frames = 0;
    std::uint64_t sent_bytes = 0;
    std::uint64_t send_failures = 0;  // committed, and refused by the device
    std::uint64_t no_buffer = 0;      // reserve() gave nothing
};

// What a port does, so that nobody need do it in software.
struct PortOffloads {
    // Receives frames longer than one of its buffers, up to 64 KiB of IP packet.
    bool scattered_receive = false;
    // Says of TCP and UDP checksums that it found them right (Frame::transport_checked).
    bool receive_checksums = false;
    // Fills in the TCP or UDP checksum of every frame that it sends, over IPv4 without options and IPv6
    // without extension headers. The field must hold the folded sum of the pseudo-header.
    bool transmit_checksums = false;
    // Cuts TCP segments of up to so many bytes of IP packet (commit_segments); 0: does not.
    std::uint32_t segmentation_bytes = 0;
};

// One way in and one way out of a port: what one core polls.
class PortQueue {
  public:
    PortQueue() = default;
    virtual ~PortQueue() = default;
    PortQueue(const PortQueue&) = delete;
    PortQueue& operator=(const PortQueue&) = delete;

    // Called once by the thread that will poll, before its first call of another method.
    virtual void adopt_polling_thread() {}

    // Fills `out` with the frames that are there and returns how many; 0 when there are none. They are valid
    // until release(), which must be called before the next receive().
    virtual std::size_t receive(std::span<Frame> out) = 0;
    // Gives all frames of the last burst back.
    virtual void release(std::span<const Frame> frames) = 0;

    // Room for one frame of `length` bytes, uninitialised, valid until the next call on this queue; empty
    // when there is no buffer or the frame is too long for the port (counted). A frame reserved and not
    // committed is forgotten by the next reserve().
    virtual std::span<std::byte> reserve(std::size_t length) = 0;
    // Queues the reserved frame; nothing happens when none is. Frames leave in order, at the latest at
    // flush().
    virtual void commit() = 0;

    // Only of a port with PortOffloads::segmentation_bytes.

    // Room for `length` bytes more behind those of the reserved frame, which stay valid; they need not lie next
    // to each other. Empty: the frame can take no more, and stays as it is.
    virtual std::span<std::byte> extend(std::size_t /*length*/) { return {}; }
    // Queues the reserved frame, TCP over IPv4 without options or IPv6 without extension headers, to leave as
    // segments of `segment_bytes` of payload each, the last with the rest. Sequence numbers and IPv4
    // identifications count on, PSH and FIN are the last one's, CWR the first one's; lengths and checksums
    // are right in each. The checksum field must hold the folded sum of the pseudo-header.
    virtual void commit_segments(std::uint16_t /*segment_bytes*/) { commit(); }
    // The end of a burst: hands the queued frames to the device. What it refuses is counted and dropped.
    virtual void flush() = 0;
};

// A port is its own first queue: whoever needs one queue alone uses it as such.
class Port : public PortQueue {
  public:
    // At least 1, and at most what PortOptions asked for. Each queue belongs to one thread; the rest of the
    // port belongs to the thread of the first.
    virtual std::size_t queues() const { return 1; }
    // `index` < queues(). Queue 0 is the port itself.
    virtual PortQueue& queue([[maybe_unused]] std::size_t index) { return *this; }
    // The port puts each flow on the queue that FlowSpread names for as many cores as there are queues.
    virtual bool spreads_by_flow() const { return queues() == 1; }

    // The interface's own link-level address; all zero when it has none.
    virtual std::array<std::uint8_t, 6> link_address() const = 0;
    virtual bool carrier() const = 0;
    // The largest IP packet in bytes that can be sent.
    virtual std::size_t mtu() const = 0;
    virtual PortOffloads offloads() const { return {}; }
    // Of all queues; by the thread of the first, or while no other polls.
    virtual PortStatistics statistics() const = 0;
    // "net_af_packet", "pcap", "file", "memory".
    virtual std::string_view driver() const = 0;
    // As given to open_port().
    virtual const std::string& spec() const = 0;
    // No frame will ever come again: the end of a capture file.
    virtual bool exhausted() const { return false; }
};

}  // namespace understudy::tap
