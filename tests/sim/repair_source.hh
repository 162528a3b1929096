// A repair source on the primary: it keeps what passes the primary's port and answers what the replica's mirror
// missed; late, in pieces, with more or other than was asked for, or not at all. It dies with the primary at the latest.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "proto/repair.pb.h"
#include "stack/address.hh"
#include "tests/sim/event_queue.hh"
#include "tests/sim/packet.hh"
#include "tests/sim/random.hh"

namespace understudy::sim {

struct RepairSettings {
    Duration deadline{};  // ShadowSettings::repair_deadline; zero: there is no source
    Duration delay{};     // from a question to its answer
    Duration jitter{};
    std::uint32_t loss_per_million = 0;      // questions without an answer
    std::uint32_t nonsense_per_million = 0;  // answers with what was not asked for
    std::optional<Instant> dies_at;          // before its primary does
};

class RepairSource {
  public:
    using Answer = std::function<void(const proto::v1::RepairAnswer&)>;

    RepairSource(EventQueue& queue, Random random, const RepairSettings& settings)
        : queue_(queue), random_(random), settings_(settings) {}

    // A segment passed the primary's port.
    void keep(const Packet& packet, bool from_primary);
    // `answer` is called once or twice, later, or never. What an answer says of the range that was asked for is
    // true: a source that forges that cannot be told from an honest one, and is authenticated.
    void ask(const proto::v1::RepairRequest& what, const Answer& answer);
    void die() { alive_ = false; }

  private:
    struct Segment {
        std::uint32_t begin = 0;
        std::vector<std::byte> bytes;
        bool fin = false;
    };

    proto::v1::RepairAnswer find(const proto::v1::RepairRequest& what) const;
    void distort(proto::v1::RepairAnswer& piece, const proto::v1::RepairRequest& what);
    void send(const proto::v1::RepairAnswer& piece, const Answer& answer);

    EventQueue& queue_;
    Random random_;
    const RepairSettings settings_;
    std::map<std::pair<stack::Endpoint, bool>, std::vector<Segment>> streams_;
    bool alive_ = true;
};

}  // namespace understudy::sim
