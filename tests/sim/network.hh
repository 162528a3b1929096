// A learning switch and the links to its hosts.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/event_queue.hh"
#include "tests/sim/packet.hh"
#include "tests/sim/random.hh"

namespace understudy::sim {

// How one link treats frames, the same in both directions. Without reordering, each direction keeps its
// order.
struct LinkSettings {
    Duration delay = std::chrono::microseconds(5);
    Duration jitter{};  // up to so much more, evenly
    std::uint32_t loss_per_million = 0;
    std::uint32_t duplicate_per_million = 0;
    std::uint32_t reorder_per_million = 0;
    Duration reorder_delay = std::chrono::milliseconds(1);  // up to so much later than its turn
};

class Switch {
  public:
    using Port = std::size_t;
    using Receiver = std::function<void(const Frame&)>;
    // Sees a frame once when it has entered at `from`, and once for each port it leaves by.
    struct Passage {
        Port from;
        Port to;  // from == to: entering
    };
    using Observer = std::function<void(const Passage&, const Frame&)>;

    Switch(EventQueue& queue, const Random& random) : queue_(queue), random_(random) {}

    // `receiver` gets what leaves by the new port.
    Port add_port(const LinkSettings& link, Receiver receiver);
    void observe(Observer observer) { observers_.push_back(std::move(observer)); }
    // A host sends into its port.
    void send(Port port, const Frame& frame);
    // The link is cut: the port's learned addresses are forgotten, and nothing passes any more. What the host
    // had sent still enters unless `lose_in_flight`.
    void cut(Port port, bool lose_in_flight);

    struct Counters {
        std::uint64_t lost = 0, duplicated = 0, reordered = 0;
    };
    const Counters& counters() const { return counters_; }

  private:
    struct Direction {
        Instant last_arrival{};
    };
    struct PortState {
        LinkSettings link;
        Receiver receiver;
        Random random;
        Direction to_switch, to_host;
        bool up = true;
        bool accepts = true;
    };

    void carry(PortState& port, Direction& direction, EventQueue::Action arrive);
    void enter(Port port, const Frame& frame);
    void leave(Port from, Port to, const Frame& frame);
    void tell(const Passage& passage, const Frame& frame) const;

    EventQueue& queue_;
    Random random_;
    std::vector<std::unique_ptr<PortState>> ports_;
    std::map<stack::LinkAddress, Port> learned_;
    std::vector<Observer> observers_;
    Counters counters_;
};

}  // namespace understudy::sim
