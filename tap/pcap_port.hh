// Ports over libpcap: a live interface and a capture file.
#pragma once

#include <memory>
#include <string>

#include "tap/open_port.hh"
#include "tap/port.hh"

namespace understudy::tap {

// Takes frames that arrive at `interface`, not those that leave it. Throws PortError.
std::unique_ptr<Port> open_pcap_port(const std::string& interface, const PortOptions& options);

// Reads pcap and pcapng, Ethernet alone, time stamps in nanoseconds. Throws PortError.
std::unique_ptr<Port> open_file_port(const std::string& path);

}  // namespace understudy::tap
