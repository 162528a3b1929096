// Says of each mirrored frame who sent it and whether it is service traffic.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tap/filter.hh"
#include "tap/frame.hh"
#include "tap/service_endpoint.hh"

namespace understudy::tap {

struct ClassifierSettings {
    // The primary's link-level address on the service LAN. Nothing: frames tell no senders apart (captures
    // taken anywhere on the path), and a service's address alone names the primary.
    std::optional<std::array<std::uint8_t, 6>> primary_link;
    std::vector<ServiceEndpoint> services;
    std::string extra_filter;  // pcap-filter(7); narrows the service traffic further; empty: does not
};

enum class Verdict : std::uint8_t {
    from_client,   // service traffic, client → primary; fragments and ICMP for a service's address
    from_primary,  // service traffic, primary → client; fragments and ICMP from a service's address
    not_service,   // of no interest to the stack
    refused,       // service traffic that is not what it claims to be
};

struct Classified {
    Verdict verdict = Verdict::not_service;
    bool sign_of_life = false;  // the primary's link-level address sent it
};

// One counter for each way a frame can go; each frame but for `signs_of_life` counts in exactly one.
struct ClassifierCounters {
    std::uint64_t from_client = 0;
    std::uint64_t from_primary = 0;
    std::uint64_t signs_of_life = 0;
    std::uint64_t not_selected = 0;
    std::uint64_t arp = 0;
    std::uint64_t vlan = 0;
    std::uint64_t other_ethertype = 0;
    std::uint64_t icmp = 0;
    std::uint64_t fragment = 0;
    std::uint64_t other_protocol = 0;
    std::uint64_t runt = 0;
    std::uint64_t malformed = 0;
    std::uint64_t foreign_source = 0;
    std::uint64_t primary_to_itself = 0;
    std::uint64_t group_destination = 0;
};

struct CounterInfo {
    const char* name;
    const char* help;
    std::uint64_t ClassifierCounters::*value;
};

// Every member of ClassifierCounters once, in its order.
std::span<const CounterInfo> classifier_counter_table();

class Classifier {
  public:
    // Throws FilterError for an extra filter that libpcap does not compile. Build it after start_dpdk(), or
    // its filter runs without DPDK's engine.
    explicit Classifier(const ClassifierSettings& settings);

    // Identity is read before the filter, which selects service traffic alone.
    Classified classify(const Frame& frame);

    const ClassifierCounters& counters() const { return counters_; }
    std::string_view filter_engine() const { return filter_.engine(); }

  private:
    struct Endpoints {
        ServiceEndpoint source;
        ServiceEndpoint destination;
    };

    Classified count(Verdict verdict, std::uint64_t ClassifierCounters::*counter, bool sign_of_life);
    Classified classify_ipv4(const Frame& frame, bool from_primary_link);
    Classified classify_ipv6(const Frame& frame, bool from_primary_link);
    Classified classify_ports(const Frame& frame, std::span<const std::byte> packet, Endpoints endpoints,
                              std::uint8_t protocol, bool from_primary_link,
                              bool behind_extensions = false);
    Classified classify_service(const Frame& frame, const Endpoints& endpoints, bool from_primary_link,
                                bool behind_extensions = false);
    Classified classify_by_address(const Frame& frame, const Endpoints& endpoints,
                                   std::uint64_t ClassifierCounters::*counter, bool from_primary_link);
    bool is_service(const ServiceEndpoint& endpoint) const;
    bool is_service_address(const ServiceEndpoint& endpoint) const;  // whatever its port

    std::optional<std::array<std::uint8_t, 6>> primary_link_;
    std::vector<ServiceEndpoint> services_;  // sorted
    Filter filter_;
    std::optional<Filter> extra_filter_;  // alone: for what filter_ cannot see
    ClassifierCounters counters_;
};

}  // namespace understudy::tap
