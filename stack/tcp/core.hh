// What the parts of TCP share on one core: settings, time, table, timers, and the way out to network and
// application.
#pragma once

#include <array>
#include <deque>
#include <optional>
#include <vector>

#include "stack/congestion_control.hh"
#include "stack/counters.hh"
#include "stack/egress_gate.hh"
#include "stack/interfaces.hh"
#include "stack/ip/neighbours.hh"
#include "stack/isn.hh"
#include "stack/repair.hh"
#include "stack/service_watch.hh"
#include "stack/settings.hh"
#include "stack/tcp/challenge.hh"
#include "stack/tcp/connection.hh"
#include "stack/tcp/connection_table.hh"
#include "stack/tcp/primary_clock.hh"
#include "stack/tcp/segment.hh"
#include "stack/tcp/super_segment.hh"
#include "stack/tcp/time_wait.hh"
#include "stack/timer_wheel.hh"
#include "stack/wire/ip_packet.hh"

namespace understudy::stack::tcp {

// What a service has of its own.
struct Listener {
    Endpoint service;
    ConnectionOptions options;
    Replication replication;
    ServiceState state = ServiceState::stateless;
    // While silent, connections of which: the mirror did not show some input; the latest input has no answer.
    std::uint32_t missing_input = 0;
    std::uint32_t unanswered = 0;
    ConnectionId latest_input;
    std::uint32_t half_open = 0;  // connections in SYN-RECEIVED
    Instant cookies_until{};      // acknowledgements of cookies are looked for until then
};

class Core {
  public:
    Core(const Settings& settings, FrameSink& sink, ConnectionEvents& events, RandomSource& random);

    const Settings settings;
    Counters counters;
    // Held by all connections; they outlive the table.
    std::uint64_t reassembly_bytes = 0;
    std::uint64_t shadow_bytes = 0;  // while silent
    EgressGate gate;
    ServiceWatch watch;
    ConnectionEvents& events;
    SequenceGenerator sequence;
    ConnectionTable table;
    TimeWaitTable time_wait;
    ChallengeBudget challenges;
    Noise noise;
    std::array<std::uint32_t, 64> port_walks{};  // RFC 6056 3.3.4
    TickLength primary_tick = default_tick;      // as its connections showed at last
    Instant now{};
    Mode mode;
    std::optional<Instant> promoted_at;
    Instant primary_seen_at{};  // its latest mirrored segment, of any connection
    std::uint16_t next_ip_identification = 0;
    SuperSegment super_segment;
    std::deque<ConnectionId> incomplete;  // connections with something missing, each once
    ip::Neighbours neighbours;

    // Every address of this host, services first or not: flows are keyed by the index.
    const std::vector<IpAddress>& local_addresses() const { return local_addresses_; }
    std::optional<std::uint32_t> local_address_index(const IpAddress& address) const;
    // Settings::services at first, then what add_service() and remove_service() make of them.
    bool is_service(const Endpoint& endpoint) const;
    void add_service(const Endpoint& endpoint);
    void remove_service(const Endpoint& endpoint);
    Listener* listener(const Endpoint& service);  // nullptr for another endpoint
    const Listener* listener(const Endpoint& service) const;
    std::vector<Listener>& listeners() { return listeners_; }
    // `local` must have one of our addresses.
    FlowKey key_of(const Endpoint& remote, const Endpoint& local) const;
    Endpoint remote_of(const Connection& c) const { return {c.key.remote, c.key.remote_port}; }
    Endpoint local_of(const Connection& c) const;

    // Moves a connection to `next`; asserts that RFC 9293 3.3.2 has such an edge.
    void set_state(Connection& c, State next);
    // A passive open counts against its service's backlog until it is established or gone.
    void count_half_open(Connection& c);
    // Arms the wheel for the earliest of the connection's deadlines. Call it after setting one.
    void arm(const Connection& c);
    const std::vector<std::uint32_t>& collect_due() {
        time_wait.expire(now);
        return wheel_.collect(now);
    }
    std::optional<Instant> next_deadline() const;

    const CongestionControl& congestion_of(const Connection&) const { return congestion_; }
    // The connection's book of what is in flight, made if there is none.
    Recovery& recovery_of(Connection& c);
    // Nothing is in flight any more: the book serves another connection.
    void put_recovery_aside(Connection& c);
    // Asks for what a segment touches of a connection, ahead of its use.
    void prefetch(std::uint32_t index) const {
        stack::prefetch(static_cast<const HotState&>(table.at(index)));
        __builtin_prefetch(&table.at(index).ack_at);
        wheel_.prefetch(index);
    }

    // Reserves a frame with `length` bytes behind its link-level header, which it writes, and returns those;
    // empty when there is no buffer. To be written before gate.commit().
    wire::MutableBytes begin_frame(const LinkAddress& destination, wire::EtherType type, std::size_t length,
                                   FrameSink* queue = nullptr);
    // Reserves a frame for an IP packet with `length` bytes of payload and writes its headers; length and
    // identification of `header` are filled in. Returns the payload, to be written before gate.commit();
    // empty when there is no buffer. `destination` zero: the next hop's, for which the frame may have to
    // wait.
    wire::MutableBytes begin_packet(const LinkAddress& destination, wire::IpHeader& header,
                                    std::size_t length);
    // The largest segment without options that the interface takes to such an address (RFC 6691).
    std::uint16_t interface_mss(const IpAddress& peer) const;

    // Notes that the connection may have something to send; flush() sees to it.
    void mark_dirty(Connection& c);
    // Runs output for every connection marked. Does nothing inside a call that will flush itself.
    void flush();
    // Ends a connection: tells the application, if it knows it, and frees the record. `c` is gone afterwards.
    void finish(Connection& c, CloseReason reason);
    // The application's last event of a connection whose record stays. False when the record is gone as well.
    [[nodiscard]] bool tell_closed(Connection& c, CloseReason reason);

    // While one is alive, flush() waits: calls of the application from inside an event are collected.
    class Batch {
      public:
        explicit Batch(Core& core) : core_(core) { ++core_.batch_depth_; }
        ~Batch() {
            if (--core_.batch_depth_ == 0) core_.flush();
        }
        Batch(const Batch&) = delete;
        Batch& operator=(const Batch&) = delete;

      private:
        Core& core_;
    };

  private:
    void leave_half_open(Connection& c);

    std::vector<IpAddress> local_addresses_;
    std::vector<Listener> listeners_;
    TimerWheel wheel_;
    std::vector<ConnectionId> dirty_;
    const CongestionControl& congestion_;
    std::vector<std::unique_ptr<Recovery>> spare_recoveries_;
    int batch_depth_ = 0;
};

// Compact clocks for records that are many; they wrap.
inline std::uint32_t milliseconds(Instant at) {
    return static_cast<std::uint32_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(at.time_since_epoch()).count());
}
inline std::uint32_t seconds(Instant at) {
    return static_cast<std::uint32_t>(
        std::chrono::duration_cast<std::chrono::seconds>(at.time_since_epoch()).count());
}

// --- The parts, one file each. Every function may end the connection; it then returns false, and the
// reference is dead. ---

// deliver.cc: bytes on their way to the application.

// Takes the payload and FIN of a segment up to `edge`, in order or into reassembly, and hands the application
// what is ready.
[[nodiscard]] bool take_payload(Core& core, Connection& c, const Segment& segment, Seq edge);
// While silent: input of a segment whose acknowledgement lies beyond all that the primary was seen to send waits,
// for the primary refuses such a segment unless it has sent that much (rules.md 8).
void hold_unproven_input(Connection& c, const Segment& segment);
// Input that need wait no longer.
[[nodiscard]] bool release_held_input(Core& core, Connection& c);
// Sequence number of the first byte that waits for the application.
inline Seq input_read_to(const Connection& c) {
    return (c.peer_fin_taken ? c.peer_fin : c.rcv_nxt) - c.unread.size();
}
// Offers waiting bytes and the peer's FIN to the application.
[[nodiscard]] bool offer_unread(Core& core, Connection& c);
// The connection is established: tells the application.
void announce_connection(Core& core, Connection& c);

// Keeps bytes that came before earlier ones, within the connection's limit and the stack's budget. False, and
// counted, when there is no room.
bool keep_out_of_order(Core& core, Reassembly& reassembly, Seq begin, wire::Bytes bytes,
                       std::uint32_t byte_limit, std::size_t range_limit);

// close.cc: the closing half of the state diagram, one for both modes.

// The peer's FIN was reached (RFC 9293 3.10.7.4, eighth).
void on_peer_fin(Core& core, Connection& c);
// Our FIN, or while silent the primary's, left.
void on_fin_sent(Core& core, Connection& c);
// A closed connection waits so long for the peer's FIN, and no longer.
void limit_fin_wait_2(Core& core, Connection& c);
// It was acknowledged.
void on_fin_acked(Core& core, Connection& c);
// True for such a connection once the application knows: what the mirror still shows of it means nothing.
inline bool has_ended(const Connection& c) {
    return c.shadow->was_reset && !c.announced;
}
// Tells the application that both sides are done, once it has read all.
[[nodiscard]] bool finish_if_done(Core& core, Connection& c);

// input.cc, handshake.cc: RFC 9293 3.10.7 as master.
void master_input(Core& core, Connection* c, const Segment& segment);
// `isn`: ours, where an earlier incarnation on the same ports demands one.
void listen_input(Core& core, const Segment& segment, std::optional<Seq> isn = std::nullopt);
// The handshake of a passive open is complete: `segment` acknowledges our SYN. False when the connection is
// gone.
[[nodiscard]] bool establish_passive(Core& core, Connection& c, const Segment& segment);
void syn_sent_input(Core& core, Connection& c, const Segment& segment);
// Whether a connection with this address can be: it names one host.
[[nodiscard]] bool is_possible_peer(const IpAddress& address);
[[nodiscard]] bool is_loopback(const IpAddress& address);
// Applies the options of the peer's SYN (or SYN/ACK); ours were offered.
void negotiate(Core& core, Connection& c, const wire::TcpOptions& peer);
// An established connection to be, from what a SYN cookie remembered; nullptr when the table is full.
Connection* open_from_cookie(Core& core, const Segment& segment, const wire::TcpOptions& syn);
// A free local port for `remote` (RFC 6056 3.3.4), 0 when there is none.
std::uint16_t choose_port(Core& core, const IpAddress& local, const Endpoint& remote);
// `local.port` 0: one is chosen. nullptr when the flow exists or waits in TIME-WAIT, no port is free, or the
// table is full.
Connection* open_active(Core& core, Endpoint local, const Endpoint& remote, const LinkAddress& link,
                        const ConnectionOptions& options);

// challenge.cc: answers to what may be forged.

// An ACK in answer to a RST, SYN or ACK that is not what it should be (RFC 5961 3.2, 4.2, 5.2).
void challenge_ack(Core& core, Connection& c, const Segment& segment);
// Whether an unacceptable segment may draw its acknowledgement now.
[[nodiscard]] bool may_answer_invalid(Core& core, Connection& c, const Segment& segment);

// time_wait.cc

// RFC 7323 5.5: a timestamp older than 24 days says nothing.
inline constexpr std::uint32_t paws_idle_seconds = 24 * 24 * 3600;
// Keeps what TIME-WAIT needs of a connection that is about to be freed.
void remember_time_wait(Core& core, const Connection& c);
// True when the segment belonged to a connection in TIME-WAIT.
[[nodiscard]] bool time_wait_input(Core& core, const Segment& segment);
// Ends a TIME-WAIT for an active open; returns the initial sequence number that it demands.
std::optional<Seq> leave_time_wait(Core& core, const FlowKey& key);
// Whether an active open may take the ports of a connection in TIME-WAIT.
[[nodiscard]] bool is_reusable(const Core& core, const TimeWait& record);

// syn_cookies.cc

[[nodiscard]] bool wants_cookie(const Core& core, const Listener& listener);
void answer_with_cookie(Core& core, Listener& listener, const Segment& syn);
// A connection whose cookie `segment` acknowledges; it is then processed as in SYN-RECEIVED.
Connection* accept_cookie(Core& core, const Segment& segment);

// ecn.cc: RFC 3168.

[[nodiscard]] bool accepts_ecn(const Core& core, const Segment& syn);
// A segment arrived: its mark, and its CWR.
void note_congestion_marks(Core& core, Connection& c, const Segment& segment);
// The ECN field of a segment that leaves, and what its flags say of congestion.
std::uint8_t mark_outgoing(Connection& c, bool new_data, std::uint8_t& flags);

// path_mtu.cc: what ICMP says of a connection, once the message was read and its connection found.

// "Fragmentation needed" or "packet too big"; `mtu` 0 where the router gave none. `quoted` is the sequence
// number of the segment that the message quotes: one that is not in flight is refused (RFC 5927).
void on_path_mtu(Core& core, Connection& c, std::uint32_t mtu, Seq quoted);
// The retransmission timer expired.
void suspect_black_hole(Core& core, Connection& c);
// RFC 1191 6.3: what a report said long ago may no longer hold. Before new data.
void forget_old_path_mtu(Core& core, Connection& c);
// Destination unreachable and time exceeded; `hard`: the protocol or port is (RFC 1122 4.2.3.9).
void on_unreachable(Core& core, Connection& c, bool hard, Seq quoted);

// options.cc

const ConnectionOptions& options_of(const Core& core, const Connection& c);
Duration user_timeout_of(const Core& core, const Connection& c);
std::uint32_t send_buffer_of(const Core& core, const Connection& c);
// Without the ECN field.
std::uint8_t traffic_class_of(const Core& core, const Connection& c);
std::uint16_t offered_mss(const Core& core, const Connection& c);
// For a connection that begins.
void give_options(Core& core, Connection& c, const ConnectionOptions& options);
void app_set_options(Core& core, Connection& c, const ConnectionOptions& options);
void app_acknowledge(Core& core, Connection& c, bool quickly);

// keepalive.cc

// Starts the wait for a peer that falls silent, where the options ask for it.
void start_keepalive(Core& core, Connection& c);
[[nodiscard]] bool on_keepalive_timer(Core& core, Connection& c);

// delayed_ack.cc: when acknowledgements go out.

// The connection is established: first estimates.
void begin_acknowledging(const Core& core, Connection& c);
// At most `most` segments from now on are acknowledged at once.
void acknowledge_quickly(const Core& core, Connection& c, std::uint8_t most);
void note_data_received(Core& core, Connection& c, const Segment& segment);
void note_data_sent(const Core& core, Connection& c);
// A segment with our acknowledgement left.
void note_ack_sent(const Core& core, Connection& c);
// In-order data, or the peer's FIN, was taken: now, or after a delay.
void schedule_ack(Core& core, Connection& c);
// The application has read.
void on_input_read(Core& core, Connection& c);
void on_ack_timer(Core& core, Connection& c);

// receive_window.cc

std::uint8_t window_scale_for(const TcpSettings& settings, const ConnectionOptions& options);
// Sets what may wait for the application.
void size_receive_buffer(const Core& core, Connection& c);
// What a SYN offers, never scaled; `mss` without the options of data segments.
std::uint32_t initial_window(const TcpSettings& settings, std::uint32_t space, std::uint32_t mss);
// The window that a buffer of the asked size has at first.
std::uint32_t receive_space(const TcpSettings& settings, const ConnectionOptions& options);
// The window field of the segment that leaves now; moves the right edge, never back.
std::uint16_t select_window(Connection& c);
// Whether the right edge moves on with what an acknowledgement would cover.
[[nodiscard]] bool can_advance_window(const Core& core, const Connection& c);
// The application has read: all that follows from it.
void note_input_read(Core& core, Connection& c);
// The application has read: grows the buffer to what the path can fill.
void tune_receive_buffer(Core& core, Connection& c);
// The application has read: tells the peer of a window that has grown enough.
void update_window_after_read(Core& core, Connection& c);

// ack.cc: acknowledgements, the send window, NewReno's recovery.
// ack.cc: acknowledgements and the send window.

// Processes SEG.ACK and SEG.WND (RFC 9293 3.10.7.4, fifth). False when the segment must be dropped.
bool master_ack(Core& core, Connection& c, const Segment& segment);
void update_send_window(Connection& c, const Segment& segment);
// The send queue gives back what is acknowledged, and the application hears that there is room.
// Takes what lies before SND.UNA off the scoreboard, without drawing conclusions.
void drop_acknowledged(Core& core, Connection& c);
void release_acked(Core& core, Connection& c);

// output.cc: segments on their way out.

// Sends all that window and congestion control allow, or the acknowledgement that is due.
void output(Core& core, Connection& c);
void send_handshake(Core& core, Connection& c);
void send_ack(Core& core, Connection& c);
void send_probe(Core& core, Connection& c);  // rules.md 23
// Sends what the window takes, or if that is nothing, asks for the window (RFC 9293 3.8.6.1).
void probe_window(Core& core, Connection& c);
// RST with the given sequence number for a connection we hold.
void send_reset(Core& core, const Connection& c, Seq seq);
// Sends a segment without payload of no connection that we hold.
void send_control(Core& core, const Endpoint& local, const Endpoint& remote, const LinkAddress& link,
                  std::uint8_t ttl, const wire::TcpHeader& header);
// RST in answer to a segment of no connection (RFC 9293 3.10.7.1).
void send_reset_for(Core& core, const Segment& segment);
// The retransmission timer, from now or behind another from when the first segment was sent.
void restart_retransmission(Core& core, Connection& c);
void schedule_window_probe(Core& core, Connection& c);
// Whether the congestion window may grow.
bool is_window_limited(const Connection& c);
std::uint32_t tsval_now(const Core& core, const Connection& c);
// Room for payload in a segment with the options that data segments carry.
std::uint32_t segment_room(const Connection& c);

// recovery.cc: the peer reports congestion by ECN (RFC 3168 6.1.2).
void enter_window_reduction(Core& core, Connection& c);
// Segments became too large for the path: those in flight are cut and sent again, and the window stays (RFC
// 1191 6.5).
void resend_smaller(Core& core, Connection& c);

// sack.cc: what the next acknowledgement reports.
// [begin, end) had been received before (RFC 2883).
void note_duplicate(Connection& c, Seq begin, Seq end);
std::uint8_t fill_sack_blocks(Connection& c, std::span<wire::SeqRange> out);

// timers.cc
void on_timer(Core& core, Connection& c);

// shadow_client.cc, shadow_primary.cc: what the mirror shows while silent.
void shadow_client_input(Core& core, Connection* c, const Segment& segment);
void shadow_primary_input(Core& core, Connection* c, const Segment& segment);
// What the primary has in flight, for the congestion window of a promoted connection.
void note_flight(Connection& c);
// The client's SYN came on the mirror after the SYN/ACK that answers it: nothing is inferred any more.
void complete_seed(Core& core, Connection& c, const Shadow::ClientSyn& syn);
// The connection uses what only the primary can continue.
void note_hindrance(Core& core, Connection& c, Hindrance hindrance);
// Applies the client's ACKs to what is known of the primary's stream by now.
[[nodiscard]] bool apply_client_acks(Core& core, Connection& c);
// The handshake is complete as far as the mirror shows.
[[nodiscard]] bool establish_shadow(Core& core, Connection& c);

// shadow_reset.cc: RST on the mirror.

void on_client_reset(Core& core, Connection& c, const Segment& segment);
void on_primary_reset(Core& core, Connection& c, const Segment& segment);
// How long a RST waits before the application hears of it: what it overtook may still come, from a repair source
// until the repair deadline.
Duration reset_patience(const Core& core, const Connection& c);
// The client's RST counts once all before it was received, or is given up after reset_patience().
void apply_client_reset(Core& core, Connection& c);
void give_up_waiting_for_reset(Core& core, Connection& c);
// life_at of a connection that was reset has come.
void on_reset_timer(Core& core, Connection& c);
// True when the side that seemed to have sent the RST goes on behind it: it was somebody else's.
bool disprove_reset(Core& core, Connection& c, const Segment& segment);
// Keeps a silent connection that RST has ended for ShadowSettings::closed_linger.
void linger_after_reset(Core& core, Connection& c);

// coverage.cc: is the connection known to be identical?

// The client has acknowledged a SYN/ACK that the mirror did not show: what it has received since is not
// known.
inline bool is_beyond_handshake(const Connection& c) {
    return c.is_silent() && !c.shadow->seeded && c.ack_parked;
}
// How long what is missing may still come: by reordering, or from a repair source.
Duration missing_grace(const Core& core);
// Looks for holes and gaps and sets their grace time.
void check_coverage(Core& core, Connection& c);
// repair.cc: the end of what the primary is known to have sent.
Seq proven_sent(const Connection& c);
// Remembers a connection that a repair source may complete.
void list_incomplete(Core& core, Connection& c);
// Stack::missing and Stack::repair.
std::size_t collect_missing(Core& core, std::span<MissingBytes> out, Duration min_age);
bool repair(Core& core, const RepairBytes& answer);
// The client's stream goes on with what a segment brings before `edge`.
void follow_client(Core& core, Connection& c, const Segment& segment, Seq edge);
// The primary's stream goes on with a segment whose numbers have been taken.
enum class FollowedAs : std::uint8_t { seen, repair };
void follow_primary(Core& core, Connection& c, const Segment& segment, FollowedAs as);
void uncover(Core& core, Connection& c, Coverage reason, std::uint64_t offset);
// What is in doubt at this moment, beside what the connection is marked with: within the grace time it may still
// be reordering, but it is not known to be identical.
struct Doubt {
    Coverage coverage;
    std::uint64_t offset;
};
std::optional<Doubt> doubt_of(const Core& core, const Connection& c);
// How many bytes the mirror has not shown up to what is proven sent.
std::uint32_t missing_bytes(const Connection& c, Direction direction);
// Counts what the connection's queues hold; one that finds the budget of all used up is given up (over_budget).
void charge_memory(Core& core, Connection& c);
// What is still missing after the grace time uncovers the connection.
void conclude_missing(Core& core, Connection& c);
// Whether nothing can make the connection covered again: only what a RST at takeover needs is kept (rules.md
// 24).
inline bool is_abandoned(const Connection& c) {
    return c.coverage == Coverage::too_old || (c.is_silent() && c.shadow->abandoned);
}
// The connection is abandoned inside a call of the application: abandon() comes by its timer.
void give_up(Core& core, Connection& c);
// Gives such a connection's bytes back and tells the application. False when it is gone.
[[nodiscard]] bool abandon(Core& core, Connection& c);
// Whether our stream is still followed: once it cannot be continued, the application's output is only
// swallowed.
bool tracks_output(const Connection& c);
// Nothing of a silent connection is left to follow. One that is not covered is not waited for.
bool is_settled(const Connection& c);
// A silent connection's life_at has come.
void on_shadow_timer(Core& core, Connection& c);

// service_state.cc: is the program's state the primary's (rules.md 5)?

// Input of the primary's will not reach the program.
void lose_state(Core& core, const Endpoint& service);
// Before a takeover: what is missing then on one connection, others may depend on.
void judge_states(Core& core);
// Whether some input of this connection has not been shown by the mirror.
void note_missing_input(Core& core, Connection& c, bool misses);
// The connection is no longer shadowed.
void leave_service(Core& core, Connection& c);

// input_order.cc: whose inputs were with the primary's program together (rules.md 1)?

void note_input(Core& core, Connection& c);
void note_answer(Core& core, Connection& c);

// lag.cc: for how long is the application behind?

void note_lag(const Core& core, Connection& c);
Duration lag_time(const Core& core, const Connection& c);

// divergence.cc: the application's output and the primary's.

DivergencePolicy policy_of(Core& core, const Connection& c);
// Follows up what one of the two wrote.
void note_comparison(Core& core, Connection& c, const SendQueue::Written& written);
// Both have ended an answer at different places, the shorter at `at`.
void note_length_difference(Core& core, Connection& c, Seq at);
// One of the streams ends at `at`, the other does not.
void note_end_difference(Core& core, Connection& c, Seq at);
// Nothing is known to differ any more.
void cover_again(Core& core, Connection& c);
// An equal-length difference is passed once enough equal bytes followed.
void forgive(Core& core, Connection& c);

// alignment.cc: of services that ask for it.

// The connection is seeded.
void begin_alignment(Core& core, Connection& c);
// Bytes of the client at rcv_nxt are about to be taken.
void note_request(Core& core, Connection& c);
// The application wrote.
void note_output(const Core& core, Connection& c);
// Whether input waits for the application to finish an answer.
[[nodiscard]] bool is_withheld(const Connection& c);
// How many of the unread bytes the application may have.
std::uint32_t readable(const Connection& c);
// Output is kept from here on.
Seq release_limit(const Connection& c);
// Whether the application has written what the primary may never send.
[[nodiscard]] bool is_in_doubt(const Connection& c);
Instant alignment_deadline(const Core& core, const Connection& c);
// Aligns and hands on the next request as far as possible; never inside a call of the application.
[[nodiscard]] bool advance_alignment(Core& core, Connection& c);

// app_calls.cc: what the application asks for.
std::size_t app_send(Core& core, Connection& c, wire::Bytes bytes, bool more, WriteEnd end);
std::size_t app_send_room(const Core& core, const Connection& c);
void app_shutdown_send(Core& core, Connection& c);
// Both directions (RFC 9293 3.10.4, RFC 2525 2.17); the last call of the application.
void app_close(Core& core, Connection& c);
void app_abort(Core& core, Connection& c);
void app_resume_receive(Core& core, Connection& c);

// verify.cc: does a promoted connection's client agree (rules.md 3, 23)?

// The connection is unverified from here on, and the first probe leaves within
// ShadowSettings::probe_interval.
void begin_verification(Core& core, Connection& c);
// A segment of the client, before anything else of it counts, and again once it was processed.
void note_client_numbers(Core& core, Connection& c, const Segment& segment);
void judge_client_numbers(Core& core, Connection& c);
// False when the connection was given up.
[[nodiscard]] bool on_verification_timer(Core& core, Connection& c);
// RST, and what the client still sends of the connection draws another, until ShadowSettings' grace is over.
// `c` may be gone afterwards.
void refuse(Core& core, Connection& c);
// The refusal is repeated while the grace time lasts.
void on_refused_timer(Core& core, Connection& c);
// A segment of a refused connection.
void refused_input(Core& core, Connection& c, const Segment& segment);

// pace.cc: no burst that the path cannot take, until acknowledgements give the clock.

// Spreads what leaves from now on over round trips, `burst` segments ahead.
void begin_pacing(Core& core, Connection& c, std::uint32_t burst);
// Whether a segment may leave now; if not, the timer is set.
[[nodiscard]] bool may_send_paced(Core& core, Connection& c);
void note_paced(Core& core, Connection& c);
// The timer: goes on with what waited.
void resume_pacing(Core& core, Connection& c);

// kick.cc

// What makes a client resend at once whose data the mirror did not show (RFC 6069; facts:
// docs/architecture.md).
void kick_client(Core& core, const Connection& c, const Shadow& shadow);

// promote.cc
enum class Promoted : std::uint8_t {
    carried_on,
    half_open,
    reset,
    ended,  // before the promotion; nothing was sent
    left,   // diverged, and nothing is to be sent
};
Promoted promote_connection(Core& core, Connection& c);

}  // namespace understudy::stack::tcp
