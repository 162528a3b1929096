#include "tools/agent/segment_store.hh"

#include <algorithm>

namespace understudy::tools {
namespace {

// Whether sequence number `number` is `first` or one of the `count` − 1 that follow.
bool is_within(std::uint32_t number, std::uint32_t first, std::uint32_t count) {
    return number - first < count;
}

}  // namespace

void SegmentStore::add(const Flow& flow, std::uint32_t seq, std::span<const std::byte> payload, bool fin) {
    if ((payload.empty() && !fin) || payload.size() > ring_.size()) return;
    while (held_bytes_ + payload.size() > ring_.size() || order_.size() >= max_segments)
        drop_oldest();
    const auto entry = flows_.try_emplace(flow).first;
    entry->second.push_back({seq, static_cast<std::uint32_t>(payload.size()), write_at_, fin});
    order_.push_back(entry);
    const std::size_t to_end = std::min(payload.size(), ring_.size() - write_at_);
    std::ranges::copy(payload.first(to_end), ring_.begin() + static_cast<std::ptrdiff_t>(write_at_));
    std::ranges::copy(payload.subspan(to_end), ring_.begin());
    write_at_ = (write_at_ + payload.size()) % std::max<std::size_t>(ring_.size(), 1);
    held_bytes_ += payload.size();
}

void SegmentStore::drop_oldest() {
    const auto flow = order_.front();
    order_.pop_front();
    held_bytes_ -= flow->second.front().length;
    flow->second.pop_front();
    if (flow->second.empty()) flows_.erase(flow);
}

std::vector<SegmentStore::Piece> SegmentStore::find(const Flow& flow, std::uint32_t begin,
                                                    std::uint32_t end) const {
    std::vector<Piece> pieces;
    const auto entry = flows_.find(flow);
    if (entry == flows_.end()) return pieces;
    const Records& all = entry->second;
    const std::size_t first = all.size() > max_looked_at ? all.size() - max_looked_at : 0;
    const std::uint32_t length = end - begin;

    // The records that touch the range, by where they begin in it; equal ones as they arrived.
    struct Part {
        std::uint32_t from;  // offset into the range
        std::uint32_t to;
        const Record* record;
        std::uint32_t skip;
    };
    std::vector<Part> parts;
    for (std::size_t i = first; i < all.size(); ++i) {
        const Record& record = all[i];
        const std::uint32_t numbers = record.length + (record.fin ? 1 : 0);
        const bool begins_inside = is_within(record.seq, begin, length);
        if (!begins_inside && !is_within(begin, record.seq, numbers)) continue;
        const std::uint32_t from = begins_inside ? record.seq - begin : 0;
        const std::uint32_t skip = begins_inside ? 0 : begin - record.seq;
        parts.push_back({from, std::min(length, from + numbers - skip), &record, skip});
    }
    std::ranges::stable_sort(parts, {}, &Part::from);

    std::uint32_t done = 0;
    for (const Part& part : parts) {
        if (part.to <= done) continue;
        const std::uint32_t from = std::max(part.from, done);
        const std::uint32_t data_end =
            part.from + (part.record->length - std::min(part.record->length, part.skip));
        if (pieces.empty() || from != done) pieces.push_back({begin + from, {}, false});
        Piece& piece = pieces.back();
        for (std::uint32_t at = from; at < std::min(part.to, data_end); ++at)
            piece.bytes +=
                static_cast<char>(ring_[(part.record->at + part.skip + (at - part.from)) % ring_.size()]);
        piece.fin = part.record->fin && part.to > data_end;
        done = part.to;
    }
    return pieces;
}

}  // namespace understudy::tools
