// One Ethernet frame as a port hands it out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace understudy::tap {

struct Frame {
    std::span<const std::byte> bytes;  // from the destination link-level address on, no FCS
    std::uint32_t wire_length = 0;     // bytes on the wire; more than bytes.size(): cut by the capture
    std::uint64_t timestamp_ns = 0;    // since the epoch; from capture files only, else 0
    void* handle = nullptr;            // the port's own; on a DPDK port the frame's rte_mbuf, else null
    // The port found the TCP or UDP checksum of the packet right, this being the outermost one. False says
    // nothing. Whoever unwraps the frame clears it.
    bool transport_checked = false;
};

}  // namespace understudy::tap
