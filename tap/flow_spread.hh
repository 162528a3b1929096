// Which data-plane core a frame belongs to: the same for both directions of a flow, whatever port shows it.
//
// The hash is Toeplitz with the key 6d5a 6d5a ..., over addresses and ports as a NIC hashes them: a NIC that
// is given this key and a table whose entry i is owner_of_bucket(i) puts every flow where this says. Nothing
// relies on that: a frame that comes elsewhere is handed over.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "tap/service_endpoint.hh"

namespace understudy::tap {

struct FlowSpreadSettings {
    std::size_t cores = 1;  // 1 to FlowSpread::max_cores
    // Services whose every flow belongs to one core, whatever its hash (rules.md 2).
    std::vector<std::pair<ServiceEndpoint, std::size_t>> pinned;
};

class FlowSpread {
  public:
    static constexpr std::size_t buckets = 64;
    static constexpr std::size_t max_cores = buckets;
    // Two bytes, repeated: a key of 16 bits' period makes the hash symmetric.
    static constexpr std::uint16_t key = 0x6d5a;

    // Throws std::invalid_argument for a number of cores, or a pinned core, that cannot be.
    explicit FlowSpread(const FlowSpreadSettings& settings);

    enum class Reach : std::uint8_t {
        one,   // for `core` alone
        each,  // for every core: what teaches of neighbours, and fragments, whose flow nobody knows yet
    };
    struct Place {
        std::size_t core = 0;
        Reach reach = Reach::one;
        friend bool operator==(const Place&, const Place&) = default;
    };

    // Where an Ethernet frame goes, tagged or not. TCP and UDP, and ICMP errors that quote them: to the
    // flow's core. ARP, neighbour discovery and fragments: to each. Everything else, broken frames included:
    // to core 0.
    Place place(std::span<const std::byte> frame) const;
    // Where the flow between two endpoints goes; their order does not matter.
    std::size_t core_of(const ServiceEndpoint& a, const ServiceEndpoint& b) const;

    std::size_t cores() const { return cores_; }
    std::size_t owner_of_bucket(std::size_t bucket) const { return bucket % buckets % cores_; }
    // The 32-bit Toeplitz hash, as a NIC computes it.
    static std::uint32_t hash(const ServiceEndpoint& a, const ServiceEndpoint& b);

  private:
    std::size_t cores_;
    std::vector<std::pair<ServiceEndpoint, std::size_t>> pinned_;
};

}  // namespace understudy::tap
