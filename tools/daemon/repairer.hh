// The control thread's part of repair: asks the cores what they miss, the source for it, and takes the
// answers back.
#pragma once

#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "failover/heartbeat_service.hh"
#include "failover/repair_link.hh"
#include "proto/control.pb.h"
#include "tools/daemon/data_plane.hh"

namespace understudy::tools {

class Repairer {
  public:
    // All must outlive it; `first_id` as RepairAsker wants it.
    Repairer(boost::asio::io_context& io, DataPlane& plane, failover::HeartbeatService& heartbeats,
             std::uint64_t first_id);

    void start();
    void stop();
    void add_counters(proto::v1::CountersResponse& counters) const;

  private:
    void look();
    void ask(std::size_t core, const std::vector<stack::MissingBytes>& missing);
    void inject(const failover::RepairPiece& piece);

    boost::asio::io_context& io_;
    DataPlane& plane_;
    boost::asio::steady_timer timer_;
    failover::LinkRepairSource source_;
    std::vector<bool> core_is_asked_;  // and has not answered
    std::uint64_t answers_lost_ = 0;
};

}  // namespace understudy::tools
