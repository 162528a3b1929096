// The ways between the cores of one replica: a ring for each pair of them, and a bell for each.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "tap/frame_ring.hh"
#include "tools/daemon/doorbell.hh"

namespace understudy::tools {

class Handover {
  public:
    Handover(std::size_t cores, std::size_t ring_bytes) : cores_(cores) {
        for (std::size_t i = 0; i < cores; ++i)
            bells_.push_back(std::make_unique<Doorbell>());
        for (std::size_t i = 0; cores > 1 && i < cores * cores; ++i) {
            const bool to_itself = i / cores == i % cores;
            received_.push_back(to_itself ? nullptr : std::make_unique<tap::FrameRing>(ring_bytes));
        }
        for (std::size_t i = 1; i < cores; ++i)
            transmitted_.push_back(std::make_unique<tap::FrameRing>(ring_bytes));
    }

    std::size_t cores() const { return cores_; }
    // Frames that `from` has read and `to` owns; `from` and `to` differ.
    tap::FrameRing& received(std::size_t from, std::size_t to) { return *received_[from * cores_ + to]; }
    // Frames of `from` that core 0 sends, for a service port with fewer queues than cores; `from` is not 0.
    tap::FrameRing& transmitted(std::size_t from) { return *transmitted_[from - 1]; }
    Doorbell& bell(std::size_t core) { return *bells_[core]; }

  private:
    std::size_t cores_;
    std::vector<std::unique_ptr<Doorbell>> bells_;
    std::vector<std::unique_ptr<tap::FrameRing>> received_;  // by from * cores + to
    std::vector<std::unique_ptr<tap::FrameRing>> transmitted_;
};

}  // namespace understudy::tools
