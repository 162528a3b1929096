#include <cassert>

#include "stack/tcp/time_wait.hh"

namespace understudy::stack::tcp {

TimeWaitTable::TimeWaitTable(std::uint64_t secret, std::uint32_t limit)
    : limit_(limit),
      flows_(secret, [this](std::uint32_t index) -> const FlowKey& { return nodes_[index].record.key; }) {}

bool TimeWaitTable::add(const TimeWait& record) {
    if (flows_.size() >= limit_) return false;
    auto index = static_cast<std::uint32_t>(nodes_.size());
    if (free_.empty()) {
        nodes_.emplace_back();
    } else {
        index = free_.back();
        free_.pop_back();
    }
    nodes_[index].record = record;
    link(index);
    flows_.insert(record.key, index);
    return true;
}

TimeWait* TimeWaitTable::find(const FlowKey& key) {
    if (flows_.size() == 0) return nullptr;
    const std::uint32_t index = flows_.find(key);
    return index == none ? nullptr : &nodes_[index].record;
}

void TimeWaitTable::remove(const FlowKey& key) {
    const std::uint32_t index = flows_.find(key);
    assert(index != none);
    flows_.erase(nodes_[index].record.key);
    unlink(index);
    free_.push_back(index);
}

void TimeWaitTable::refresh(const FlowKey& key, Instant until) {
    const std::uint32_t index = flows_.find(key);
    assert(index != none);
    unlink(index);
    nodes_[index].record.until = until;
    link(index);
}

void TimeWaitTable::expire(Instant now) {
    while (oldest_ != none && nodes_[oldest_].record.until <= now) {
        const FlowKey key = nodes_[oldest_].record.key;
        remove(key);
    }
}

std::optional<Instant> TimeWaitTable::next() const {
    if (oldest_ == none) return std::nullopt;
    return nodes_[oldest_].record.until;
}

void TimeWaitTable::link(std::uint32_t index) {
    nodes_[index].previous = newest_;
    nodes_[index].next = none;
    (newest_ == none ? oldest_ : nodes_[newest_].next) = index;
    newest_ = index;
}

void TimeWaitTable::unlink(std::uint32_t index) {
    const Node& node = nodes_[index];
    (node.previous == none ? oldest_ : nodes_[node.previous].next) = node.next;
    (node.next == none ? newest_ : nodes_[node.next].previous) = node.previous;
}

}  // namespace understudy::stack::tcp
