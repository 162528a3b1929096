#include "tests/sim/mirror.hh"

#include <algorithm>

namespace understudy::sim {

Mirror::Mirror(EventQueue& queue, Random random, const MirrorSettings& settings, stack::LinkAddress primary,
               stack::LinkAddress replica, Tap tap)
    : queue_(queue),
      random_(random),
      settings_(settings),
      primary_(primary),
      replica_(replica),
      tap_(std::move(tap)) {}

void Mirror::on_passage(const Switch::Passage& passage, const Frame& frame) {
    if (!copies(passage, frame)) return;
    const stack::LinkAddress source = read_frame(*frame, SIZE_MAX).packet.source_link;
    if (source == replica_) return;
    const bool from_primary = source == primary_;
    Instant& last = last_arrival_[from_primary ? 0 : 1];
    last =
        std::max(last, queue_.now() + settings_.delay + random_.between(Duration::zero(), settings_.jitter));
    queue_.at(last, [this, frame, from_primary] {
        tap_(frame, from_primary ? stack::Source::tap_from_primary : stack::Source::tap_from_client);
    });
}

bool Mirror::copies(const Switch::Passage& passage, const Frame& frame) {
    const bool entering = passage.from == passage.to;
    if (settings_.kind == MirrorKind::primary_port) return passage.to == primary_port_;
    if (entering) return client_ports_.contains(passage.from);
    if (!client_ports_.contains(passage.to) || client_ports_.contains(passage.from)) return false;
    return std::exchange(last_copied_, frame) != frame;
}

}  // namespace understudy::sim
