// DPDK: the environment, once per process, and ports over any poll-mode driver.
#pragma once

#include <memory>
#include <string>

#include "tap/open_port.hh"
#include "tap/port.hh"

namespace understudy::tap {

struct DpdkOptions {
    // EAL arguments, separated by blanks. What they leave open is filled in: one core; memory from huge pages
    // when enough are free, else `--no-huge -m 256`; nothing shared with other processes; no telemetry; quiet
    // logs; the PCI bus only when a device of it is allowed with -a.
    std::string arguments;
};

// Starts the EAL. The calling thread keeps its processor affinity. Later calls do nothing.
// Throws PortError; after a failure DPDK cannot be started in this process any more.
void start_dpdk(const DpdkOptions& options);
bool dpdk_started();

// Plugs the device in, if it is not there yet, and starts it with one queue in each direction; destruction
// stops and unplugs it. `device` is the part of a spec behind "dpdk:". Throws PortError.
std::unique_ptr<Port> open_dpdk_port(const std::string& device, const PortOptions& options);

}  // namespace understudy::tap
