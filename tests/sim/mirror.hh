// The switch's port mirror: copies of frames for the replica's tap.
#pragma once

#include <functional>
#include <set>
#include <utility>

#include "stack/interfaces.hh"
#include "tests/sim/network.hh"

namespace understudy::sim {

enum class MirrorKind : std::uint8_t {
    uplink,        // the port behind which the clients are: it goes on when the primary's port is down
    primary_port,  // the primary's port: blind as soon as that is down
};

// What the mirror does to its copies. It loses nothing: whatever it may do wrong one day is set here.
struct MirrorSettings {
    MirrorKind kind = MirrorKind::uplink;
    Duration delay = std::chrono::microseconds(5);
    Duration jitter{};  // each direction keeps its order; one may overtake the other
};

class Mirror {
  public:
    using Tap = std::function<void(const Frame&, stack::Source)>;

    // `tap` gets the copies, classified by link-level address as tap/ does: frames of `primary`, and frames
    // for the service from anybody but `replica`.
    Mirror(EventQueue& queue, Random random, const MirrorSettings& settings, stack::LinkAddress primary,
           stack::LinkAddress replica, Tap tap);

    // Which ports exist: the primary's, and the clients'.
    void set_primary_port(Switch::Port port) { primary_port_ = port; }
    void add_client_port(Switch::Port port) { client_ports_.insert(port); }
    // For Switch::observe.
    void on_passage(const Switch::Passage& passage, const Frame& frame);

  private:
    bool copies(const Switch::Passage& passage, const Frame& frame);

    EventQueue& queue_;
    Random random_;
    const MirrorSettings settings_;
    const stack::LinkAddress primary_;
    const stack::LinkAddress replica_;
    Tap tap_;
    Switch::Port primary_port_ = 0;
    std::set<Switch::Port> client_ports_;
    Frame last_copied_;  // a frame that leaves by several client ports is on the uplink once
    Instant last_arrival_[2]{};
};

}  // namespace understudy::sim
