// Everything about the stack that an operator can set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "stack/address.hh"
#include "stack/options.hh"
#include "stack/time.hh"
#include "stack/wire/checksum.hh"
#include "stack/wire/ip.hh"

namespace understudy::stack {

// The paper's roles: a silent replica withholds all output, a master serves.
enum class Mode : std::uint8_t { silent, master };

enum class CongestionAlgorithm : std::uint8_t { cubic, new_reno };  // RFC 9438, RFC 5681
// The window scale that the largest receive buffer needs (RFC 7323 2.3).
inline constexpr std::uint8_t automatic_window_scale = 0xff;

// When a SYN is answered without keeping a record of it (RFC 4987 3.6).
enum class SynCookies : std::uint8_t { off, automatic, always };
// RFC 3168: never; where the peer asks; also asked for by active opens.
enum class Ecn : std::uint8_t { off, passive, active };

struct TcpSettings {
    std::uint16_t mss = 1460;                            // offered in our SYN and SYN/ACK; RFC 6691
    std::uint8_t window_scale = automatic_window_scale;  // offered as master; RFC 7323 2.2
    bool window_scaling = true;                          // RFC 7323 2
    bool timestamps = true;                              // RFC 7323 3
    bool sack = true;                                    // RFC 2018
    // Input that waits for the application, at first and at most; half of it is offered as window, as Linux
    // counts (tcp_rmem).
    std::uint32_t receive_buffer_bytes = 131072;
    std::uint32_t receive_buffer_max_bytes = 6 << 20;
    std::uint32_t initial_receive_window = 0;  // most that the handshake offers; 0: what the buffer takes
    std::uint32_t max_out_of_order_ranges = 64;
    std::uint32_t send_buffer_bytes = 1 << 20;   // most that waits for the peer
    std::uint32_t initial_window_segments = 10;  // RFC 6928
    CongestionAlgorithm congestion = CongestionAlgorithm::cubic;
    bool hystart = true;               // CUBIC leaves slow start before its first loss (RFC 9438 4.10)
    bool loss_probes = true;           // RFC 8985 7
    bool forward_rto_recovery = true;  // RFC 5682
    bool restart_after_idle = true;    // RFC 5681 4.1
    Duration rto_initial = std::chrono::seconds(1);
    Duration rto_min = std::chrono::milliseconds(200);
    Duration rto_max = std::chrono::seconds(120);
    // RFC 9293 3.8.6.3: how long an acknowledgement may wait, and how many segments at the start, or after a
    // pause, are acknowledged at once.
    Duration delayed_ack_min = std::chrono::milliseconds(40);
    Duration delayed_ack_max = std::chrono::milliseconds(200);
    std::uint8_t quick_acks = 16;
    Duration time_wait = std::chrono::seconds(60);
    Duration user_timeout = std::chrono::seconds(900);       // RFC 9293 3.8.3 R2
    Duration fin_wait_2_timeout = std::chrono::seconds(60);  // of connections closed by the application
    ConnectionOptions options;              // of connections for which nothing else was asked
    std::uint32_t max_time_wait = 1 << 18;  // records; beyond it connections are closed at once
    bool time_wait_reuse = false;           // by active opens, a second later with timestamps (RFC 6191)
    bool time_wait_ignores_reset = false;   // RFC 1337
    // RFC 5961 7: challenge ACKs of all connections in a second, about; and how often one connection answers
    // segments that are no part of it.
    std::uint32_t challenge_ack_limit = 1000;
    Duration invalid_ack_interval = std::chrono::milliseconds(500);
    // An acknowledgement of what was never sent is answered (RFC 5961 5.2); Linux drops such a segment
    // silently.
    bool answer_future_acks = true;
    // Segments that leave together before the receiver is asked to push, at least (tcp_min_tso_segs).
    std::uint32_t min_burst_segments = 2;
    std::uint32_t syn_ack_retries = 5;
    // Half-open connections of one service; beyond it cookies are sent, or SYNs are dropped.
    std::uint32_t syn_backlog = 4096;
    SynCookies syn_cookies = SynCookies::automatic;
    Ecn ecn = Ecn::passive;
    std::uint32_t min_path_mtu = 552;       // IPv4: ICMP cannot ask for less
    // So long after a report the path may have become wider (RFC 1191 6.3); 0: never.
    Duration path_mtu_timeout = std::chrono::minutes(10);
    bool mtu_probing = false;               // RFC 4821: smaller segments where large ones vanish
    std::uint16_t base_mss = 1024;          // the first size tried then
    std::uint16_t ephemeral_first = 32768;  // ports of active opens that name none (RFC 6056)
    std::uint16_t ephemeral_last = 60999;
    std::uint8_t ttl = 64;  // RFC 9293 3.9.1.1, MUST-49
    // At least three minutes (RFC 9293 3.8.3, MUST-23; Linux stops at 6, two minutes).
    std::uint32_t syn_retries = 7;
};

// What a takeover does with a connection whose application's output differs from the primary's (design.md 4).
enum class DivergencePolicy : std::uint8_t {
    reset,    // RST
    uncover,  // nothing is sent; it is treated as unknown from then on
    keep,     // goes on, with the primary's bytes where they were sent; the client may get wrong bytes
};

// How a service is replicated.
struct Replication {
    DivergencePolicy divergence = DivergencePolicy::reset;
    bool align_requests = false;  // rules.md 12
    // Its answers depend on more than the connection at hand: covered once Stack::attest said that its state is
    // the primary's (rules.md 5).
    bool stateful = false;
};

struct ShadowSettings {
    // How long a gap that the primary has acknowledged may be due to reordering on the mirror.
    Duration hole_grace = std::chrono::milliseconds(50);
    // There is a repair source: what is missing may be filled for this long before the connection is given up.
    // Zero: there is none.
    Duration repair_deadline{};
    // Most bytes of one connection that wait while the shadow application lags.
    std::uint32_t lag_budget_bytes = 8 << 20;
    // Most bytes that wait on all connections together, in either direction.
    std::uint64_t total_budget_bytes = 1 << 30;
    // A half-open handshake that nobody completes is forgotten after this.
    Duration half_open_timeout = std::chrono::seconds(60);
    // A connection that the primary has closed is kept this long for stragglers on the mirror, and for an
    // application that is still behind.
    Duration closed_linger = std::chrono::seconds(2);
    // A connection that RST has ended goes on so long: frames that crossed the RST, or that it overtook on the
    // mirror, still count. No longer than closed_linger.
    Duration reset_grace = std::chrono::milliseconds(50);
    // A connection older than the replica is forgotten when its client was not seen for this long.
    Duration too_old_idle = std::chrono::minutes(10);
    // An equal-length difference is passed once so many equal bytes followed; 0: never (rules.md 12).
    std::uint32_t equal_bytes_to_cover = 64;
    // An application has finished its answer when it has written nothing for so long, where requests are
    // aligned.
    Duration align_quiet = std::chrono::milliseconds(100);
    // Accept a TCP or IPv4 header checksum that the sender left to its NIC (rules.md 6).
    bool accept_unfilled_checksums = false;
    // After the promotion a client is asked for its own numbers at most so often (rules.md 23).
    Duration probe_interval = std::chrono::milliseconds(500);
    // How long a client may stand ahead of what was received here before it is reset: a few of its time-outs,
    // the outage included, within these bounds (rules.md 3).
    Duration resend_patience_min = std::chrono::seconds(1);
    Duration resend_patience_max = std::chrono::seconds(10);
    // How long after the promotion segments of the primary may still reach clients: acknowledgements ahead of
    // all that is known here are believed until then.
    Duration late_delivery = std::chrono::seconds(3);
    // Host-unreachable messages that take back the client's back-off (RFC 6069), to each client of which the
    // mirror showed nothing unacknowledged; IPv4. 0: none.
    std::uint8_t unreachable_kicks = 8;
    // Fragmentation-needed, one byte below the MTU: the client resends at once what it has in flight, and
    // keeps the smaller path MTU for ten minutes. IPv4.
    bool path_mtu_kick = false;
    // The congestion window of a promoted connection begins with the flight observed; without it, as that of
    // a new connection.
    bool warm_start = true;
    // Promote connections whose options were partly inferred (rules.md 4).
    bool cover_inferred = false;
};

// An answer of the shadow application and the primary's equal one cancel each other, whichever is seen first
// (rules.md 27). Each kind waits within these bounds.
struct UdpSettings {
    // How long one waits for the other. What the application answered and the primary did not is sent at
    // promotion.
    Duration hold = std::chrono::milliseconds(200);
    // Beyond these the oldest make room.
    std::uint32_t hold_datagrams = 4096;
    std::uint32_t hold_bytes = 4 << 20;
    std::uint32_t max_peers = 1 << 14;  // clients whose link-level address is remembered
    std::uint8_t ttl = 64;
    // Taps that may show one datagram each (ReceivedFrame::tap), at most max_taps. Of more than one, the copies
    // that come within this time of each other are one datagram.
    std::uint8_t taps = 1;
    Duration tap_skew = std::chrono::milliseconds(50);
    std::uint32_t max_tap_copies = 1 << 14;  // datagrams whose copies may still come; the oldest makes room
};
inline constexpr std::uint8_t max_taps = 8;

// Packets that are put together from fragments. Beyond the bounds the oldest make room.
struct FragmentSettings {
    Duration timeout = std::chrono::seconds(60);  // from the first piece (RFC 1122 3.3.2, RFC 8200 4.5)
    std::uint32_t max_packets = 256;
    std::uint32_t max_pieces = 128;  // of one packet
    std::uint64_t budget_bytes = 4 << 20;
};

// `length` leading bits of `prefix`, as of IPv4 of its 32. `gateway` ::, the default: they are on the link.
struct Route {
    IpAddress prefix;
    std::uint8_t length = 0;
    IpAddress gateway;
};

// RFC 4861 10's constants, for ARP as well.
struct NeighbourSettings {
    Duration retransmit = std::chrono::seconds(1);
    std::uint32_t solicitations = 3;  // unanswered, and the neighbour is unreachable
    Duration reachable = std::chrono::seconds(30);
    Duration delay = std::chrono::seconds(5);  // from use of what is no longer confirmed to its verification
    std::uint32_t max_entries = 1024;          // the least recently used makes room
    std::uint32_t queue_frames = 32;           // that wait for one neighbour
};

struct Settings {
    std::vector<Endpoint> services;      // over TCP
    std::map<Endpoint, Replication> replication;  // of TCP services, where not the default
    std::vector<Endpoint> udp_services;  // an endpoint may be both
    // Further addresses of this host: answered for like a service address, and usable by active opens.
    std::vector<IpAddress> addresses;
    // Services may have loopback addresses (RFC 1122 3.2.1.3): for captures taken within a host.
    bool loopback_services = false;
    LinkAddress link_address;  // of the replica's service port
    Mode initial_mode = Mode::silent;
    // Where several instances share a host's addresses, one a core, one alone announces them, and answers ARP
    // and echo requests.
    bool speaks_for_host = true;
    std::size_t mtu = 1500;
    // IEEE 802.1Q tag of the service port, both ways, 1 to 4094. Without one, tagged frames are refused.
    std::optional<std::uint16_t> vlan;
    // Where peers are whose link-level address no frame has shown. With routes, a client that the mirror
    // showed only on its way in is resolved by them, for what leads here may not lead back (rules.md 26).
    std::vector<Route> routes;
    NeighbourSettings neighbours;
    // Of several instances, each with its share of the flows: whether a flow (client, service) is this one's.
    // Fragments reach them all; what they hold shows only in the whole. Empty: every flow is. The same ports
    // over TCP and over UDP are two flows.
    std::function<bool(wire::IpProtocol, const Endpoint&, const Endpoint&)> owns_flow;
    // Of TCP and UDP. `port` only where every frame leaves by a port that fills them in.
    wire::Summing transport_checksums = wire::Summing::here;
    // Segments that leave together go to the sink as one frame, of an IP packet of so many bytes at most, which
    // its port cuts (TSO). Only where that fills in checksums as well. 0: every segment is a frame.
    std::uint32_t super_segment_bytes = 0;
    std::uint32_t max_connections = 1 << 16;
    // Most memory that all connections together may hold for bytes that came before earlier ones.
    std::uint64_t reassembly_budget_bytes = 256 << 20;
    // After promotion, frames of unknown connections are dropped, not answered with RST, for this long.
    Duration unknown_grace = std::chrono::seconds(3);
    // Unreachable ports and protocols reported to their senders, about, as master; 0: none.
    std::uint32_t icmp_errors_per_second = 100;
    // Claims of others to our addresses are answered at most this often (RFC 5227 2.4).
    Duration defend_interval = std::chrono::seconds(10);
    // With each announcement, ask whether somebody else holds the address (RFC 5227 2.1.1's probe, at a time
    // when it delays nothing): the owner that answers is a conflict.
    bool conflict_probes = true;
    // When the announcement is repeated after promotion.
    std::vector<Duration> announce_repeats = {std::chrono::milliseconds(50), std::chrono::milliseconds(250),
                                              std::chrono::seconds(1), std::chrono::seconds(3)};
    TcpSettings tcp;
    UdpSettings udp;
    ShadowSettings shadow;
    FragmentSettings fragments;
};

}  // namespace understudy::stack
