// One takeover of all cores, each of which goes through the same steps at its own pace (rules.md 18).
//
// No core leaves a step before all have done it: every tap ring drained, then every ring between cores empty,
// then the gate and the announcement by core 0, then the promotion everywhere. Nobody blocks: each core looks
// at every turn whether it may go on.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "stack/snapshot.hh"
#include "stack/stack.hh"
#include "stack/time.hh"

namespace understudy::tools {

// How many connections a takeover at this moment would carry on.
struct CoverageCount {
    std::uint32_t open = 0;
    std::uint32_t covered = 0;
    std::uint32_t verified = 0;
    std::uint64_t bytes = 0;          // of the open ones, both directions
    std::uint64_t covered_bytes = 0;  // of the covered ones
    // How far the applications are behind the primary, on connections on which they can catch up.
    std::uint64_t lag_bytes = 0;
    std::uint64_t largest_lag_bytes = 0;
    stack::Duration largest_lag_time{};
    std::uint32_t overlapped = 0;
    std::vector<std::pair<stack::Coverage, std::uint32_t>> by_coverage;

    void add(stack::Coverage coverage, std::uint32_t count);
    void add(const CoverageCount& other);
};

// A takeover as a core went through it, or all of them: each step with its instant.
struct TakeoverRecord {
    static constexpr std::size_t max_listed = 256;  // of each core

    CoverageCount coverage;  // at the decision's arrival, before anything changed
    std::vector<stack::ConnectionSnapshot> uncovered;  // then, as many as are listed
    stack::Instant drained_at{};
    stack::Instant gate_open_at{};
    stack::Instant announced_at{};
    stack::Instant promoted_at{};
    std::uint64_t drained_frames = 0;
    stack::PromotionReport report;

    // A step is done when the last core has done it; gate and announcement are core 0's.
    void add(const TakeoverRecord& other);
};

class Takeover {
  public:
    using Report = std::function<void(const TakeoverRecord&)>;

    // May be repeated: each takeover is a round.
    explicit Takeover(std::size_t cores) : records_(cores) {}

    // Control thread. False while one is under way. `report` is called on the last core to finish.
    bool request(Report report);
    // How many were requested so far: a core that has gone through fewer has one to go through.
    std::uint32_t round() const { return round_.load(std::memory_order_acquire); }

    // The cores: each step once a core and round, and then whether all have done it.
    void drained() { drained_.fetch_add(1, std::memory_order_acq_rel); }
    bool all_drained() const { return drained_.load(std::memory_order_acquire) == records_.size(); }
    void gathered() { gathered_.fetch_add(1, std::memory_order_acq_rel); }
    bool all_gathered() const { return gathered_.load(std::memory_order_acquire) == records_.size(); }
    void announced() { announced_.store(true, std::memory_order_release); }
    bool is_announced() const { return announced_.load(std::memory_order_acquire); }
    void promoted(std::size_t core, const TakeoverRecord& record);

  private:
    std::atomic<std::uint32_t> round_{0};
    std::atomic<std::uint32_t> finished_{0};
    Report report_;
    std::atomic<std::size_t> drained_{0};
    std::atomic<std::size_t> gathered_{0};
    std::atomic<bool> announced_{false};
    std::atomic<std::size_t> promoted_{0};
    std::vector<TakeoverRecord> records_;
};

}  // namespace understudy::tools
