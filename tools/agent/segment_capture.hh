// Copies of a service's segments on the primary, read-only, on a thread of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "proto/repair.pb.h"
#include "tools/agent/service_on_port.hh"

namespace understudy::tools {

class SegmentCapture {
  public:
    struct Settings {
        std::vector<ServiceOnPort> services;
        std::size_t buffer_bytes = 64 << 20;
        std::uint64_t bytes_per_second = 12'500'000;
    };
    // Called on the capture's thread.
    using OnAnswer = std::function<void(std::vector<proto::v1::RepairAnswer>)>;

    // Opens the interfaces; throws std::runtime_error with one clear line.
    SegmentCapture(const Settings& settings, OnAnswer on_answer);
    // Stops the thread.
    ~SegmentCapture();
    SegmentCapture(const SegmentCapture&) = delete;
    SegmentCapture& operator=(const SegmentCapture&) = delete;

    void start();
    // Any thread. At most a bounded number of requests wait; those beyond it are lost, and asked again.
    void ask(proto::v1::RepairRequest request);
    // What it did, as "key=value" words for the log; after stop().
    std::string summary() const;
    void stop();

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace understudy::tools
