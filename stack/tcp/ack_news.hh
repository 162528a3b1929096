// What one acknowledgement brought, gathered while it is read, and what the parts of recovery do with it.
#pragma once

#include <cstdint>
#include <optional>

#include "stack/tcp/core.hh"
#include "stack/tcp/recovery.hh"

namespace understudy::stack::tcp {

struct AckNews {
    Seq prior_una;
    bool advanced = false;            // SND.UNA moved
    bool segments_acked = false;      // whole segments are off the scoreboard
    bool resent_acked = false;        // one of them had been sent again
    bool original_delivered = false;  // one sent only once, from before the recovery point
    bool data_sacked = false;
    bool dsack = false;
    bool dsack_of_probe = false;
    bool duplicate = false;         // RFC 5681 2
    bool answers_original = false;  // its echoed timestamp is from before the first retransmission (RFC 3522)
    bool ecn_echo = false;
    bool lost_resent = false;  // a retransmission was lost
    bool set_timer = false;
    std::uint32_t acked = 0;                         // segments, cumulatively
    std::uint32_t delivered = 0;                     // segments, for the first time
    std::optional<Seq> known_sacked = std::nullopt;  // the highest end that was reported before
    std::optional<Duration> rtt = std::nullopt;      // of the first segment acknowledged
    std::optional<Duration> latest_rtt = std::nullopt;  // of the last
    std::optional<Duration> sacked_rtt = std::nullopt;
};

enum class Resend : std::uint8_t { nothing, lost, new_data };

// ack.cc
// The peer has acknowledged bytes that nobody here had sent: those that are written by now are done with, the
// rest is jumped over as it is written.
void advance_to_parked(Core& core, Connection& c);

// sack.cc
void take_sack_blocks(Core& core, Connection& c, Recovery& r, const Segment& segment, AckNews& news);
// A segment that was sent once arrived behind later ones, of which highest_sacked is the last.
void note_reordering(Connection& c, Recovery& r, Seq arrived);

// rack.cc (RFC 8985)
void advance_rack(Core& core, const Connection& c, Recovery& r, const SentSegment& delivered);
void widen_reordering_window(const Connection& c, Recovery& r);
// Marks what is lost. True when the reordering timer was set.
bool find_losses(Core& core, Connection& c, Recovery& r);
bool schedule_loss_probe(Core& core, Connection& c, Recovery& r);
void on_probe_ack(Core& core, Connection& c, Recovery& r, const AckNews& news, Seq ack);
void send_loss_probe(Core& core, Connection& c, Recovery& r);
void on_reorder_timeout(Core& core, Connection& c, Recovery& r);

// recovery.cc
[[nodiscard]] Resend react(Core& core, Connection& c, Recovery& r, AckNews& news);
void adjust_window(Core& core, Connection& c, Recovery& r, const AckNews& news, std::uint32_t newly_lost);
void enter_recovery(Core& core, Connection& c, Recovery& r, bool ecn_echo);
void begin_reduction(Core& core, Connection& c, Recovery& r);
void end_reduction(Connection& c, Recovery& r);
void reduce_window(Connection& c, Recovery& r, std::uint32_t delivered, std::uint32_t newly_lost,
                   bool advanced);
void keep_open(const Connection& c, Recovery& r);
// RFC 6298 5.4 to 5.6: everything counts as lost, and the window begins anew.
void enter_loss(Core& core, Connection& c, Recovery& r);

// output.cc
// Sends lost segments again as far as the window allows.
void resend_lost(Core& core, Connection& c, Recovery& r);
// Sends segment `i` again; as a probe it is not counted as on its way twice. `push`: asks the receiver to
// push, as it does anyway where a write ended.
bool resend(Core& core, Connection& c, Recovery& r, std::uint32_t i, bool probe, bool push = false);
// One new segment, whatever the congestion window says. False when there is none or no room for it.
bool send_beyond_window(Core& core, Connection& c);

}  // namespace understudy::stack::tcp
