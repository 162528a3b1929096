// Drives the connections of one run on one thread: epoll, and a heap of due messages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <queue>
#include <utility>
#include <vector>

#include "tools/load/client.hh"
#include "tools/load/receipts.hh"
#include "tools/twin/descriptor.hh"

namespace understudy::load {

struct LoadSettings {
    ClientSettings client;
    std::uint32_t clients = 20;
    Duration duration = std::chrono::seconds(10);  // from the instant at which every connection is open
    Duration connect_timeout = std::chrono::seconds(5);
    // A connection that is owed something at the end and got nothing of it for this long is stalled. Nothing:
    // half the time between the failure (without one: the beginning) and the end, 1 s to 5 s.
    std::optional<Duration> stall_after;
    // Whoever makes the failure writes this file at once, whole (by renaming): {"fault_ns": N},
    // CLOCK_MONOTONIC, the instant from which on nothing of the failed server arrives. Empty: none.
    std::filesystem::path fault_file;
    int progress_descriptor = -1;  // JSON lines; -1: none
};

class Load {
  public:
    // Throws std::system_error when the kernel refuses what it needs. `settings` must outlive the load.
    Load(const LoadSettings& settings, int stop_descriptor);

    // Returns when every connection is over; bounded by connecting, the duration and twice stall_after. Ends
    // early when the stop descriptor becomes readable.
    void run();

    const std::vector<std::unique_ptr<Client>>& clients() const { return clients_; }
    // From here on nothing of the failed server arrived.
    std::optional<Instant> fault_at() const { return fault_at_; }
    Duration stall_after() const;
    // Nothing when the run was stopped before its connections were open.
    std::optional<Instant> began_at() const { return began_at_; }

  private:
    using Due = std::pair<Instant, std::uint32_t>;

    void wait(Instant until);
    void watch(std::uint32_t index);
    void schedule(std::uint32_t index);
    void start_connections(Instant now);
    void begin_when_open(Instant now);
    void send_due(Instant now);
    void sweep(Instant now);
    void finish(Instant now);
    void read_fault_file();
    void report_progress(Instant now, const char* event);
    Instant next_wake(Instant now) const;

    const LoadSettings& settings_;
    int stop_descriptor_;
    twin::Descriptor epoll_;
    std::vector<std::unique_ptr<Client>> clients_;
    std::vector<std::byte> scratch_;
    std::priority_queue<Due, std::vector<Due>, std::greater<>> due_;
    std::size_t started_ = 0;
    std::size_t over_ = 0;
    std::size_t opened_or_over_ = 0;
    std::optional<Instant> began_at_;
    std::optional<Instant> finished_at_;
    Instant next_sweep_;
    Instant next_progress_;
    std::optional<Instant> fault_at_;
    bool stopping_ = false;
};

}  // namespace understudy::load
