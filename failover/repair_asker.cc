#include "failover/repair_asker.hh"

#include <algorithm>
#include <array>

namespace understudy::failover {
namespace {

constexpr std::array counter_table{
    RepairAskerCounterInfo{&RepairAskerCounters::asked, "asked", "ranges asked of the repair source"},
    RepairAskerCounterInfo{&RepairAskerCounters::asked_again, "asked_again",
                           "requests repeated because no answer had come"},
    RepairAskerCounterInfo{&RepairAskerCounters::pieces, "pieces", "pieces that the repair source gave"},
    RepairAskerCounterInfo{&RepairAskerCounters::bytes, "bytes", "bytes that the repair source gave"},
    RepairAskerCounterInfo{&RepairAskerCounters::not_held, "not_held",
                           "requests for what the repair source does not hold"},
    RepairAskerCounterInfo{&RepairAskerCounters::withheld_full, "withheld_full",
                           "requests not sent: too many are out"},
    RepairAskerCounterInfo{&RepairAskerCounters::refused_unasked, "refused_unasked",
                           "answers to no request that is out"},
    RepairAskerCounterInfo{&RepairAskerCounters::refused_malformed, "refused_malformed",
                           "answers with bytes that were not asked for"},
};
static_assert(counter_table.size() * sizeof(std::uint64_t) == sizeof(RepairAskerCounters));

proto::v1::RepairRequest request_for(std::uint64_t id, const RepairRange& range) {
    proto::v1::RepairRequest request;
    request.set_id(id);
    request.set_client_address(range.client.address.data(), range.client.address.size());
    request.set_client_port(range.client.port);
    request.set_service_address(range.service.address.data(), range.service.address.size());
    request.set_service_port(range.service.port);
    request.set_from_primary(range.from_primary);
    request.set_begin(range.begin);
    request.set_length(range.end - range.begin);
    return request;
}

}  // namespace

std::span<const RepairAskerCounterInfo> repair_asker_counter_table() {
    return counter_table;
}

std::optional<proto::v1::RepairRequest> RepairAsker::ask(RepairRange range, const RepairOwner& owner,
                                                         Instant now) {
    forget_old(now);
    range.end = range.begin + std::min(range.end - range.begin, settings_.max_range_bytes);
    if (const auto known = ids_.find(range); known != ids_.end()) {
        Request& request = by_id_.at(known->second);
        if (request.owner == owner) {
            if (now < request.ask_again) return std::nullopt;
            request.wait *= 2;
            request.ask_again = now + request.wait;
            ++counters_.asked_again;
            return request_for(known->second, range);
        }
        // The ports are another connection's now.
        by_id_.erase(known->second);
        ids_.erase(known);
    }
    if (by_id_.size() >= settings_.max_outstanding) {
        ++counters_.withheld_full;
        return std::nullopt;
    }
    const std::uint64_t id = next_id_++;
    by_id_.emplace(id, Request{range, owner, now, now + settings_.retry, settings_.retry});
    ids_.emplace(range, id);
    order_.push_back(id);
    ++counters_.asked;
    return request_for(id, range);
}

std::optional<RepairPiece> RepairAsker::take(const proto::v1::RepairAnswer& answer) {
    const auto found = by_id_.find(answer.id());
    if (found == by_id_.end()) {
        ++counters_.refused_unasked;
        return std::nullopt;
    }
    if (answer.not_held()) {
        ++counters_.not_held;
        return std::nullopt;
    }
    const Request& request = found->second;
    // Modulo 2^32, as sequence numbers are.
    const std::uint32_t offset = answer.begin() - request.range.begin;
    const std::uint32_t length = request.range.end - request.range.begin;
    const std::uint64_t numbers = answer.data().size() + (answer.fin() ? 1 : 0);
    if (numbers == 0 || offset >= length || numbers > length - offset) {
        ++counters_.refused_malformed;
        return std::nullopt;
    }
    ++counters_.pieces;
    counters_.bytes += answer.data().size();
    return RepairPiece{request.owner, request.range.from_primary, answer.begin(), answer.data(),
                       answer.fin()};
}

void RepairAsker::forget_old(Instant now) {
    while (!order_.empty()) {
        const auto oldest = by_id_.find(order_.front());
        if (oldest != by_id_.end()) {
            if (now - oldest->second.first_asked < settings_.lifetime) return;
            ids_.erase(oldest->second.range);
            by_id_.erase(oldest);
        }
        order_.pop_front();
    }
}

}  // namespace understudy::failover
