// Connections in TIME-WAIT, in a record smaller than a connection (RFC 9293 3.6.1).
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "stack/address.hh"
#include "stack/flow_table.hh"
#include "stack/seq.hh"
#include "stack/tcp/primary_clock.hh"
#include "stack/time.hh"

namespace understudy::stack::tcp {

// What TIME-WAIT needs of a connection that the application is done with: enough to acknowledge a repeated
// FIN, and to tell a new incarnation's SYN from an old one (RFC 6191).
struct TimeWait {
    FlowKey key;
    LinkAddress peer_link;
    std::uint8_t ttl = 64;
    bool timestamps : 1 = false;
    bool answered_invalid : 1 = false;
    Seq snd_nxt;
    Seq rcv_nxt;
    std::uint16_t window = 0;  // as on the wire
    std::uint32_t ts_recent = 0;
    std::uint32_t ts_recent_at = 0;  // seconds
    std::uint32_t ts_offset = 0;
    TickLength ts_tick = default_tick;
    std::uint32_t answered_invalid_at = 0;  // milliseconds
    Instant until{};
};

// The records, oldest first. All wait equally long, so the order of entry is the order of expiry.
class TimeWaitTable {
  public:
    // `secret` keys the hash of flows. At most `limit` records.
    TimeWaitTable(std::uint64_t secret, std::uint32_t limit);

    // False when the table is full. `record.key` must not be in it.
    bool add(const TimeWait& record);
    TimeWait* find(const FlowKey& key);
    void remove(const FlowKey& key);
    // Lets a record wait until `until`, which is not before any other's.
    void refresh(const FlowKey& key, Instant until);
    // Removes what is over at `now`.
    void expire(Instant now);
    std::optional<Instant> next() const;
    std::size_t size() const { return flows_.size(); }

  private:
    static constexpr std::uint32_t none = FlowTable::none;

    struct Node {
        TimeWait record;
        std::uint32_t previous = none;
        std::uint32_t next = none;
    };
    void link(std::uint32_t index);
    void unlink(std::uint32_t index);

    std::uint32_t limit_;
    std::deque<Node> nodes_;  // stable while it grows
    std::vector<std::uint32_t> free_;
    std::uint32_t oldest_ = none;
    std::uint32_t newest_ = none;
    FlowTable flows_;
};

}  // namespace understudy::stack::tcp
