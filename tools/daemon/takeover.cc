#include "tools/daemon/takeover.hh"

#include <algorithm>

namespace understudy::tools {

void CoverageCount::add(stack::Coverage coverage, std::uint32_t count) {
    const auto same = [&](const auto& entry) { return entry.first == coverage; };
    auto entry = std::find_if(by_coverage.begin(), by_coverage.end(), same);
    if (entry == by_coverage.end()) entry = by_coverage.insert(entry, {coverage, 0});
    entry->second += count;
}

void CoverageCount::add(const CoverageCount& other) {
    open += other.open;
    covered += other.covered;
    verified += other.verified;
    bytes += other.bytes;
    covered_bytes += other.covered_bytes;
    lag_bytes += other.lag_bytes;
    largest_lag_bytes = std::max(largest_lag_bytes, other.largest_lag_bytes);
    largest_lag_time = std::max(largest_lag_time, other.largest_lag_time);
    overlapped += other.overlapped;
    for (const auto& [reason, count] : other.by_coverage)
        add(reason, count);
}

void TakeoverRecord::add(const TakeoverRecord& other) {
    coverage.add(other.coverage);
    uncovered.insert(uncovered.end(), other.uncovered.begin(), other.uncovered.end());
    drained_at = std::max(drained_at, other.drained_at);
    gate_open_at = std::max(gate_open_at, other.gate_open_at);
    announced_at = std::max(announced_at, other.announced_at);
    promoted_at = std::max(promoted_at, other.promoted_at);
    drained_frames += other.drained_frames;
    report.promoted += other.report.promoted;
    report.reset += other.report.reset;
    report.half_open += other.report.half_open;
    report.datagrams += other.report.datagrams;
}

bool Takeover::request(Report report) {
    if (finished_.load(std::memory_order_acquire) != round_.load(std::memory_order_relaxed)) return false;
    report_ = std::move(report);
    drained_.store(0, std::memory_order_relaxed);
    gathered_.store(0, std::memory_order_relaxed);
    promoted_.store(0, std::memory_order_relaxed);
    announced_.store(false, std::memory_order_relaxed);
    round_.fetch_add(1, std::memory_order_release);
    return true;
}

void Takeover::promoted(std::size_t core, const TakeoverRecord& record) {
    records_[core] = record;
    if (promoted_.fetch_add(1, std::memory_order_acq_rel) + 1 != records_.size()) return;
    TakeoverRecord whole;
    for (const TakeoverRecord& part : records_)
        whole.add(part);
    report_(whole);
    finished_.fetch_add(1, std::memory_order_release);
}

}  // namespace understudy::tools
