#include "tap/open_port.hh"

#include "tap/dpdk_port.hh"
#include "tap/pcap_port.hh"

namespace understudy::tap {

std::unique_ptr<Port> open_port(const std::string& spec, const PortOptions& options) {
    const std::size_t colon = spec.find(':');
    const std::string kind = spec.substr(0, colon);
    const std::string rest = colon == std::string::npos ? "" : spec.substr(colon + 1);
    if (!rest.empty()) {
        if (kind == "dpdk") return open_dpdk_port(rest, options);
        if (kind == "pcap") return open_pcap_port(rest, options);
        if (kind == "file") return open_file_port(rest);
    }
    throw PortError("\"" + spec + "\" names no port: use dpdk:DEVICE, pcap:INTERFACE or file:PATH");
}

}  // namespace understudy::tap
