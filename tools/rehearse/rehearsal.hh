// Plays a capture to an application as a shadow would receive it (design.md 4), and tells what became of each
// connection, or what a takeover at some instant would have sent.
//
// One play is one run from the first frame on, with a stack and an application of its own: a stack cannot be
// copied, so each takeover is a play for itself.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "shadow_app/stack_host.hh"
#include "stack/settings.hh"
#include "stack/snapshot.hh"
#include "stack/stack.hh"
#include "tap/classifier.hh"
#include "tap/decapsulate.hh"

namespace understudy::rehearse {

using stack::Duration;
using stack::Instant;

struct Settings {
    std::filesystem::path capture;
    stack::Endpoint service;
    bool over_datagrams = false;
    std::optional<stack::LinkAddress> primary_link;  // nothing: the service's address names the primary
    tap::Wrappings wrappings = tap::Wrappings::tags();
    stack::Replication replication;
    stack::ShadowSettings shadow;
};

// Whoever gives the answers: one for each play.
class Performer {
  public:
    virtual ~Performer() = default;
    // Registers what serves `service`; once, before the first frame. What it registers lives as long as this.
    virtual void serve(shadow_app::StackHost& host, const stack::Endpoint& service) = 0;
};
using PerformerFactory = std::function<std::unique_ptr<Performer>()>;

// An application of shadow_app/registry.hh. Throws std::invalid_argument for a name that is not there.
std::unique_ptr<Performer> make_native_performer(const std::string& application);

// All instants of a report count from the capture's first frame.
struct Turn {
    Duration at{};
    stack::Coverage coverage = stack::Coverage::covered;
};

struct ConnectionReport {
    static constexpr std::size_t most_turns = 16;

    stack::ConnectionSnapshot last;  // the last word of the stack
    Duration began{};
    Duration ended{};         // when something of it was last seen
    std::vector<Turn> turns;  // each change of its coverage, the first ones
    std::uint64_t largest_lag_bytes = 0;
    Duration longest_lag{};  // without ever having caught up in between
    std::optional<stack::CloseReason> closed;
};

// One frame that a takeover sends.
struct SentFrame {
    Duration after{};                     // since the takeover
    std::string kind;                     // "SYN,ACK", "ACK", "RST,ACK", "UDP", "ARP", "other"
    stack::Endpoint client;               // of segments and datagrams
    std::optional<std::uint64_t> offset;  // of the payload, in the stream, where that is known
    std::uint32_t payload_bytes = 0;
};

struct TakeoverReport {
    Duration at{};
    stack::PromotionReport promoted;
    std::uint64_t connections = 0;  // before it
    std::uint64_t covered = 0;
    std::vector<SentFrame> frames;
};

struct PlayReport {
    std::uint64_t frames = 0;
    std::uint64_t service_frames = 0;
    std::uint64_t unreadable_frames = 0;  // of the file: cut off, or of a form that cannot be read
    Duration length{};
    std::vector<ConnectionReport> connections;  // in the order in which they began
    std::vector<stack::DatagramServiceSnapshot> datagram_services;
    std::optional<TakeoverReport> takeover;
    stack::Counters counters;

    // Connections of which the capture shows enough to judge: neither older than it nor half open.
    std::size_t judged() const;
    // Of them, those whose application gave all that the primary gave, and nothing else.
    std::size_t covered() const;
};

// Is told how far a play is.
using Progress = std::function<void(std::uint64_t frames, Duration at)>;
// Is asked before virtual time passes on to `at`: returns when real time may be there.
using Pace = std::function<void(Duration at)>;

struct PlayOptions {
    // Everything is over `takeover_for` after it.
    std::optional<Duration> takeover_at;
    Duration takeover_for = std::chrono::milliseconds(10);
    Progress progress;
    Pace pace;  // none: virtual time
};

// Throws tap::PortError for a capture that cannot be read, std::invalid_argument for settings that cannot
// work.
PlayReport play(const Settings& settings, const PerformerFactory& performer, const PlayOptions& options);

}  // namespace understudy::rehearse
