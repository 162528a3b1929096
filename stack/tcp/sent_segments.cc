#include "stack/tcp/sent_segments.hh"

#include <algorithm>
#include <cassert>

namespace understudy::stack::tcp {
namespace {

constexpr std::size_t compact_from = 64;
constexpr std::size_t kept_capacity = 256;

}  // namespace

std::uint32_t SentSegments::find(Seq seq) const {
    const auto first = segments_.begin() + static_cast<std::ptrdiff_t>(head_);
    const auto at = std::partition_point(first, segments_.end(),
                                         [seq](const SentSegment& segment) { return segment.end <= seq; });
    return static_cast<std::uint32_t>(at - first);
}

// Adds the segment to the counts, or with `by` −1 takes it out.
void SentSegments::count(const SentSegment& segment, std::uint32_t by) {
    if (segment.sacked) sacked_ += by;
    if (segment.lost) lost_ += by;
    if (segment.resent) resent_ += by;
    if (segment.lost && !segment.resent) lost_unsent_ += by;
}

template <class Change>
void SentSegments::change(std::uint32_t i, Change&& what) {
    SentSegment& segment = segments_[head_ + i];
    count(segment, static_cast<std::uint32_t>(-1));
    what(segment);
    count(segment, 1);
}

void SentSegments::push(Seq begin, Seq end, Instant now, Kind kind) {
    assert(empty() || back().end == begin);
    segments_.push_back({.begin = begin,
                         .end = end,
                         .sent_at = now,
                         .pushed = kind.pushed,
                         .joins = kind.joins,
                         .ends_record = kind.ends_record});
}

void SentSegments::pop_front() {
    count(front(), static_cast<std::uint32_t>(-1));
    if (++head_ == segments_.size()) {
        segments_.clear();
        head_ = 0;
    } else if (head_ >= compact_from && head_ * 2 >= segments_.size()) {
        segments_.erase(segments_.begin(), segments_.begin() + static_cast<std::ptrdiff_t>(head_));
        head_ = 0;
    }
}

void SentSegments::trim_front(Seq una) {
    assert(una > front().begin && una < front().end);
    segments_[head_].begin = una;
}

void SentSegments::split(std::uint32_t i, Seq at) {
    SentSegment rest = (*this)[i];
    assert(at > rest.begin && at < rest.end);
    rest.begin = at;
    segments_[head_ + i].end = at;
    // These stand at the end.
    segments_[head_ + i].pushed = segments_[head_ + i].ends_record = false;
    rest.joins = true;
    segments_.insert(segments_.begin() + static_cast<std::ptrdiff_t>(head_ + i + 1), rest);
    count(rest, 1);
}

void SentSegments::merge_with_next(std::uint32_t i) {
    const SentSegment next = (*this)[i + 1];
    assert(!next.sacked && !(*this)[i].sacked);
    count(next, static_cast<std::uint32_t>(-1));
    segments_.erase(segments_.begin() + static_cast<std::ptrdiff_t>(head_ + i + 1));
    change(i, [&next](SentSegment& segment) {
        segment.end = next.end;
        segment.pushed = segment.pushed || next.pushed;
        segment.ends_record = next.ends_record;
        segment.ever_resent = segment.ever_resent || next.ever_resent;
    });
}

void SentSegments::clear() {
    segments_.clear();
    head_ = 0;
    sacked_ = lost_ = resent_ = lost_unsent_ = 0;
}

void SentSegments::mark_sacked(std::uint32_t i) {
    change(i, [](SentSegment& segment) {
        segment.sacked = true;
        segment.lost = segment.resent = false;
    });
}

void SentSegments::mark_lost(std::uint32_t i) {
    change(i, [](SentSegment& segment) {
        segment.lost = true;
        segment.resent = false;
    });
}

void SentSegments::mark_resent(std::uint32_t i, Instant now) {
    change(i, [now](SentSegment& segment) {
        segment.resent = segment.ever_resent = true;
        segment.sent_at = now;
    });
}

void SentSegments::mark_probed(std::uint32_t i, Instant now) {
    change(i, [now](SentSegment& segment) {
        segment.ever_resent = true;
        segment.sent_at = now;
    });
}

void SentSegments::unmark_lost() {
    for (std::uint32_t i = 0; lost_ != 0 && i < size(); ++i)
        if ((*this)[i].lost) change(i, [](SentSegment& segment) { segment.lost = false; });
}

void SentSegments::forget_sacks() {
    for (std::uint32_t i = 0; sacked_ != 0 && i < size(); ++i)
        if ((*this)[i].sacked) change(i, [](SentSegment& segment) { segment.sacked = false; });
}

void SentSegments::shrink() {
    if (segments_.capacity() <= kept_capacity) return;
    segments_.clear();
    segments_.shrink_to_fit();
    head_ = 0;
}

}  // namespace understudy::stack::tcp
