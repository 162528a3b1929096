// Whether a peer that says nothing is still there (RFC 9293 3.8.4, RFC 1122 4.2.3.6).
#include "stack/tcp/core.hh"

namespace understudy::stack::tcp {

void start_keepalive(Core& core, Connection& c) {
    const bool can_idle = c.state == State::established || c.state == State::close_wait ||
                          c.state == State::fin_wait_1 || (c.state == State::fin_wait_2 && !c.detached);
    if (c.is_silent() || c.doomed || !can_idle || !options_of(core, c).keepalive) return;
    c.life_at = core.now + options_of(core, c).keepalive_idle;
    c.keepalive_probes = 0;
    core.arm(c);
}

bool on_keepalive_timer(Core& core, Connection& c) {
    const ConnectionOptions& options = options_of(core, c);
    c.life_at = never;
    if (!options.keepalive) return true;
    const auto silent_for = std::chrono::milliseconds(milliseconds(core.now) - c.heard_at);
    // What waits for an acknowledgement is a probe itself (MUST-26: only of an idle connection).
    if (c.snd_una != c.snd_max || c.snd_nxt < c.send_queue.end()) {
        c.life_at = core.now + options.keepalive_idle;
    } else if (silent_for < options.keepalive_idle) {
        c.keepalive_probes = 0;
        c.life_at = core.now + (options.keepalive_idle - silent_for);
    } else {
        const bool expired = options.user_timeout
                                 ? silent_for >= *options.user_timeout && c.keepalive_probes > 0
                                 : c.keepalive_probes >= options.keepalive_count;
        if (expired) {
            ++core.counters.tcp_keepalive_expired;
            send_reset(core, c, c.snd_nxt);
            core.finish(c, CloseReason::timed_out);
            return false;
        }
        ++c.keepalive_probes;
        ++core.counters.tcp_keepalive_probes;
        send_probe(core, c);
        c.life_at = core.now + options.keepalive_interval;
    }
    core.arm(c);
    return true;
}

}  // namespace understudy::stack::tcp
