// What lies between the two hosts and the clients: heartbeat links, the mirror, and the service LAN, each direction
// with faults of its own.
#pragma once

#include <optional>
#include <vector>

#include "tests/sim/event_queue.hh"
#include "tests/sim/random.hh"

namespace understudy::sim {

// One direction.
struct FailoverPath {
    bool up = true;
    std::uint32_t loss_per_million = 0;
    Duration delay{};
    Duration jitter{};
    Instant changed{};

    void set(bool to, Instant now) {
        if (std::exchange(up, to) != to) changed = now;
    }
    // Whatever is sent arrives.
    bool is_faithful() const { return up && loss_per_million == 0; }
    Instant faithful_since() const { return is_faithful() ? changed : Instant::max(); }
    // Nothing: lost.
    std::optional<Duration> transit(Random& random) const {
        if (!up || random.chance(loss_per_million)) return std::nullopt;
        return delay + random.between(Duration::zero(), jitter);
    }
};

// Between two hosts, or between one and the switch.
struct FailoverCable {
    FailoverPath to_primary, to_replica;
};
struct FailoverPort {
    FailoverPath in, out;  // as its host sees it
    bool carrier = true;

    void set(bool up, Instant now) {
        in.set(up, now);
        out.set(up, now);
    }
    Instant faithful_since() const { return std::max(in.faithful_since(), out.faithful_since()); }
};

struct FailoverNet {
    std::vector<FailoverCable> links;
    FailoverPath mirror;
    // One switch: who hears two hosts lies between them.
    FailoverPort primary, replica, witness;
    std::vector<FailoverPort> clients;
};

enum class FailoverHost { primary, replica };
inline const char* to_string(FailoverHost host) {
    return host == FailoverHost::primary ? "primary" : "replica";
}

// On the service LAN.
struct FailoverFrame {
    enum class Kind {
        request,       // of a client
        reply,         // new bytes of a service
        acknowledged,  // a client's, of new bytes
        promoted,      // what a takeover sends to each client, old bytes and probes
        announcement,  // gratuitous ARP
        address_question,
        address_answer,
        witness_question,
        witness_answer,
    };
    Kind kind = Kind::request;
    std::size_t client = 0;
    std::uint64_t number = 0;  // of the request
};

}  // namespace understudy::sim
