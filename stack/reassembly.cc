#include "stack/reassembly.hh"

#include <algorithm>
#include <cassert>

namespace understudy::stack {

void Reassembly::count_in(std::uint64_t& total) {
    if (total_ == &total) return;
    charge(0);
    total_ = &total;
    charge();
}

void Reassembly::charge(std::uint64_t held) {
    if (total_ != nullptr) *total_ += held - charged_;
    charged_ = held;
}

bool Reassembly::insert(Seq begin, std::span<const std::byte> bytes, std::uint32_t byte_limit,
                        std::size_t range_limit) {
    if (bytes.empty()) return true;
    const Seq end = begin + static_cast<std::uint32_t>(bytes.size());
    const auto first =
        std::find_if(ranges_.begin(), ranges_.end(), [&](const Range& r) { return r.end() >= begin; });
    const auto last = std::find_if(first, ranges_.end(), [&](const Range& r) { return r.begin > end; });
    if (bytes_ + bytes.size() > byte_limit) return false;
    if (first == last) {
        if (ranges_.size() >= range_limit) return false;
        ranges_.insert(first, Range{begin, {bytes.begin(), bytes.end()}});
        bytes_ += static_cast<std::uint32_t>(bytes.size());
        charge();
        return true;
    }
    if (last - first == 1 && begin >= first->begin) {
        // A range that grows at its end is not copied: it may be a whole window.
        if (end > first->end()) {
            const auto tail = bytes.subspan(distance(begin, first->end()));
            first->bytes.insert(first->bytes.end(), tail.begin(), tail.end());
            bytes_ += static_cast<std::uint32_t>(tail.size());
        }
        charge();
        return true;
    }
    // Extend the first touched range over every gap up to `end`, and swallow the ranges it meets.
    std::uint32_t before = 0;
    for (auto range = first; range != last; ++range)
        before += static_cast<std::uint32_t>(range->bytes.size());
    Range merged;
    merged.begin = min(begin, first->begin);
    const auto take = [&](Seq from, Seq to) {
        if (from >= to) return;
        const auto piece = bytes.subspan(distance(begin, from), distance(from, to));
        merged.bytes.insert(merged.bytes.end(), piece.begin(), piece.end());
    };
    for (auto range = first; range != last; ++range) {
        take(max(merged.end(), begin), min(range->begin, end));
        merged.bytes.insert(merged.bytes.end(), range->bytes.begin(), range->bytes.end());
    }
    take(max(merged.end(), begin), end);
    bytes_ += static_cast<std::uint32_t>(merged.bytes.size()) - before;
    *first = std::move(merged);
    ranges_.erase(first + 1, last);
    charge();
    return true;
}

std::span<const std::byte> Reassembly::front_at(Seq edge) {
    while (!ranges_.empty() && ranges_.front().end() <= edge)
        pop_front();
    if (ranges_.empty() || ranges_.front().begin > edge) return {};
    return std::span(ranges_.front().bytes).subspan(distance(ranges_.front().begin, edge));
}

void Reassembly::pop_front() {
    assert(!ranges_.empty());
    bytes_ -= static_cast<std::uint32_t>(ranges_.front().bytes.size());
    ranges_.erase(ranges_.begin());
    charge();
}

Seq Reassembly::highest() const {
    assert(!ranges_.empty());
    return ranges_.back().end();
}

std::optional<wire::SeqRange> Reassembly::overlap(Seq begin, Seq end) const {
    for (const Range& range : ranges_)
        if (range.begin < end && range.end() > begin)
            return wire::SeqRange{max(range.begin, begin), min(range.end(), end)};
    return std::nullopt;
}

std::size_t Reassembly::sack_blocks(Seq latest, std::span<wire::SeqRange> out) const {
    std::size_t count = 0;
    const auto holds_latest = [&](const Range& r) { return r.begin <= latest && latest < r.end(); };
    const auto newest = std::find_if(ranges_.begin(), ranges_.end(), holds_latest);
    if (newest != ranges_.end() && count < out.size()) out[count++] = {newest->begin, newest->end()};
    for (auto range = ranges_.begin(); range != ranges_.end() && count < out.size(); ++range)
        if (range != newest) out[count++] = {range->begin, range->end()};
    return count;
}

}  // namespace understudy::stack
