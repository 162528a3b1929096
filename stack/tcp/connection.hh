// One connection: the transmission control block of RFC 9293 3.3.1, and what shadowing adds to it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "stack/address.hh"
#include "stack/byte_queue.hh"
#include "stack/charge.hh"
#include "stack/congestion_control.hh"
#include "stack/flow_table.hh"
#include "stack/interfaces.hh"
#include "stack/options.hh"
#include "stack/reassembly.hh"
#include "stack/rtt.hh"
#include "stack/send_marks.hh"
#include "stack/send_queue.hh"
#include "stack/seq.hh"
#include "stack/snapshot.hh"
#include "stack/tcp/alignment.hh"
#include "stack/tcp/divergence.hh"
#include "stack/tcp/primary_clock.hh"
#include "stack/tcp/recovery.hh"
#include "stack/tcp/resumption.hh"
#include "stack/time.hh"

namespace understudy::stack::tcp {

inline constexpr Instant never = Instant::max();
inline constexpr std::uint16_t default_mss = 536;      // RFC 9293 3.7.1
// A mirror reorders more than a path: nobody slows down when it does.
inline constexpr std::size_t max_shadow_ranges = 1024;
inline constexpr std::uint8_t default_reordering = 3;  // RFC 5681 3.2

// What the transmit side waits for.
enum class TransmitTimer : std::uint8_t {
    retransmission,  // RFC 6298, and that of the handshake
    reordering,      // RFC 8985 6.2
    loss_probe,      // RFC 8985 7
    window_probe,    // RFC 9293 3.8.6.1
};
inline constexpr std::uint16_t least_send_mss = 48;  // whatever the peer asks for; Linux's tcp_min_snd_mss

// How far both streams had come at an instant at which the application was behind them.
struct LagMark {
    Instant since = never;  // never: it was not behind
    Seq input;
    Seq output;
    Duration latest{};  // how long the application took to reach the mark before
};

// What a silent connection knows of the primary; gone after promotion.
//
// The sequence spaces, as the mirror shows them:
//
//   client → primary      primary_ack ≤ rcv_nxt     the primary cannot acknowledge what the client did not
//   send;
//                                                   beyond rcv_nxt it proves a hole in the mirror
//   primary → client      snd_una ≤ snd_nxt         snd_nxt is the end of what the primary was seen to send;
//                                                   an ACK beyond it is parked until the bytes appear
struct Shadow {
    // A client's SYN, kept until the primary's SYN/ACK says whether it counts.
    struct ClientSyn {
        bool seen = false;
        Seq isn;
        std::uint16_t window = 0;
        std::uint16_t mss = 0;
        bool window_scale_present = false;
        std::uint8_t window_scale = 0;
        bool sack_permitted = false;
        bool timestamps_present = false;
        std::uint32_t tsval = 0;
        std::uint32_t data_bytes = 0;  // RFC 7413
    };

    ClientSyn syn;
    ClientSyn next_syn;  // a later SYN from the same ports: they may be reused
    Seq primary_ack;     // highest acknowledgement of the primary
    Seq primary_fin;     // its FIN, if has_primary_fin
    std::uint16_t primary_mss = 0;
    PrimaryClock clock;
    std::uint16_t largest_segment = 0;  // of the primary: payload
    std::uint16_t full_segment = 0;     // the largest that more data followed at once: its MSS at work
    Instant hole_since = never;
    Seq hole_at;  // where the first byte is missing since then
    Seq gap_at;
    Instant gap_since =
        never;  // client ACKs or primary bytes prove primary bytes that the mirror has not shown
    // The flight of the latest round trip and of the one before; a round trip ends when what was sent at its
    // beginning is acknowledged.
    std::uint32_t flight = 0;
    std::uint32_t previous_flight = 0;
    Seq round_end;
    Instant data_at{};  // when the mirror last showed data of the primary
    std::vector<wire::SeqRange> sacked;  // what the client has reported beyond snd_una; in order, disjoint
    bool rtt_timed = false;              // the client's answer to rtt_seq is awaited since rtt_at
    Seq rtt_seq;
    Instant rtt_at{};
    Hindrance hindrance = Hindrance::none;
    bool has_primary_fin = false;
    bool seeded = false;
    bool listed = false;  // in Core::incomplete
    // RST ended it. The record stays for a while: what the mirror still shows of it begins no other
    // connection, and the application may be behind.
    bool was_reset = false;
    bool abandoned = false;  // nothing can make it covered again; see abandon()
    bool emptied = false;
    std::unique_ptr<Divergence> divergence;
    std::unique_ptr<Alignment> alignment;
    ByteQueue unconfirmed;  // delivered to the application, not acknowledged by the primary (rules.md 8)
    Seq unconfirmed_begin;
    Charge memory;  // of the connection's queues, while silent
    CloseReason reset_reason = CloseReason::reset_by_peer;
    Instant reset_at{};
    Seq primary_reset;                // its RST, if that was the reason
    bool client_reset_waits = false;  // the client's RST was seen at client_reset, ahead of rcv_nxt
    Seq client_reset;
    Instant client_reset_at{};
    Reassembly from_primary;  // primary bytes that wait for earlier ones
    LagMark lag;
    // Input from held_from on waits for the primary's bytes up to held_ack (rules.md 8).
    bool holds_input = false;
    Seq held_from;
    Seq held_ack;
    bool unanswered = false;     // its latest input; counted in Listener::unanswered
    bool overlapped = false;     // with input of another connection
    bool misses_input = false;   // counted in Listener::missing_input
};

// What most connections never need; made when it is first written.
struct RareState {
    std::optional<ConnectionOptions> options;  // where they are not the settings'
    std::uint64_t uncovered_at = 0;            // stream offset
    wire::SeqRange dsack;                      // RFC 2883
    std::uint32_t answered_invalid_at = 0;     // milliseconds: when an invalid segment last drew an ACK
    std::uint32_t retransmitted = 0;           // segments
    TickLength ts_tick = default_tick;
    // RFC 9293 3.8.5: the ends of what is urgent, while has_* says that there is one.
    bool has_snd_up = false;
    bool has_rcv_up = false;
    Seq snd_up;
    Seq rcv_up;
    std::uint16_t path_mss = 0;         // before the path was said to carry less; 0: it was not
    std::uint32_t path_lowered_at = 0;  // seconds
    std::unique_ptr<SendMarks> marks;  // while what they mark waits to be sent
    std::unique_ptr<Resumption> resumption;
};

// What a segment touches, in the order of use: prefetched for a whole burst. Each ruler is a cache line of a
// record that begins one.
struct HotState {
    // --- 0: whose it is, and where its streams stand
    FlowKey key;
    std::uint32_t index = 0;
    std::uint32_t generation = 0;
    LinkAddress peer_link;  // where its frames go
    State state = State::syn_received;
    Coverage coverage = Coverage::covered;

    bool in_use : 1 = false;
    bool active_open : 1 = false;
    bool announced : 1 = false;       // the application knows it
    bool dirty : 1 = false;           // waits for output
    bool timestamps : 1 = false;      // RFC 7323 3.2, negotiated
    bool sack : 1 = false;            // RFC 2018, negotiated
    bool window_scaling : 1 = false;  // RFC 7323 2.2, negotiated
    bool ack_now : 1 = false;
    bool window_limited : 1 = false;  // cwnd held the sender back in the latest round trip
    bool dsack_due : 1 = false;       // RareState::dsack was not told yet
    bool ecn : 1 = false;             // RFC 3168 6.1, negotiated
    bool cwr_due : 1 = false;         // the next new segment carries CWR
    bool peer_fin_seen : 1 = false;
    bool peer_fin_taken : 1 = false;  // rcv_nxt is past it
    bool peer_close_told : 1 = false;
    bool send_shut : 1 = false;     // the application will write no more
    bool fin_queued : 1 = false;    // our FIN stands at fin_seq
    bool send_blocked : 1 = false;  // the application waits for writable()
    bool promoted : 1 = false;
    bool verified : 1 = false;
    bool own_isn : 1 = false;       // promoted half open, and the primary's SYN/ACK was not seen
    bool refused : 1 = false;       // reset at the takeover: whatever still comes draws a RST
    bool service_seen : 1 = false;  // its frames reach the service port
    bool nodelay : 1 = false;
    bool cork : 1 = false;
    bool push_once : 1 = false;    // nodelay was asked for again: what waits goes out now
    bool more_coming : 1 = false;  // the application's last write is not its last (MSG_MORE)
    bool keeps_difference : 1 = false;  // promoted in spite of it, as configured
    bool more_waits : 1 = false;   // and what is small waits in this call for the next
    bool doomed : 1 = false;       // differs from what the peer has: reset when life_at comes
    bool ack_due : 1 = false;      // something was received that no acknowledgement covers
    bool ack_pushed : 1 = false;   // it ends a write of the peer
    bool ack_pushed_twice : 1 = false;
    bool interactive : 1 = false;       // answers carry the acknowledgements
    bool half_open : 1 = false;         // counts against its service's backlog
    bool unreachable : 1 = false;       // ICMP said so
    bool ecn_seen : 1 = false;          // the peer marks its segments as capable
    bool ecn_echo : 1 = false;          // ECE until the peer's CWR
    bool detached : 1 = false;          // the application has closed both directions
    bool answered_invalid : 1 = false;  // at RareState::answered_invalid_at
    bool ack_parked : 1 = false;        // parked_ack is ahead of what is known of our stream

    std::uint8_t snd_scale = 0;
    std::uint8_t rcv_scale = 0;

    // Receive sequence variables: rcv_nxt ≤ rcv_edge; the edge, once advertised, never moves back.
    Seq rcv_nxt;
    Seq rcv_edge;
    Seq last_ack_sent;
    // --- 1: windows, timestamps, and when to acknowledge
    // Send sequence variables: snd_una ≤ snd_nxt ≤ snd_max.
    Seq snd_una;
    Seq snd_nxt;
    Seq iss;
    Seq snd_wl1;
    Seq snd_wl2;
    std::uint32_t snd_wnd = 0;
    std::uint32_t max_snd_wnd = 0;
    std::uint32_t receive_limit = 0;
    std::uint32_t ts_recent = 0;
    std::uint32_t ts_recent_at = 0;  // seconds (RFC 7323 5.5)
    std::uint32_t ts_offset = 0;
    std::uint16_t mss = default_mss;      // largest payload without options
    std::uint16_t rcv_mss = default_mss;  // the peer's segment size, as it seems
    std::uint16_t last_segment_size = 0;
    std::uint8_t ato = 0;  // milliseconds that an acknowledgement waits; 0: no data yet
    std::uint8_t ttl = 64;
    std::uint8_t quick_acks = 0;  // segments still to be acknowledged at once
    TransmitTimer transmit_timer = TransmitTimer::retransmission;
    std::uint8_t reordering = default_reordering;  // segments
    std::uint32_t data_at = 0;                     // milliseconds: the last data
    // --- 2: what is held on demand
    std::uint32_t heard_at = 0;  // milliseconds: the last segment
    std::uint32_t tune_at = 0;   // microseconds
    ByteQueue unread;
    std::unique_ptr<Recovery> recovery;  // while something is in flight
    std::unique_ptr<Reassembly> out_of_order;
    std::unique_ptr<Shadow> shadow;
    std::unique_ptr<RareState> rare_state;
    [[no_unique_address]] SendQueue send_queue;
};
static_assert(sizeof(HotState) <= 3 * 64, "three cache lines are what a burst's prefetch asks for");

struct Connection : HotState {
    Seq fin_seq;
    // --- 3: timers, and the rest of what data touches
    Instant retransmit_at = never;  // transmit_timer's
    Instant ack_at = never;
    Instant life_at = never;  // TIME-WAIT, and while silent: grace times
    std::uint64_t bytes_received = 0;
    std::uint32_t tune_space = 0;  // bytes read in a round trip, at best; 0: not measured
    std::uint32_t tune_read = 0;   // stream offset at tune_at
    RttEstimator rtt;

    std::uint32_t most_out = 0;  // segments, in the latest round trip, which ends at:
    Seq window_use_end;
    Seq snd_max;    // the end of what was ever sent; ahead of snd_nxt only while silent
    Seq snd_small;  // end of the last segment sent that was not full (RFC 9293 3.7.4)
    CongestionState congestion;
    Instant sent_at{};      // new data, the latest
    Instant progress_at{};  // when snd_una last moved, or sending began
    std::uint64_t bytes_sent = 0;

    Seq parked_ack;  // the peer's highest acknowledgement, if ack_parked
    Seq irs;
    Seq peer_fin;
    std::uint32_t ts_first_own = 0;  // a TSecr before it echoes the primary (rules.md 11)
    std::uint8_t probe_backoff = 0;
    std::uint8_t handshake_sent = 0;
    std::uint8_t keepalive_probes = 0;
    std::uint8_t timeouts = 0;  // of the retransmission timer, since the last progress

    RareState& rare() {
        if (rare_state == nullptr) rare_state = std::make_unique<RareState>();
        return *rare_state;
    }
    // Of a connection without any: the defaults.
    const RareState& rare() const {
        static const RareState none;
        return rare_state == nullptr ? none : *rare_state;
    }
    // nullptr: nothing that waits is marked.
    SendMarks* marks() const { return rare_state == nullptr ? nullptr : rare_state->marks.get(); }
    // Of a promoted connection that is not verified yet, or still paced; else nullptr.
    Resumption* resumption() const { return rare_state == nullptr ? nullptr : rare_state->resumption.get(); }
    void drop_resumption() {
        if (rare_state != nullptr) rare_state->resumption.reset();
    }
    // How long a tick of our timestamps lasts: the primary's clock may have another than ours.
    TickLength ts_tick() const { return rare().ts_tick; }
    void set_ts_tick(TickLength tick) {
        if (tick != ts_tick()) rare().ts_tick = tick;
    }
    ConnectionId id() const { return {index, generation}; }
    std::uint32_t flight() const { return distance(snd_una, snd_nxt); }
    bool is_silent() const { return shadow != nullptr; }
    bool is_synchronized() const { return state != State::syn_sent && state != State::syn_received; }
};
static_assert(sizeof(Connection) <= 360, "an idle connection must stay small: bytes are held on demand");

}  // namespace understudy::stack::tcp
