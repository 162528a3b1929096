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
        ranges_.insert(first, Range{begin, {bytes.begin(), bytes.end()}, ++insertions_});
        bytes_ += static_cast<std::uint32_t>(bytes.size());
        charge();
        return true;
    }
    if (last - first == 1 && begin >= first->begin) {
        // A range that grows at its end is not copied: it may be a whole window.
        first->grown = ++insertions_;
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
    merged.grown = ++insertions_;
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

std::size_t Reassembly::gaps(wire::SeqRange range, std::span<wire::SeqRange> out) const {
    std::size_t count = 0;
    const auto add = [&](Seq end) {
        if (range.begin < end && count < out.size()) out[count++] = {range.begin, end};
    };
    for (const Range& waiting : ranges_) {
        if (waiting.begin >= range.end) break;
        add(waiting.begin);
        range.begin = max(range.begin, waiting.end());
    }
    add(range.end);
    return count;
}

std::size_t Reassembly::sack_blocks(std::span<wire::SeqRange> out) const {
    std::size_t count = 0;
    std::uint32_t before = insertions_ + 1;
    while (count < out.size()) {
        const Range* newest = nullptr;
        for (const Range& range : ranges_)
            if (range.grown < before && (newest == nullptr || range.grown > newest->grown)) newest = &range;
        if (newest == nullptr) break;
        out[count++] = {newest->begin, newest->end()};
        before = newest->grown;
    }
    return count;
}

}  // namespace understudy::stack
