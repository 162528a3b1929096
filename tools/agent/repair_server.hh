// Answers a replica's repair requests from a store of segments, within a rate. Pure: time is an argument.
#pragma once

#include <cstdint>
#include <vector>

#include "failover/time.hh"
#include "proto/repair.pb.h"
#include "tools/agent/segment_store.hh"

namespace understudy::tools {

struct RepairServerCounters {
    std::uint64_t requests = 0;
    std::uint64_t answers = 0;
    std::uint64_t bytes = 0;
    std::uint64_t not_held = 0;
    std::uint64_t refused_malformed = 0;
    std::uint64_t refused_rate = 0;
};

class RepairServer {
  public:
    // Bytes that one answer carries, so that its datagram fits every link.
    static constexpr std::size_t chunk_bytes = 1024;
    static constexpr std::uint32_t max_request_bytes = 256 << 10;

    // Answers carry at most `bytes_per_second`; what one tenth of a second allows may be sent at once.
    RepairServer(const SegmentStore& store, std::uint64_t bytes_per_second);

    // The answers to a request that came at `now`; nothing when it is malformed or beyond the rate: who asked
    // will ask again.
    std::vector<proto::v1::RepairAnswer> answer(const proto::v1::RepairRequest& request,
                                                failover::Instant now);
    const RepairServerCounters& counters() const { return counters_; }

  private:
    bool spend(std::uint64_t bytes, failover::Instant now);

    const SegmentStore& store_;
    double bytes_per_second_;
    double budget_;
    failover::Instant filled_at_{};
    RepairServerCounters counters_;
};

}  // namespace understudy::tools
