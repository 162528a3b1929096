// Ports over libpcap: a live interface and a capture file.
#pragma once

#include <memory>
#include <string>

#include "tap/open_port.hh"
#include "tap/port.hh"

namespace understudy::tap {

// Takes frames that arrive at `interface`, not those that leave it. Throws PortError.
std::unique_ptr<Port> open_pcap_port(const std::string& interface, const PortOptions& options);

// Reads pcap and pcapng, time stamps in nanoseconds. Frames of other links than Ethernet (link_type.hh) are
// handed out with an Ethernet header; those of which none can be made count as receive errors. Throws
// PortError.
std::unique_ptr<Port> open_file_port(const std::string& path);

}  // namespace understudy::tap
