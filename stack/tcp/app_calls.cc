// What the application asks for (RFC 9293 3.10.2 to 3.10.5), one entry for both modes.
#include <algorithm>

#include "stack/tcp/ack_news.hh"

namespace understudy::stack::tcp {
namespace {

// After promotion output that differs ends the connection, for the client holds bytes that the application
// never wrote.
void doom(Core& core, Connection& c, Seq at) {
    if (c.keeps_difference) return;
    uncover(core, c, Coverage::diverged, distance(c.iss + 1, at));
    c.doomed = true;
    c.life_at = core.now;  // not here: the application is in the middle of a call
    core.arm(c);
}

}  // namespace

std::size_t app_send(Core& core, Connection& c, wire::Bytes bytes, bool more, WriteEnd end) {
    if (c.send_shut) return 0;
    c.more_coming = c.more_waits = more;
    if (bytes.empty()) {
        if (!c.is_silent()) core.mark_dirty(c);
        return 0;
    }
    if (!tracks_output(c)) {
        c.bytes_sent += bytes.size();
        return bytes.size();
    }
    const SendQueue::Written written = c.send_queue.write_app(bytes, send_buffer_of(core, c));
    c.bytes_sent += written.taken;
    c.send_blocked = written.taken < bytes.size();
    const bool primary_ended = c.is_silent() ? c.shadow->has_primary_fin : c.promoted && c.fin_queued;
    const Seq primary_fin = c.is_silent() ? c.shadow->primary_fin : c.fin_seq;
    const bool beyond_end = primary_ended && c.send_queue.app_nxt() > primary_fin;
    if (c.is_silent()) {
        note_output(core, c);
        note_comparison(core, c, written);
        if (beyond_end) note_end_difference(core, c, primary_fin);
        charge_memory(core, c);
        if (is_abandoned(c) || (c.send_blocked && c.coverage == Coverage::diverged)) {
            give_up(core, c);
            return bytes.size();
        }
        if (is_withheld(c)) check_coverage(core, c);
        if (c.send_queue.app_nxt() > c.send_queue.primary_nxt()) core.watch.application_ahead(core.now);
        // Ends the connection where the primary's end was all that it waited for.
        if (apply_client_acks(core, c)) (void)finish_if_done(core, c);
        return written.taken;
    }
    if (written.differs_at)
        doom(core, c, *written.differs_at);
    else if (beyond_end)
        doom(core, c, primary_fin);
    advance_to_parked(core, c);
    if (end == WriteEnd::urgent && written.taken == bytes.size()) {
        c.rare().has_snd_up = true;
        c.rare().snd_up = c.send_queue.app_nxt();
    }
    if (end != WriteEnd::none && written.taken == bytes.size()) {
        if (c.marks() == nullptr) c.rare().marks = std::make_unique<SendMarks>();
        c.marks()->add(c.send_queue.app_nxt(), end);
    }
    // What the peer had acknowledged before the application wrote it makes room only here.
    const ConnectionId id = c.id();
    release_acked(core, c);
    if (core.table.find(id) != nullptr) core.mark_dirty(c);
    return written.taken;
}

std::size_t app_send_room(const Core& core, const Connection& c) {
    if (c.send_shut) return 0;
    const std::uint32_t limit = send_buffer_of(core, c);
    if (!tracks_output(c)) return limit;
    const std::uint32_t fresh = limit > c.send_queue.bytes() ? limit - c.send_queue.bytes() : 0;
    return distance(c.send_queue.app_nxt(), c.send_queue.end()) + fresh;
}

void app_shutdown_send(Core& core, Connection& c) {
    if (c.send_shut) return;
    c.send_shut = true;
    c.send_blocked = c.more_coming = c.more_waits = false;
    if (c.is_silent()) {
        // No FIN until the primary's is seen, or until we serve (rules.md 10).
        if (c.send_queue.app_nxt() < c.send_queue.primary_nxt())
            note_end_difference(core, c, c.send_queue.app_nxt());
        (void)finish_if_done(core, c);
        return;
    }
    if (!c.fin_queued) {
        c.fin_queued = true;
        c.fin_seq = c.send_queue.end();
    }
    core.mark_dirty(c);
    (void)finish_if_done(core, c);
}

void app_close(Core& core, Connection& c) {
    if (c.detached) return;
    const bool unread = !c.unread.empty();
    // Unread bytes would never be: the peer must not take them for delivered.
    if (!c.is_silent() && (unread || options_of(core, c).abort_on_close || c.state == State::syn_sent))
        return app_abort(core, c);
    c.detached = true;
    c.unread.clear();
    c.peer_close_told = true;
    const ConnectionId id = c.id();
    app_shutdown_send(core, c);
    if (core.table.find(id) == nullptr || !core.tell_closed(c, CloseReason::finished)) return;
    limit_fin_wait_2(core, c);
    (void)finish_if_done(core, c);
}

void app_abort(Core& core, Connection& c) {
    if (!c.is_silent() && c.state != State::time_wait && c.state != State::syn_sent)
        send_reset(core, c, c.snd_nxt);
    core.finish(c, CloseReason::aborted);
}

void app_resume_receive(Core& core, Connection& c) {
    const std::uint32_t waiting = c.unread.size();
    if (!offer_unread(core, c) || c.unread.size() == waiting) return;
    if (c.is_silent()) {
        if (is_withheld(c)) check_coverage(core, c);
        return;
    }
    note_input_read(core, c);
}

}  // namespace understudy::stack::tcp
