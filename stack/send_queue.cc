#include "stack/send_queue.hh"

#include <algorithm>
#include <cassert>
#include <limits>

namespace understudy::stack {

void SendQueue::reset(Seq first) {
    bytes_.clear();
    begin_ = app_nxt_ = primary_nxt_ = first;
}

SendQueue::Written SendQueue::write_app(std::span<const std::byte> bytes, std::uint32_t limit) {
    const std::uint32_t room = limit > bytes_.size() ? limit - bytes_.size() : 0;
    return write(Writer::application, app_nxt_, bytes, room);
}

SendQueue::Written SendQueue::write_primary(std::span<const std::byte> bytes) {
    return write(Writer::primary, primary_nxt_, bytes, std::numeric_limits<std::uint32_t>::max());
}

SendQueue::Written SendQueue::write(Writer writer, Seq& cursor, std::span<const std::byte> bytes,
                                    std::uint32_t room) {
    Written written;
    const auto known = std::min(static_cast<std::uint32_t>(bytes.size()), distance(cursor, end()));
    const std::uint32_t place = distance(begin_, cursor);
    for (std::uint32_t at = 0; at < known; ++at) {
        at += static_cast<std::uint32_t>(bytes_.mismatch(place + at, bytes.subspan(at, known - at)));
        if (at == known) break;
        written.differs_to = cursor + at + 1;
        if (written.differs_at) continue;
        written.differs_at = cursor + at;
        Difference& difference = written.difference.emplace(excerpt(*written.differs_at));
        Difference::Excerpt& here = writer == Writer::primary ? difference.primary : difference.application;
        Difference::Excerpt& there = writer == Writer::primary ? difference.application : difference.primary;
        here.append(bytes.subspan(at));
        append(there, *written.differs_at, Difference::most_bytes);
    }
    if (written.differs_at && writer == Writer::primary) bytes_.overwrite(place, bytes.first(known));
    const auto fresh = std::min(static_cast<std::uint32_t>(bytes.size()) - known, room);
    bytes_.push(bytes.subspan(known, fresh));
    written.taken = known + fresh;
    cursor += written.taken;
    return written;
}

void SendQueue::skip_app_to(Seq seq) {
    assert(seq >= end());
    bytes_.clear();
    begin_ = app_nxt_ = primary_nxt_ = seq;
}

void SendQueue::move_app_to(Seq seq) {
    assert(seq >= begin_ && seq <= primary_nxt_);
    app_nxt_ = seq;
    bytes_.truncate(distance(begin_, primary_nxt_));
}

void SendQueue::append(Difference::Excerpt& excerpt, Seq from, std::size_t count) const {
    for (const auto& piece : bytes_.view(distance(begin_, from), static_cast<std::uint32_t>(count)))
        excerpt.append(piece);
}

Difference SendQueue::excerpt(Seq at) const {
    Difference difference;
    const auto before = std::min<std::uint32_t>(distance(begin_, at), Difference::most_before);
    difference.before = static_cast<std::uint8_t>(before);
    append(difference.application, at - before, before);
    append(difference.primary, at - before, before);
    return difference;
}

void SendQueue::release(Seq una, bool expect_primary) {
    Seq edge = min(una, app_nxt_);
    if (expect_primary) edge = min(edge, primary_nxt_);
    if (edge <= begin_) return;
    bytes_.pop(distance(begin_, edge));
    begin_ = edge;
}

void SendQueue::copy(Seq from, std::span<std::byte> out) const {
    bytes_.copy(distance(begin_, from), out);
}

}  // namespace understudy::stack
