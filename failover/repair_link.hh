// The repair source behind the heartbeat links: the primary's agent.
#pragma once

#include "failover/heartbeat_service.hh"
#include "failover/repair_asker.hh"
#include "failover/repair_source.hh"

namespace understudy::failover {

class LinkRepairSource final : public RepairSource {
  public:
    // Takes over the service's repair messages. `service` must outlive it.
    LinkRepairSource(HeartbeatService& service, std::uint64_t first_id, OnPiece on_piece);

    void ask(const RepairRange& range, const RepairOwner& owner, Instant now) override;
    const RepairAskerCounters& counters() const { return asker_.counters(); }

  private:
    HeartbeatService& service_;
    RepairAsker asker_;
    OnPiece on_piece_;
};

}  // namespace understudy::failover
