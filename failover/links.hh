// What is known of the heartbeat links, and which message proves that the peer lives (rules.md 17). Pure:
// time and randomness are arguments. Both ends of the links use the same code.
//
// A message is a sign of life when it echoes this process's present nonce and its counter is new. Such a
// message cannot have been recorded before this process started; when the peer restarts the nonce is drawn
// anew, so that it cannot be one of the peer's earlier life either.
#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "failover/time.hh"
#include "proto/heartbeat.pb.h"
#include "proto/repair.pb.h"

namespace understudy::failover {

// What was refused, and what was said. Each member is described once, in link_counter_table.
struct LinkCounters {
    std::uint64_t hellos_sent = 0;
    std::uint64_t acks_sent = 0;
    std::uint64_t send_failures = 0;
    std::uint64_t hellos_received = 0;
    std::uint64_t acks_received = 0;
    std::uint64_t unknown_kinds_received = 0;
    std::uint64_t signs_of_life = 0;
    std::uint64_t repairs_sent = 0;
    std::uint64_t repairs_received = 0;
    std::uint64_t receive_errors = 0;
    std::uint64_t refused_not_from_peer = 0;
    std::uint64_t refused_oversized = 0;
    std::uint64_t refused_malformed = 0;
    std::uint64_t refused_unknown_version = 0;
    std::uint64_t refused_unauthenticated = 0;
    std::uint64_t refused_unknown_key = 0;
    std::uint64_t refused_forged = 0;
    std::uint64_t refused_unconfirmed = 0;
    std::uint64_t refused_stale_nonce = 0;
    std::uint64_t refused_replayed = 0;
    std::uint64_t unanswered_unproven = 0;
    std::uint64_t words_not_believed = 0;
};

struct LinkCounterInfo {
    std::uint64_t LinkCounters::*value;
    const char* name;
    const char* help;
};
std::span<const LinkCounterInfo> link_counter_table();

// Why a well-formed message is no sign of life.
enum class Acceptance : std::uint8_t {
    sign_of_life,
    unconfirmed,  // echoes no nonce: the peer has not heard us yet
    stale_nonce,  // echoes a nonce that is not our present one
    replayed,     // its counter was seen before, or is too old to tell
};

struct LinkStatus {
    bool alive = false;
    // The last sign of life; nothing: none so far.
    std::optional<Instant> heard;
    // Smoothed round trip (RFC 6298 2.3) and interarrival jitter of it (RFC 3550 6.4.1); nothing: no sample.
    std::optional<Duration> rtt;
    std::optional<Duration> jitter;
    // Share of the latest Hellos without an answer, 0 to 1; nothing: none is old enough to tell.
    std::optional<double> loss;
    LinkCounters counters;
};

// Tells a new counter from one seen before (the sliding window of RFC 4303 3.4.3).
class ReplayWindow {
  public:
    // True once for each counter; false for 0 and for counters too far behind the newest.
    bool accept(std::uint64_t counter);
    // The highest that was accepted; 0: none.
    std::uint64_t newest() const { return newest_; }

  private:
    static constexpr std::size_t width = 256;
    std::uint64_t newest_ = 0;
    std::bitset<width> seen_;  // [i]: newest_ − i
};

class Links {
  public:
    struct Settings {
        std::size_t links = 1;
        Duration interval = std::chrono::seconds(1);
        // A link is dead when nothing was heard on it for this long; a Hello without an answer is lost.
        Duration deadline = std::chrono::seconds(3);
    };
    struct Received {
        Acceptance acceptance = Acceptance::unconfirmed;
        // To be sent back at once on the same link.
        std::optional<proto::v1::Heartbeat> reply;
        // A sign of life that was sent after every other that came so far.
        bool newest = false;
    };

    // `random` gives this process's incarnation and its nonces; it must be unpredictable to the network.
    Links(const Settings& settings, std::function<std::uint64_t()> random);

    // What every message says from here on beside its kind.
    void say(const proto::v1::AgentState& state);
    void say(const proto::v1::ReplicaState& state);
    // The next Hello for `link`, sent at `now`.
    proto::v1::Heartbeat hello(std::size_t link, Instant now);
    // Where a repair message comes from, and its place among them.
    void stamp(proto::v1::Repair& message);
    // Judges a repair message of the peer as receive() does a heartbeat. It is no sign of life by itself:
    // what answers for the primary is its heartbeats.
    bool accepts(std::size_t link, const proto::v1::Repair& message);
    // Judges a well-formed message, of a known kind or not, that came from the peer's address on `link` at
    // `now`.
    Received receive(std::size_t link, const proto::v1::Heartbeat& message, Instant now);

    std::size_t size() const { return links_.size(); }
    LinkStatus status(std::size_t link, Instant now) const;
    // Whoever moves the bytes counts what this class cannot see.
    LinkCounters& counters(std::size_t link) { return links_.at(link).counters; }
    // The peer's Hello interval as it last said; nothing: not heard.
    std::optional<Duration> peer_interval() const { return peer_interval_; }

  private:
    struct SentHello {
        std::uint64_t counter = 0;
        Instant at{};
        bool answered = false;
    };
    static constexpr std::size_t remembered_hellos = 64;
    struct Link {
        std::optional<Instant> heard;
        std::optional<Duration> rtt;
        std::optional<Duration> last_rtt;
        Duration jitter{};
        // When a Hello that proved nothing was last answered.
        std::optional<Instant> answered_unproven;
        std::array<SentHello, remembered_hellos> sent;
        std::size_t sent_count = 0;
        LinkCounters counters;
    };

    Acceptance judge(const proto::v1::Heartbeat& message);
    bool answers(Link& link, Acceptance acceptance, Instant now) const;
    void meet_incarnation(std::uint64_t incarnation);
    void sample_round_trip(Link& link, std::uint64_t counter, Instant now);
    proto::v1::Heartbeat compose(std::uint64_t echoed_nonce);
    std::uint64_t draw();

    Settings settings_;
    std::function<std::uint64_t()> random_;
    std::uint64_t incarnation_;
    std::uint64_t nonce_;
    std::uint64_t counter_ = 0;
    std::optional<proto::v1::AgentState> agent_state_;
    std::optional<proto::v1::ReplicaState> replica_state_;
    // Nothing: no sign of life so far.
    std::optional<std::uint64_t> peer_incarnation_;
    std::uint64_t peer_nonce_ = 0;
    std::optional<Duration> peer_interval_;
    ReplayWindow peer_counters_;
    std::uint64_t repair_counter_ = 0;
    ReplayWindow peer_repair_counters_;
    std::vector<Link> links_;
};

}  // namespace understudy::failover
