// What the kernel drops before packet sockets that a library keeps to itself.
#pragma once

#include <cstdint>
#include <vector>

namespace understudy::tap {

// DPDK's net_af_packet never asks the kernel how many frames found its ring full (seen in DPDK 22.11). Its
// sockets are found among the descriptors of this process, and asked here; they are not owned.
class PacketSocketDrops {
  public:
    // Remembers the packet sockets bound to the interface now: they are somebody else's.
    explicit PacketSocketDrops(int interface_index);
    // Watches those that came since.
    void watch_new();
    // Frames dropped before the watched sockets since each was opened.
    std::uint64_t total();

  private:
    int interface_index_;
    std::vector<int> others_;  // sorted
    std::vector<int> watched_;
    std::uint64_t total_ = 0;
};

}  // namespace understudy::tap
