// One data-plane core: a poll loop over the taps and the service port, one stack, its applications.
//
// Nothing here is shared with another core. The control thread reaches it through a ring of tasks that run
// between bursts, and reads two published times.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <boost/lockfree/spsc_queue.hpp>

#include "shadow_app/application.hh"
#include "shadow_app/stack_host.hh"
#include "stack/stack.hh"
#include "tap/classifier.hh"
#include "tap/port.hh"
#include "tools/daemon/idle.hh"
#include "tools/daemon/task_ring.hh"

namespace understudy::tools {

// CLOCK_MONOTONIC on the stack's time line.
stack::Instant stack_now();

// How many connections a takeover at this moment would carry on.
struct CoverageCount {
    std::uint32_t open = 0;
    std::uint32_t covered = 0;
    std::uint32_t verified = 0;
    std::vector<std::pair<stack::Coverage, std::uint32_t>> by_coverage;
};

// A takeover as the core went through it, each step with its instant.
struct TakeoverRecord {
    CoverageCount coverage;  // at the decision's arrival, before anything changed
    stack::Instant drained_at;
    stack::Instant gate_open_at;
    stack::Instant announced_at;
    stack::Instant promoted_at;
    std::uint64_t drained_frames = 0;
    stack::PromotionReport report;
};

class DataPlane {
  public:
    struct Settings {
        stack::Settings stack;
        tap::ClassifierSettings classifier;
        std::vector<std::pair<stack::Endpoint, std::string>> applications;  // service → application name
        PollMode poll = PollMode::adaptive;
        std::chrono::microseconds max_sleep{500};
    };
    using Task = TaskRing<DataPlane>::Task;

    // Takes the ports over. Throws std::invalid_argument with one clear line for settings that cannot work.
    DataPlane(const Settings& settings, std::vector<std::unique_ptr<tap::Port>> taps,
              std::unique_ptr<tap::Port> service_port);
    ~DataPlane();
    DataPlane(const DataPlane&) = delete;
    DataPlane& operator=(const DataPlane&) = delete;

    // Control thread's side.

    void start();
    // Stops the loop and joins its thread. The ports stay open until destruction.
    void stop();
    // Runs `task` on the core between two bursts. False when the core does not keep up.
    bool run(Task task) { return tasks_.push(std::move(task)); }
    // When the newest frame of the primary was read from a tap; nothing: none so far.
    std::optional<stack::Instant> newest_from_primary() const;
    // Until when all that arrived on the taps was read.
    stack::Instant taps_read_until() const;
    // The next seed that the core reported; nothing: none waits. One consumer.
    std::optional<stack::SeedRecord> next_seed();
    std::uint64_t seeds_lost() const { return seeds_lost_.load(std::memory_order_relaxed); }

    // The core's side: for tasks alone.

    // Reads every tap until it is empty, bounded, and promotes (design.md 5).
    TakeoverRecord take_over();
    CoverageCount count_coverage() const;
    const stack::Stack& stack() const { return stack_; }
    const std::vector<std::unique_ptr<tap::Port>>& taps() const { return taps_; }
    const tap::Port& service_port() const { return *service_port_; }
    const tap::Classifier& classifier() const { return classifier_; }
    const shadow_app::HostCounters& host_counters() const { return host_.counters(); }
    std::uint64_t polls() const { return polls_; }
    std::uint64_t sleeps() const { return sleeps_; }

  private:
    static constexpr std::size_t burst = 32;
    static constexpr std::size_t seed_ring = 4096;

    // The service port's transmit side as the stack wants it.
    class Sink final : public stack::FrameSink {
      public:
        explicit Sink(tap::Port& port) : port_(port) {}
        std::span<std::byte> reserve(std::size_t length) override { return port_.reserve(length); }
        void commit() override { port_.commit(); }

      private:
        tap::Port& port_;
    };

    void loop();
    std::size_t poll_tap(tap::Port& port);
    std::size_t poll_service();
    void on_seed(const stack::SeedRecord& record);

    Settings settings_;
    std::vector<std::unique_ptr<tap::Port>> taps_;
    std::unique_ptr<tap::Port> service_port_;
    tap::Classifier classifier_;
    Sink sink_;
    std::vector<std::unique_ptr<shadow_app::Application>> applications_;
    std::unique_ptr<stack::RandomSource> random_;
    shadow_app::StackHost host_;
    stack::Stack stack_;
    TaskRing<DataPlane> tasks_;
    boost::lockfree::spsc_queue<stack::SeedRecord, boost::lockfree::capacity<seed_ring>> seeds_;
    std::atomic<std::uint64_t> seeds_lost_{0};
    std::atomic<std::int64_t> newest_from_primary_ns_{0};
    std::atomic<std::int64_t> taps_read_until_ns_{0};
    std::atomic<bool> stopping_{false};
    std::uint64_t polls_ = 0;
    std::uint64_t sleeps_ = 0;
    std::thread thread_;
};

}  // namespace understudy::tools
