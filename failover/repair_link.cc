#include "failover/repair_link.hh"

#include <utility>

namespace understudy::failover {

LinkRepairSource::LinkRepairSource(HeartbeatService& service, std::uint64_t first_id, OnPiece on_piece)
    : service_(service), asker_({}, first_id), on_piece_(std::move(on_piece)) {
    service_.on_repair([this](const proto::v1::Repair& message) {
        if (!message.has_answer()) return;
        if (const auto piece = asker_.take(message.answer())) on_piece_(*piece);
    });
}

void LinkRepairSource::ask(const RepairRange& range, const RepairOwner& owner, Instant now) {
    auto request = asker_.ask(range, owner, now);
    if (!request) return;
    proto::v1::Repair message;
    *message.mutable_request() = std::move(*request);
    service_.send_repair(message);
}

}  // namespace understudy::failover
