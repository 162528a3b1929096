// Which repair requests are out, and which answers belong to them. Pure: time is an argument.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <unordered_map>

#include "failover/repair_source.hh"
#include "failover/time.hh"
#include "proto/repair.pb.h"

namespace understudy::failover {

struct RepairAskerCounters {
    std::uint64_t asked = 0;
    std::uint64_t asked_again = 0;
    std::uint64_t pieces = 0;
    std::uint64_t bytes = 0;
    std::uint64_t not_held = 0;
    std::uint64_t withheld_full = 0;      // too many requests were out
    std::uint64_t refused_unasked = 0;    // answers to no request that is out
    std::uint64_t refused_malformed = 0;  // answers with bytes that were not asked for
};
struct RepairAskerCounterInfo {
    std::uint64_t RepairAskerCounters::*value;
    const char* name;
    const char* help;
};
std::span<const RepairAskerCounterInfo> repair_asker_counter_table();

class RepairAsker {
  public:
    struct Settings {
        // A request without an answer is repeated after this; twice as long each time after.
        Duration retry = std::chrono::milliseconds(5);
        // A request is forgotten after this.
        Duration lifetime = std::chrono::seconds(2);
        std::size_t max_outstanding = 1024;
        // No more is asked for at once; the rest follows when this is filled.
        std::uint32_t max_range_bytes = 256 << 10;
    };

    // `first_id`: unpredictable, so that answers to an earlier process's requests are none of ours.
    RepairAsker(const Settings& settings, std::uint64_t first_id) : settings_(settings), next_id_(first_id) {}

    // What to send for a range that is still missing at `now`; nothing: it was asked for just now, or too
    // many requests are out.
    std::optional<proto::v1::RepairRequest> ask(RepairRange range, const RepairOwner& owner, Instant now);
    // The piece in an answer; its bytes are those of `answer`. Nothing: refused and counted, or not held.
    std::optional<RepairPiece> take(const proto::v1::RepairAnswer& answer);

    std::size_t outstanding() const { return by_id_.size(); }
    const RepairAskerCounters& counters() const { return counters_; }

  private:
    struct Request {
        RepairRange range;
        RepairOwner owner{};
        Instant first_asked{};
        Instant ask_again{};
        Duration wait{};
    };
    void forget_old(Instant now);

    Settings settings_;
    std::uint64_t next_id_;
    std::unordered_map<std::uint64_t, Request> by_id_;
    std::map<RepairRange, std::uint64_t> ids_;
    std::deque<std::uint64_t> order_;  // ids by age
    RepairAskerCounters counters_;
};

}  // namespace understudy::failover
