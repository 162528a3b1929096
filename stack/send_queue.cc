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
    return write(app_nxt_, bytes, room);
}

SendQueue::Written SendQueue::write_primary(std::span<const std::byte> bytes) {
    return write(primary_nxt_, bytes, std::numeric_limits<std::uint32_t>::max());
}

SendQueue::Written SendQueue::write(Seq& cursor, std::span<const std::byte> bytes, std::uint32_t room) {
    Written written;
    const auto known = std::min(static_cast<std::uint32_t>(bytes.size()), distance(cursor, end()));
    const std::size_t equal = bytes_.mismatch(distance(begin_, cursor), bytes.first(known));
    if (equal < known) written.differs_at = cursor + static_cast<std::uint32_t>(equal);
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
