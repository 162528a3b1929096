// Segments that leave together, as one frame that the port cuts into them (TCP segmentation offload).
//
// Every segment is decided on, paced and remembered as it is on the wire; only here do those that follow each
// other with equal headers share a frame. What the port makes of it is what would have left without it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "stack/address.hh"
#include "stack/send_queue.hh"
#include "stack/seq.hh"
#include "stack/wire/bytes.hh"
#include "stack/wire/ip.hh"
#include "stack/wire/tcp.hh"

namespace understudy::stack::tcp {

class Core;

// One segment as it is to be on the wire.
struct Outgoing {
    Endpoint local;
    Endpoint remote;
    LinkAddress link;  // zero: the next hop's
    std::uint8_t ttl = 64;
    std::uint8_t traffic_class = 0;
    wire::TcpHeader header;
    const SendQueue* queue = nullptr;  // of the payload
    std::uint32_t payload_length = 0;

    std::size_t tcp_length() const {
        return wire::tcp_header_length + wire::tcp_options_length(header.options);
    }
};

class SuperSegment {
  public:
    // While one is alive, segments of one connection may share frames. No other frame may leave meanwhile.
    class Collect {
      public:
        explicit Collect(Core& core);
        ~Collect();
        Collect(const Collect&) = delete;
        Collect& operator=(const Collect&) = delete;

      private:
        Core& core_;
    };

    // Sends a segment, at the latest when the Collect ends. False when there was no buffer.
    [[nodiscard]] bool send(Core& core, const Outgoing& segment);

  private:
    bool begins_here(const Core& core, const Outgoing& segment) const;
    bool goes_on_with(const Core& core, const Outgoing& segment) const;
    bool append(Core& core, const Outgoing& segment);
    void close(Core& core);

    bool collecting_ = false;
    bool open_ = false;  // a frame is reserved and not committed
    // Of the open frame:
    Outgoing first_;
    wire::IpHeader ip_;
    wire::MutableBytes head_;  // TCP header and payload of the first segment
    std::uint32_t segments_ = 0;
    std::uint32_t payload_length_ = 0;  // of all segments
};

}  // namespace understudy::stack::tcp
