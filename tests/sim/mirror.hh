// The switch's port mirror: copies of frames for the replica's tap, and all that goes wrong with them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "stack/interfaces.hh"
#include "tests/sim/network.hh"

namespace understudy::sim {

enum class MirrorKind : std::uint8_t {
    uplink,        // the port behind which the clients are: it goes on when the primary's port is down
    primary_port,  // the primary's port: blind as soon as that is down
};

// What the mirror does to the copies of one direction.
struct MirrorFaults {
    std::uint32_t loss_per_million = 0;
    std::uint32_t burst_per_million = 0;  // a run of losses begins
    std::uint32_t burst_frames = 0;       // of so many frames at most
    std::uint32_t duplicate_per_million = 0;
    std::uint32_t reorder_per_million = 0;
    Duration reorder_delay{};  // up to so much later than its turn
    std::uint32_t truncate_per_million = 0;
};

// A fault by predicate: the copy of the `nth` such frame (from 1) of the `connection`th conversation (from 0,
// in the order in which the mirror first saw them) is lost.
struct DropRule {
    enum class Kind : std::uint8_t { handshake, data, bare_ack, fin };

    Kind kind = Kind::data;
    bool from_primary = false;
    std::size_t connection = 0;
    std::uint32_t nth = 1;
};

struct MirrorSettings {
    MirrorKind kind = MirrorKind::uplink;
    Duration delay = std::chrono::microseconds(5);
    Duration jitter{};  // each direction keeps its order; one may overtake the other
    MirrorFaults from_client, from_primary;
    std::vector<DropRule> drops;
    std::optional<std::pair<Instant, Instant>> cut;  // no copy between these instants
    bool is_faultless() const;
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

    // What is not delivered by now counts as lost.
    void close_books();
    // Whether everything of this client's conversation was delivered that passed after the latest
    // acknowledgement of the primary that was (rules.md 3).
    bool was_faithful_to(const stack::Endpoint& client) const;

  private:
    struct Book {
        std::optional<Instant> acknowledged;  // passage of the primary's latest ACK that was delivered
        std::optional<Instant> lost;
        std::map<std::pair<DropRule::Kind, bool>, std::uint32_t> seen;  // frames, by kind and direction
        std::size_t number = 0;
    };
    // One frame of a conversation on its way to the tap.
    struct Copy {
        stack::Endpoint client;
        Instant passed;
        bool primary_ack = false;
    };

    bool copies(const Switch::Passage& passage, const Frame& frame);
    bool is_dropped(Book& book, const Packet& packet, bool from_primary);
    void deliver(const Frame& frame, bool from_primary, const std::optional<Copy>& copy, Instant at);
    void note_lost(const Copy& copy);

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
    std::uint32_t burst_left_[2]{};
    std::map<stack::Endpoint, Book> books_;
    std::map<std::uint64_t, Copy> under_way_;
    std::uint64_t next_copy_ = 0;
    bool books_closed_ = false;
};

}  // namespace understudy::sim
