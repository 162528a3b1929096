// One BPF filter expression (pcap-filter(7)) for every kind of port.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "tap/frame.hh"
#include "tap/service_endpoint.hh"

namespace understudy::tap {

// An expression that libpcap does not compile: its message, in one line.
class FilterError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// What runs the compiled program.
enum class FilterEngine : std::uint8_t {
    classic,           // libpcap's bpf_filter
    dpdk_interpreter,  // rte_bpf_exec
    dpdk_jit,          // machine code of librte_bpf
};
// Compiles `expression` for Ethernet. Frames of DPDK ports run through librte_bpf, as machine code where it
// can make some; other frames run through libpcap's interpreter, and so do all when DPDK is not started
// before the filter is built, or when the program has an instruction that librte_bpf is known to get wrong.
// All engines give the same answer.
class Filter {
  public:
    // The best engine there is, or at most `best` (for comparing them). Throws FilterError.
    explicit Filter(const std::string& expression, FilterEngine best = FilterEngine::dpdk_jit);
    ~Filter();
    Filter(Filter&&) noexcept;
    Filter& operator=(Filter&&) noexcept;

    // An empty expression matches every frame.
    bool matches(const Frame& frame) const;
    // What frames of a DPDK port run through: "dpdk-jit", "dpdk-interpreter" or "classic".
    std::string_view engine() const;

  private:
    struct Programs;
    std::unique_ptr<Programs> programs_;
};

// The expression that selects what goes from and to the services, in both directions and for both IP
// versions. No services: an expression that matches nothing.
std::string service_expression(std::span<const ServiceEndpoint> services);

}  // namespace understudy::tap
