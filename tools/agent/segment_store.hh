// The bytes of a service's latest segments, both directions, in a bounded ring: what a replica's mirror may
// have missed. Pure: segments in, pieces out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "failover/repair_source.hh"

namespace understudy::tools {

class SegmentStore {
  public:
    struct Flow {
        failover::RepairEndpoint client;
        failover::RepairEndpoint service;
        bool from_primary = false;
        friend auto operator<=>(const Flow&, const Flow&) = default;
    };
    struct Piece {
        std::uint32_t begin = 0;
        std::string bytes;
        bool fin = false;  // after the last byte
    };

    // Holds at most `bytes` of payload, the latest.
    explicit SegmentStore(std::size_t bytes) : ring_(bytes) {}

    // Keeps a segment's payload, from `seq` on, and its FIN. Segments that bring neither are passed over, and
    // so are those larger than the ring.
    void add(const Flow& flow, std::uint32_t seq, std::span<const std::byte> payload, bool fin);
    // What is held of [begin, end), in order, one piece for each gap-free run. Of copies that begin alike the
    // first counts.
    std::vector<Piece> find(const Flow& flow, std::uint32_t begin, std::uint32_t end) const;

    std::size_t segments() const { return order_.size(); }
    std::size_t flows() const { return flows_.size(); }
    std::uint64_t held_bytes() const { return held_bytes_; }

  private:
    // Most segments of one flow that are looked at for one question, the latest first.
    static constexpr std::size_t max_looked_at = 1 << 16;
    // A FIN alone takes no room in the ring; the records have a bound of their own.
    static constexpr std::size_t max_segments = 1 << 20;

    struct Record {
        std::uint32_t seq = 0;
        std::uint32_t length = 0;
        std::size_t at = 0;  // in the ring
        bool fin = false;
    };
    using Records = std::deque<Record>;
    using Flows = std::map<Flow, Records>;

    void drop_oldest();

    std::vector<std::byte> ring_;
    std::size_t write_at_ = 0;
    std::uint64_t held_bytes_ = 0;
    Flows flows_;
    std::deque<Flows::iterator> order_;  // of every record, the oldest first
};

}  // namespace understudy::tools
