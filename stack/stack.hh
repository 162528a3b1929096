// The stack: frames, time and randomness come in as arguments; frames and events go out.
//
// One instance belongs to one data-plane core. It starts silent (it shadows the connections of a primary and
// sends nothing) or as master (an ordinary TCP endpoint), and promote() turns the first into the second.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "stack/address.hh"
#include "stack/counters.hh"
#include "stack/interfaces.hh"
#include "stack/options.hh"
#include "stack/repair.hh"
#include "stack/send_marks.hh"
#include "stack/service_watch.hh"
#include "stack/settings.hh"
#include "stack/snapshot.hh"
#include "stack/time.hh"

namespace understudy::stack {

// One received frame: Ethernet from the destination address, without FCS. `wire_length` is its length before
// any capture limit; it is larger than bytes.size() for a frame that was cut.
struct ReceivedFrame {
    Source source = Source::service;
    std::span<const std::byte> bytes;
    std::uint32_t wire_length = 0;
    // Whoever received it found the checksum of its TCP segment or UDP datagram right: it is not checked
    // again. False says nothing.
    bool transport_checked = false;
    std::uint8_t tap = 0;  // which tap showed it, below UdpSettings::taps
};

struct PromotionReport {
    std::size_t promoted = 0;   // connections carried on
    std::size_t reset = 0;      // connections answered with RST: not covered
    std::size_t half_open = 0;  // handshakes completed on the primary's behalf
    std::size_t datagrams = 0;  // withheld answers of UDP services that were sent
};

class Stack {
  public:
    // `sink`, `events` and `random` must outlive the stack. Throws std::invalid_argument with one clear line
    // for settings that cannot work.
    Stack(const Settings& settings, FrameSink& sink, ConnectionEvents& events, RandomSource& random);
    ~Stack();
    Stack(const Stack&) = delete;
    Stack& operator=(const Stack&) = delete;

    // Processes a burst, in order. Every refused frame has a counter. `now` never goes back.
    void receive(std::span<const ReceivedFrame> burst, Instant now);
    // Runs the timers that are due at `now`.
    void advance(Instant now);
    // When advance() has work next; nothing when no timer runs.
    std::optional<Instant> next_deadline() const;

    Mode mode() const;
    // Silent → master (paper section IV.C, design.md 5): opens the egress gate, announces the service
    // addresses, makes the listeners live and promotes every connection, the busiest first. Call it once
    // every tap ring has been drained. A second call does nothing.
    PromotionReport promote(Instant now);
    // The first half of promote(), which does it when nobody did: gate, announcement, listeners. Call
    // promote() before the next frame. For several instances of one host: none promotes before one announced.
    void open_gate(Instant now);
    // Sends the gratuitous ARP of every service address now; master only.
    void announce(Instant now);
    // Master → silent (rules.md 19): closes the gate and drops every connection without a word; what the
    // mirror shows of them afterwards is older than this shadow. promote() may follow again.
    void mute(Instant now);

    // Asks the kernel of the primary, whose link-level address is `primary`, whether it has `address` (rules.md
    // 15). Silent only; the one frame that passes the closed gate. Answers are counted
    // (primary_probes_answered).
    void probe_primary(const IpAddress& address, const LinkAddress& primary, Instant now);
    // What speaks for and against whoever serves.
    const ServiceWatch& service_watch() const;
    // Silent: whether nothing is left to follow: no input that waits, no acknowledgement beyond what was read,
    // no output of the primary that the application has not given (rules.md 22). Visits every connection.
    bool is_settled() const;

    // Somebody who knows says that the state of `service`'s program is that of the primary's, at this moment
    // (rules.md 5): its connections can be covered from now on. It holds until input of the primary's is missed on
    // any connection of the service, or forget_state(). False when it is no TCP service of ours.
    bool attest(const Endpoint& service);
    // The program of `service` began anew, or its state is in doubt. False as above.
    bool forget_state(const Endpoint& service);
    // Of every TCP service.
    std::vector<ServiceSnapshot> services() const;

    // Passive open (RFC 9293 3.10.1): `service` is served from now on, beside Settings::services. False when
    // its address is not one of ours. Once is enough.
    bool listen(const Endpoint& service);
    // No new connection is taken for `service`; those that exist go on.
    void unlisten(const Endpoint& service);
    // Active open (RFC 9293 3.10.1) from `local` to `remote`, whose link-level address the caller knows,
    // or which is resolved, by Settings::routes, where `remote_link` is zero.
    // Master only. Nothing when the table is full or the flow exists.
    std::optional<ConnectionId> connect(const Endpoint& local, const Endpoint& remote,
                                        const LinkAddress& remote_link, Instant now,
                                        const std::optional<ConnectionOptions>& options = std::nullopt);
    // Queues bytes to send; returns how many were taken. 0 for a dead id or after shutdown_send. `more`:
    // others follow at once, with which the last of these may share a segment (MSG_MORE); without bytes and
    // `more`, none follow after all. `end`: what the end of these bytes means, once all of them are taken; at
    // most one mark is kept for each call.
    std::size_t send(ConnectionId id, std::span<const std::byte> bytes, Instant now, bool more = false,
                     WriteEnd end = WriteEnd::none);
    // How many bytes send() would take.
    std::size_t send_room(ConnectionId id) const;
    // FIN after all that was queued (RFC 9293 3.10.4, the sending half).
    void shutdown_send(ConnectionId id, Instant now);
    // Closes both directions, as close(2) does: FIN after all that was queued, or RST where input was not
    // read; input that comes later is answered with RST. closed() is raised before this returns.
    void close(ConnectionId id, Instant now);
    // Replaces the connection's options; nothing for a dead id.
    void set_options(ConnectionId id, const ConnectionOptions& options, Instant now);
    std::optional<ConnectionOptions> options(ConnectionId id) const;
    // What connections that `service` accepts from now on begin with. False when it is no service.
    bool set_service_options(const Endpoint& service, const ConnectionOptions& options);
    // TCP_QUICKACK: sends a waiting acknowledgement and no longer waits for answers to carry them; `false`
    // waits for them.
    void acknowledge(ConnectionId id, bool quickly, Instant now);
    // RST, and closed(aborted) at once (RFC 9293 3.10.5). While silent nothing is sent.
    void abort(ConnectionId id, Instant now);
    // Offers queued input again and opens the window.
    void resume_receive(ConnectionId id, Instant now);

    // Sends a datagram from a UDP service to `client`, of whom a frame was seen before. While silent it is
    // withheld (rules.md 27). False when it was refused: too large for one packet, not possible, no buffer;
    // each counted.
    bool send_datagram(const Endpoint& service, const Endpoint& client, std::span<const std::byte> bytes,
                       Instant now);

    // What the mirror proved sent, did not show, and has been missing for `min_age` or longer; as much as `out`
    // takes, each connection in its turn. Returns how much. Nothing without ShadowSettings::repair_deadline, and
    // nothing that is past it. It stays missing until repair() fills it, or the mirror.
    std::size_t missing(std::span<MissingBytes> out, Duration min_age, Instant now);
    // Whether missing() may have something to tell.
    bool lacks_bytes() const;
    // Fills what is missing. Bytes that are not, any more, are passed over; an answer beyond what is missing is
    // refused whole. Each has its counter. True when something was filled.
    bool repair(const RepairBytes& answer, Instant now);

    std::size_t connection_count() const;  // without those in TIME-WAIT that the application is done with
    std::size_t time_wait_count() const;
    // Memory held for bytes that came before earlier ones, of all connections; bounded by
    // Settings::reassembly_budget_bytes.
    std::uint64_t reassembly_bytes() const;
    // Memory held for packets of which fragments are missing; bounded by FragmentSettings::budget_bytes.
    std::uint64_t fragment_bytes() const;
    std::optional<ConnectionSnapshot> snapshot(ConnectionId id) const;
    // Up to `limit` connections from table position `cursor` on; sets `cursor` to where to go on, 0 at the
    // end.
    std::vector<ConnectionSnapshot> snapshots(std::uint32_t& cursor, std::size_t limit) const;
    // Of every UDP service, in the order of Settings::udp_services.
    std::vector<DatagramServiceSnapshot> datagram_services() const;
    const Counters& counters() const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace understudy::stack
