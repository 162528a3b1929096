// Opens a port by its textual name.
#pragma once

#include <memory>
#include <string>

#include "tap/port.hh"

namespace understudy::tap {

struct PortOptions {
    bool promiscuous = false;  // also take frames for other link-level addresses
    std::size_t queues = 1;    // wanted, one for each core; a port may have fewer
};

// `spec` is one of
//   dpdk:DEVICE     any DPDK device: a vdev with its arguments (net_af_packet0,iface=tap0), or the name of a
//                   device that the EAL arguments made known. start_dpdk() must have been called.
//   pcap:INTERFACE  a live interface through libpcap
//   file:PATH       a capture file, pcap or pcapng, of any link that link_type.hh reads; it takes no frames
// Throws PortError: bad spec, no such interface or file, no privilege, interface down, not Ethernet.
std::unique_ptr<Port> open_port(const std::string& spec, const PortOptions& options);

}  // namespace understudy::tap
