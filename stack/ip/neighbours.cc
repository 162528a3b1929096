#include "stack/ip/neighbours.hh"

#include <algorithm>
#include <iterator>

namespace understudy::stack::ip {

std::optional<LinkAddress> Neighbours::find(const IpAddress& hop, Instant now) {
    const auto found = entries_.find(hop);
    if (found == entries_.end() || found->second.state == State::incomplete) return std::nullopt;
    Entry& entry = found->second;
    entry.used = now;
    if (entry.state == State::reachable && entry.confirmed + settings_.reachable <= now)
        entry.state = State::stale;
    if (entry.state == State::stale) {
        entry.state = State::delay;
        schedule(entry, now + settings_.delay);
    }
    return entry.link;
}

FrameSink& Neighbours::resolve(const IpAddress& hop, const IpAddress& source, Instant now) {
    waiting_.hop = hop;
    if (!entries_.contains(hop)) {
        make_room();
        Entry& entry = entries_[hop];
        entry.source = source;
        entry.used = now;
        schedule(entry, now);
    }
    return waiting_;
}

void Neighbours::Waiting::commit() {
    const auto found = owner_.entries_.find(hop);
    if (found == owner_.entries_.end()) return;
    std::deque<Frame>& queue = found->second.waiting;
    queue.push_back(std::move(frame_));
    if (queue.size() <= owner_.settings_.queue_frames) return;
    queue.pop_front();
    ++owner_.counters_.drop_neighbour_queue;
}

std::vector<Neighbours::Frame> Neighbours::learn(const IpAddress& hop, const LinkAddress& link, Word word,
                                                 Instant now) {
    const auto found = entries_.find(hop);
    if (found == entries_.end() || link.is_group() || link.is_zero()) return {};
    Entry& entry = found->second;
    const bool known = entry.state != State::incomplete;
    const bool differs = known && entry.link != link;
    if (differs && !word.overrides) {  // RFC 4861 7.2.5 (I)
        if (entry.state == State::reachable) entry.state = State::stale;
        return {};
    }
    entry.link = link;
    if (word.solicited) {
        entry.state = State::reachable;
        entry.confirmed = now;
        entry.due = Instant::max();
    } else if (!known || differs) {
        entry.state = State::stale;
        entry.due = Instant::max();
    }
    std::vector<Frame> ready(std::make_move_iterator(entry.waiting.begin()),
                             std::make_move_iterator(entry.waiting.end()));
    entry.waiting.clear();
    for (Frame& frame : ready)
        std::copy_n(std::as_bytes(std::span(link.octets)).begin(), link.octets.size(), frame.begin());
    return ready;
}

Neighbours::Due Neighbours::advance(Instant now) {
    Due due;
    if (now < next_) return due;
    next_ = Instant::max();
    for (auto at = entries_.begin(); at != entries_.end();) {
        Entry& entry = at->second;
        if (entry.due <= now) {
            if (entry.state == State::delay) {
                entry.state = State::probe;
                entry.asked = 0;
            }
            if (entry.asked == settings_.solicitations) {
                ++counters_.neighbours_unreachable;
                std::move(entry.waiting.begin(), entry.waiting.end(), std::back_inserter(due.lost));
                at = entries_.erase(at);
                continue;
            }
            ++entry.asked;
            due.ask.push_back({at->first, entry.source,
                               entry.state == State::probe ? std::optional(entry.link) : std::nullopt});
            entry.due = now + settings_.retransmit;
        }
        next_ = std::min(next_, entry.due);
        ++at;
    }
    return due;
}

std::optional<Instant> Neighbours::next_deadline() const {
    return next_ == Instant::max() ? std::nullopt : std::optional(next_);
}

void Neighbours::schedule(Entry& entry, Instant due) {
    entry.due = due;
    next_ = std::min(next_, due);
}

void Neighbours::make_room() {
    if (entries_.size() < settings_.max_entries) return;
    const auto oldest = std::min_element(entries_.begin(), entries_.end(), [](const auto& a, const auto& b) {
        return a.second.used < b.second.used;
    });
    counters_.drop_neighbour_queue += oldest->second.waiting.size();
    entries_.erase(oldest);
}

}  // namespace understudy::stack::ip
