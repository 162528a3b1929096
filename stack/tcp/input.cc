// Segments that arrive at a master, in the order of RFC 9293 3.10.7.4.
#include <algorithm>

#include "stack/tcp/core.hh"

namespace understudy::stack::tcp {
namespace {

using wire::TcpFlags;

bool is_mirrored(const Segment& segment) {
    return segment.source != Source::service;
}

// First: is it in sequence (RFC 9293 3.4)? What the last acknowledgement sent had promised to take is taken,
// and so is what stands exactly at the right edge: the acknowledgement that it carries counts (3.10.7.4,
// MUST-66) even where its bytes are refused.
bool is_acceptable(const Connection& c, const Segment& segment) {
    return segment.end() >= min(c.last_ack_sent, c.rcv_nxt) && segment.seq() <= max(c.rcv_edge, c.rcv_nxt);
}

// The numbers of an acknowledgement that overtook others: old in time, harmless, and not worth an answer.
bool is_reordered_ack(const Core& core, const Connection& c, const Segment& segment, std::int32_t age) {
    return segment.length() == 0 && segment.seq() == c.rcv_nxt && segment.ack() == c.snd_una &&
           (std::uint32_t{segment.header.window} << c.snd_scale) <= c.snd_wnd &&
           std::chrono::milliseconds(-std::int64_t{age}) <= c.rtt.rto() && !c.out_of_order &&
           segment.has(TcpFlags::ack) && core.mode == Mode::master;
}

// PAWS (RFC 7323 5.3). Segments without the option are let through, and so is one tick of disorder, as Linux
// does.
bool fails_paws(const Core& core, const Connection& c, const Segment& segment) {
    const wire::TcpOptions& options = segment.header.options;
    if (!c.timestamps || !options.timestamps_present || c.ts_recent == 0) return false;
    const auto age = static_cast<std::int32_t>(options.tsval - c.ts_recent);
    return age < -1 && !segment.has(TcpFlags::rst) &&
           seconds(core.now) - c.ts_recent_at < paws_idle_seconds && !is_reordered_ack(core, c, segment, age);
}

// RFC 7323 4.3 (2): only from the segment that the next acknowledgement answers.
void note_timestamp(const Core& core, Connection& c, const Segment& segment) {
    const wire::TcpOptions& options = segment.header.options;
    if (!c.timestamps || !options.timestamps_present || segment.seq() > c.last_ack_sent) return;
    if (static_cast<std::int32_t>(options.tsval - c.ts_recent) < 0 &&
        seconds(core.now) - c.ts_recent_at < paws_idle_seconds)
        return;
    c.ts_recent = options.tsval;
    c.ts_recent_at = seconds(core.now);
}

// Whether a RST carries the number that only the peer knows (RFC 5961 3.2): the next one, the end of what
// SACK reported, or, as some hosts send it, that of their FIN.
bool is_exact_reset(const Connection& c, const Segment& segment) {
    if (segment.seq() == c.rcv_nxt) return true;
    if (c.sack && c.out_of_order != nullptr && segment.seq() == c.out_of_order->highest()) return true;
    return c.peer_fin_taken && segment.seq() == c.rcv_nxt - 1 &&
           (c.state == State::close_wait || c.state == State::last_ack || c.state == State::closing);
}

// Second: RST (RFC 9293 3.10.7.4).
void on_reset(Core& core, Connection& c, const Segment& segment) {
    if (is_exact_reset(c, segment)) {
        const bool refused = c.active_open && !c.is_synchronized();
        return core.finish(c, refused ? CloseReason::refused : CloseReason::reset_by_peer);
    }
    ++core.counters.drop_bad_reset;
    if (is_acceptable(c, segment)) challenge_ack(core, c, segment);
}

// Fourth: SYN inside a connection.
void on_unexpected_syn(Core& core, Connection& c, const Segment& segment) {
    // TIME-WAIT gives way to a new incarnation (RFC 9293 3.6.1, RFC 6191).
    if (c.state == State::time_wait && !segment.has(TcpFlags::ack) && segment.seq() > c.rcv_nxt &&
        !is_mirrored(segment)) {
        core.finish(c, CloseReason::finished);
        listen_input(core, segment);
        return;
    }
    ++core.counters.drop_unexpected_syn;
    // A passive open goes back to LISTEN (RFC 9293 3.10.7.4, fourth); the client's next SYN finds it there.
    if (c.state == State::syn_received && !c.active_open && is_acceptable(c, segment))
        return core.finish(c, CloseReason::finished);
    challenge_ack(core, c, segment);  // RFC 5961 4.2
}

// The client had accepted a SYN/ACK of the primary that the mirror did not show (rules.md 25): its number is
// the one before the client's acknowledgement, and what it negotiated is not known (rules.md 4).
void adopt_primarys_handshake(Core& core, Connection& c, const Segment& segment) {
    constexpr std::uint32_t ticks_beyond_cookie = 64;  // its low six bits may carry options (rules.md 11)
    const wire::TcpOptions& options = segment.header.options;
    c.iss = segment.ack() - 1;
    c.snd_nxt = c.snd_max = segment.ack();
    c.send_queue.reset(c.snd_nxt);
    c.snd_scale = 0;
    c.sack = false;
    c.timestamps = options.timestamps_present;
    if (c.timestamps) {
        // The client throws away what is older than the primary's clock.
        c.ts_offset += options.tsecr + ticks_beyond_cookie - tsval_now(core, c);
        c.ts_first_own = tsval_now(core, c);
    }
    ++core.counters.connections_inferred;
}

// Fifth, SYN-RECEIVED: the handshake's last acknowledgement. False when the segment is done with.
bool complete_handshake(Core& core, Connection& c, const Segment& segment) {
    if (!(segment.ack() > c.snd_una && segment.ack() <= c.snd_nxt)) {
        if (!c.promoted) {
            ++core.counters.drop_bad_ack;
            send_reset_for(core, segment);
            return false;
        }
        // Of the primary's number only that is known which the client has received since: beside a known one,
        // it is an answer that the mirror did not show.
        if (!c.own_isn) {
            if (segment.ack() <= c.snd_una) {
                ++core.counters.drop_bad_ack;
                return false;
            }
            Segment as_known = segment;  // what is ahead is parked once the connection is established
            as_known.header.ack = c.snd_nxt;
            return establish_passive(core, c, as_known);
        }
        if (segment.seq() != c.irs + 1) {
            // The primary has taken bytes of the client, and may have answered them.
            ++core.counters.connections_contradicted;
            if (!c.ack_parked || segment.ack() > c.parked_ack) c.parked_ack = segment.ack();
            c.ack_parked = true;
            refuse(core, c);
            return false;
        }
        adopt_primarys_handshake(core, c, segment);
    }
    return establish_passive(core, c, segment);
}

// Decides how a segment is acknowledged (RFC 9293 3.8.6.3, RFC 5681 4.2). An answer that leaves earlier
// carries it.
void acknowledge(Core& core, Connection& c, const Segment& segment, bool advanced, bool had_gap) {
    if (segment.length() == 0) return;
    if (!advanced) {
        if (is_mirrored(segment)) return;  // rules.md 18
        // Old data means that our acknowledgement was lost.
        if (segment.seq() <= c.rcv_nxt || segment.seq() >= c.rcv_edge)
            acknowledge_quickly(core, c, core.settings.tcp.quick_acks);
        return send_ack(core, c);  // a duplicate acknowledgement counts only if every segment draws its own
    }
    if (!segment.payload.empty()) note_data_received(core, c, segment);
    // The answer to the FIN of a peer that we leave to the application may go with its own (as in Linux).
    if (c.state == State::close_wait && segment.has(TcpFlags::fin)) c.interactive = true;
    const bool closing = c.peer_fin_taken && c.state != State::close_wait && c.state != State::last_ack;
    c.ack_due = true;
    if (had_gap || c.out_of_order != nullptr || closing)
        c.ack_now = true;
    else
        schedule_ack(core, c);
}

void on_unacceptable(Core& core, Connection& c, const Segment& segment) {
    ++core.counters.drop_out_of_window;
    if (segment.has(TcpFlags::rst)) {
        if (is_exact_reset(c, segment)) on_reset(core, c, segment);
        return;
    }
    if (segment.has(TcpFlags::syn)) return challenge_ack(core, c, segment);
    if (c.state == State::time_wait && segment.has(TcpFlags::fin)) {
        c.life_at = core.now + core.settings.tcp.time_wait;  // RFC 9293 3.10.7.4, eighth, TIME-WAIT
        core.arm(c);
    }
    if (!may_answer_invalid(core, c, segment)) return;
    if (segment.end() <= c.rcv_nxt) note_duplicate(c, segment.seq(), segment.end());
    c.ack_now = true;
    core.mark_dirty(c);
    if (c.state == State::syn_received) send_ack(core, c);
}

// The application has closed: bytes that nobody will read end the connection (RFC 2525 2.17).
bool refuses_data(const Connection& c, const Segment& segment) {
    return c.detached && !c.peer_fin_taken && !segment.payload.empty() &&
           segment.seq() + static_cast<std::uint32_t>(segment.payload.size()) > c.rcv_nxt;
}

// A lone SYN sent again, or the peer's half of a simultaneous open. True when that was all.
bool repeats_handshake(Core& core, Connection& c, const Segment& segment) {
    if (!segment.has(TcpFlags::syn) || segment.seq() != c.irs || segment.has(TcpFlags::rst | TcpFlags::ack))
        return false;
    if (may_answer_invalid(core, c, segment)) send_handshake(core, c);
    return true;
}

void synchronized_input(Core& core, Connection& c, const Segment& segment) {
    if (fails_paws(core, c, segment)) {
        ++core.counters.drop_paws;
        if (segment.has(TcpFlags::syn)) return challenge_ack(core, c, segment);
        if (may_answer_invalid(core, c, segment)) send_ack(core, c);
        return;
    }
    // In a simultaneous open the peer's SYN/ACK repeats its SYN (RFC 9293 figure 8).
    const bool completes_simultaneous = c.state == State::syn_received && c.active_open &&
                                        segment.has(TcpFlags::syn) && segment.has(TcpFlags::ack) &&
                                        !segment.has(TcpFlags::rst) && segment.seq() == c.irs;
    if (c.state == State::syn_received && repeats_handshake(core, c, segment)) return;
    const ConnectionId id = c.id();
    if (!is_mirrored(segment)) note_client_numbers(core, c, segment);
    if (c.state == State::time_wait && segment.has(TcpFlags::syn) && !segment.has(TcpFlags::rst))
        return on_unexpected_syn(core, c, segment);
    if (!is_acceptable(c, segment)) {
        on_unacceptable(core, c, segment);
        if (core.table.find(id) != nullptr) judge_client_numbers(core, c);
        return;
    }
    if (segment.has(TcpFlags::rst)) return on_reset(core, c, segment);
    if (segment.has(TcpFlags::syn) && !completes_simultaneous) return on_unexpected_syn(core, c, segment);
    if (!segment.has(TcpFlags::ack)) {
        ++core.counters.drop_no_flags;
        return;
    }
    if (c.state == State::syn_received && !complete_handshake(core, c, segment)) return;
    // RFC 5961 5.2: an acknowledgement from before the largest window is nobody's of this connection.
    const std::uint32_t sent_so_far = distance(c.iss, c.snd_una);
    if (segment.ack() < c.snd_una - std::min(c.max_snd_wnd, sent_so_far)) {
        ++core.counters.drop_old_ack;
        return challenge_ack(core, c, segment);
    }

    const Seq before = c.rcv_nxt;
    const std::uint32_t waiting = c.unread.size();
    const bool had_gap = c.out_of_order != nullptr;
    if (!master_ack(core, c, segment)) return;
    note_timestamp(core, c, segment);
    c.heard_at = milliseconds(core.now);
    c.keepalive_probes = 0;
    note_congestion_marks(core, c, segment);
    if (!is_mirrored(segment)) c.peer_link = segment.link_source;
    release_acked(core, c);
    if (core.table.find(id) == nullptr) return;
    if (refuses_data(c, segment)) {
        ++core.counters.drop_data_after_close;
        send_reset_for(core, segment);
        return core.finish(c, CloseReason::aborted);
    }
    if (!take_payload(core, c, segment, c.rcv_edge)) return;
    acknowledge(core, c, segment, c.rcv_nxt != before, had_gap);
    if (c.rcv_nxt != before && c.unread.size() <= waiting) note_input_read(core, c);
    judge_client_numbers(core, c);
    core.mark_dirty(c);
    if (!finish_if_done(core, c)) return;
}

// A copy from the mirror, after the promotion, counts for what it brings alone: bytes that are missing, or an
// acknowledgement that is ahead (rules.md 18).
bool brings_something(const Connection& c, const Segment& segment) {
    if (segment.has(TcpFlags::rst)) return true;
    if (segment.has(TcpFlags::syn)) return false;
    if (c.state == State::syn_received || segment.ack() > c.snd_una) return true;
    if (segment.length() == 0 || segment.end() <= c.rcv_nxt) return false;
    const Seq begin = max(segment.seq(), c.rcv_nxt);
    const auto held =
        c.out_of_order == nullptr ? std::nullopt : c.out_of_order->overlap(begin, segment.end());
    return !held || held->begin > begin || held->end < segment.end();
}

}  // namespace

void master_input(Core& core, Connection* c, const Segment& segment) {
    if (c == nullptr) {
        const bool in_grace = core.promoted_at && core.now < *core.promoted_at + core.settings.unknown_grace;
        if (is_mirrored(segment)) {
            ++core.counters.drop_tap_after_promotion;
        } else if (time_wait_input(core, segment)) {
            return;
        } else if (!is_possible_peer(segment.remote.address) || segment.link_destination.is_group()) {
            ++core.counters.drop_bad_peer;  // RFC 9293 3.9.2.3, MUST-57 and MUST-63
        } else if (core.is_service(segment.local) && !segment.has(TcpFlags::ack)) {
            listen_input(core, segment);
        } else if (Connection* const restored = accept_cookie(core, segment)) {
            synchronized_input(core, *restored, segment);
        } else if (in_grace) {
            ++core.counters.drop_unknown_connection;
        } else {
            send_reset_for(core, segment);
        }
        return;
    }
    if (c->refused) return refused_input(core, *c, segment);
    if (!is_mirrored(segment)) {
        c->service_seen = true;
    } else if (!c->promoted || !brings_something(*c, segment)) {
        ++core.counters.drop_tap_after_promotion;
        return;
    }
    if (c->state == State::syn_sent)
        syn_sent_input(core, *c, segment);
    else
        synchronized_input(core, *c, segment);
}

}  // namespace understudy::stack::tcp
