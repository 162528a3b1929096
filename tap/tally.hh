// A counter that one thread raises and any other may read.
#pragma once

#include <atomic>
#include <cstdint>

namespace understudy::tap {

class Tally {
  public:
    // By the owning thread alone: no locked instruction.
    void add(std::uint64_t more = 1) { value_.store(get() + more, std::memory_order_relaxed); }
    std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

  private:
    std::atomic<std::uint64_t> value_{0};
};

}  // namespace understudy::tap
