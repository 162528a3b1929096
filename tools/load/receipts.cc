#include "tools/load/receipts.hh"

#include <algorithm>
#include <cmath>

namespace understudy::load {

void ReceiptHistory::received(Instant owed_since, Instant arrived, Instant at) {
    note_gap(owed_since, at);
    const bool begins = !last_ || at - *last_ >= merged || count_ == 0;
    last_ = at;
    if (begins) add({owed_since, arrived, at});
}

void ReceiptHistory::ended_unanswered(Instant owed_since, Instant at) {
    note_gap(owed_since, at);
}

void ReceiptHistory::note_gap(Instant owed_since, Instant until) {
    const Instant waiting_since = last_ ? std::max(*last_, owed_since) : owed_since;
    longest_gap_ = std::max(longest_gap_, until - waiting_since);
}

void ReceiptHistory::add(const Receipt& receipt) {
    if (count_ == capacity) {
        if (keep_from_ && kept_.front().at >= *keep_from_) return;
        forgotten_ = kept_.front().arrived;
        std::move(kept_.begin() + 1, kept_.end(), kept_.begin());
        --count_;
    }
    kept_[count_++] = receipt;
}

void ReceiptHistory::keep_from(Instant at) {
    const auto end = kept_.begin() + static_cast<std::ptrdiff_t>(count_);
    const auto first = std::find_if(kept_.begin(), end, [at](const Receipt& r) { return r.at >= at; });
    count_ = static_cast<std::size_t>(std::move(first, end, kept_.begin()) - kept_.begin());
    keep_from_ = at;
}

std::optional<Duration> ReceiptHistory::outage(Instant fault) const {
    if (forgotten_ && *forgotten_ >= fault) return std::nullopt;
    for (const Receipt& receipt : std::span(kept_).first(count_))
        if (receipt.arrived >= fault) return receipt.at - std::max(fault, receipt.owed_since);
    return std::nullopt;
}

std::optional<Duration> percentile(std::vector<Duration>& values, double percent) {
    if (values.empty()) return std::nullopt;
    const auto rank = std::ceil(percent / 100 * static_cast<double>(values.size()));
    const auto index = std::clamp<std::size_t>(static_cast<std::size_t>(rank), 1, values.size()) - 1;
    std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(index), values.end());
    return values[index];
}

}  // namespace understudy::load
