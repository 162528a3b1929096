// A plain copy of one connection, for the operator's command, for tests and for debugging.
#pragma once

#include <cstdint>
#include <optional>

#include "stack/address.hh"
#include "stack/difference.hh"
#include "stack/interfaces.hh"
#include "stack/time.hh"

namespace understudy::stack {

// RFC 9293 3.3.2. LISTEN and CLOSED have no connection record here.
enum class State : std::uint8_t {
    syn_sent,
    syn_received,
    established,
    fin_wait_1,
    fin_wait_2,
    close_wait,
    closing,
    last_ack,
    time_wait,
};
const char* to_string(State state);

// Would a takeover at this moment be invisible to the client, and why not (design.md 4, rules.md 1).
enum class Coverage : std::uint8_t {
    covered,
    half_open,        // the handshake is not complete: completed at takeover
    inferred,         // options not seen on the mirror
    hole,             // the primary acknowledged client bytes that the mirror did not show
    uncompared,       // the client acknowledged primary bytes that the mirror did not show
    diverged,         // the application's output differs from the primary's
    too_old,          // began before the replica watched
    over_budget,      // the application lags further than the budget allows
    conflicting,      // the mirror showed client bytes in two versions
    not_continuable,  // uses what only the primary can continue: see Hindrance
    state,            // the program's state is not known to be that of the primary's: see ServiceState
};
const char* to_string(Coverage coverage);

// What of a connection only its primary can continue.
enum class Hindrance : std::uint8_t {
    none,
    authentication,  // signed segments (RFC 2385, RFC 5925): the key is the primary's
    multipath,       // RFC 8684
    fast_open,       // data in the SYN was accepted (RFC 7413)
};
const char* to_string(Hindrance hindrance);

// Is the state of a service's program known to be that of the primary's (rules.md 5)?
enum class ServiceState : std::uint8_t {
    stateless,  // what it answers on a connection depends on that connection alone: nothing to prove
    unproven,   // nobody attested it so far
    attested,
    lost,  // was attested, and since then input was missed or the program began anew
};
const char* to_string(ServiceState state);

// The sender's view of losses, by Linux's names (tcpi_ca_state).
enum class RecoveryState : std::uint8_t {
    open,
    disorder,  // something was reported out of order; nothing is known to be lost
    cwr,       // the window shrinks after an ECN echo
    recovery,  // a loss was found and is repaired (RFC 6675 5)
    loss,      // the retransmission timer expired
};
const char* to_string(RecoveryState state);

struct ConnectionSnapshot {
    ConnectionId id;
    Endpoint client;
    Endpoint service;
    State state = State::established;
    Coverage coverage = Coverage::covered;
    std::uint64_t detail = 0;  // hole, uncompared, diverged: stream offset where it begins
    // hole, uncompared: how many bytes are missing at this moment, and for how long the first of them.
    std::uint64_t missing_bytes = 0;
    Duration missing_for{};
    Hindrance hindrance = Hindrance::none;
    std::optional<Difference> difference;  // diverged: what both wrote there
    std::uint32_t output_lag_bytes = 0;    // silent: how far the application is behind the primary
    Duration lag_time{};                   // silent: and for how long, at least
    bool overlapped = false;  // silent: its input and another connection's were with the primary at one time
    std::uint32_t iss = 0;
    std::uint32_t irs = 0;
    std::uint32_t snd_una = 0;
    std::uint32_t snd_nxt = 0;  // silent: the end of what the primary sent
    std::uint32_t snd_wnd = 0;  // bytes
    std::uint32_t rcv_nxt = 0;
    std::uint32_t rcv_wnd = 0;      // bytes
    std::uint32_t primary_ack = 0;  // silent: the client bytes that the primary has acknowledged
    std::uint32_t app_nxt = 0;      // sequence number of the next byte that the application writes
    std::uint32_t unread_bytes = 0;
    std::uint32_t cwnd = 0;  // bytes
    RecoveryState recovery = RecoveryState::open;
    std::uint32_t cwnd_segments = 0;
    std::uint32_t ssthresh_segments = 0;
    std::uint32_t reordering_segments = 0;
    // Segments sent and not acknowledged, and of them: reported by SACK, lost, and sent again.
    std::uint32_t unacked_segments = 0;
    std::uint32_t sacked_segments = 0;
    std::uint32_t lost_segments = 0;
    std::uint32_t resent_segments = 0;
    std::uint64_t bytes_received = 0;
    std::uint64_t bytes_sent = 0;  // silent: written by the application
    std::uint64_t retransmitted_segments = 0;
    Duration srtt{};
    Duration rtt_variation{};
    Duration min_rtt{};
    Duration rto{};
    Duration since_data{};           // since the peer's last data, or the handshake
    std::uint16_t mss = 0;           // most payload of a segment that carries data
    bool timestamps = false;         // negotiated
    bool sack = false;               // negotiated
    bool window_scaling = false;     // negotiated
    std::uint8_t send_scale = 0;     // of the windows that the peer offers
    std::uint8_t receive_scale = 0;  // of those that we offer
    bool verified = false;           // master: the client's own numbers agreed since promotion
};

// Silent: input that the application has not read, and output of the primary that it has not written.
inline std::uint64_t lag_bytes(const ConnectionSnapshot& s) {
    return std::uint64_t{s.unread_bytes} + s.output_lag_bytes;
}

// What one TCP service stands on.
struct ServiceSnapshot {
    Endpoint service;
    ServiceState state = ServiceState::stateless;
};

// What one UDP service has seen. There are no connections: what a takeover is worth shows in how many answers
// of the application and of the primary were equal.
struct DatagramServiceSnapshot {
    Endpoint service;
    std::uint64_t received = 0;   // datagrams of clients given to the application
    std::uint64_t answered = 0;   // datagrams of the application, withheld or sent
    std::uint64_t matched = 0;    // of them: the primary sent the same
    std::uint64_t expired = 0;    // of them: the primary did not send the same in time
    std::uint64_t unmatched = 0;  // datagrams of the primary that the application did not send in time
};

}  // namespace understudy::stack
