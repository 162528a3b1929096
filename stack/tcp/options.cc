// The options of one connection, and the defaults of each service.
#include "stack/options.hh"

#include <algorithm>

#include "stack/tcp/core.hh"

namespace understudy::stack::tcp {

const ConnectionOptions& options_of(const Core& core, const Connection& c) {
    const bool own = c.rare_state != nullptr && c.rare_state->options;
    return own ? *c.rare_state->options : core.settings.tcp.options;
}

Duration user_timeout_of(const Core& core, const Connection& c) {
    return options_of(core, c).user_timeout.value_or(core.settings.tcp.user_timeout);
}

std::uint32_t send_buffer_of(const Core& core, const Connection& c) {
    const std::uint32_t asked = options_of(core, c).send_buffer_bytes;
    return asked != 0 ? asked : core.settings.tcp.send_buffer_bytes;
}

std::uint16_t offered_mss(const Core& core, const Connection& c) {
    const std::uint16_t asked = options_of(core, c).max_segment;
    const std::uint16_t largest = std::min(core.settings.tcp.mss, core.interface_mss(c.key.remote));
    return asked != 0 ? std::min(asked, largest) : largest;
}

std::uint8_t traffic_class_of(const Core& core, const Connection& c) {
    return options_of(core, c).traffic_class & 0xfc;
}

void give_options(Core& core, Connection& c, const ConnectionOptions& options) {
    if (options != core.settings.tcp.options)
        c.rare().options = options;
    else if (c.rare_state != nullptr)
        c.rare_state->options.reset();
    c.nodelay = options.nodelay;
    c.cork = options.cork;
}

void app_set_options(Core& core, Connection& c, const ConnectionOptions& options) {
    const ConnectionOptions old = options_of(core, c);
    give_options(core, c, options);
    if (options.receive_buffer_bytes != 0 && options.receive_buffer_bytes != old.receive_buffer_bytes)
        size_receive_buffer(core, c);
    if (options.max_segment != 0) c.mss = std::min(c.mss, std::max(options.max_segment, least_send_mss));
    if (c.is_silent()) return;
    const bool times_changed = options.keepalive != old.keepalive ||
                               options.keepalive_idle != old.keepalive_idle ||
                               options.keepalive_interval != old.keepalive_interval;
    if (options.keepalive && times_changed) start_keepalive(core, c);
    c.push_once = options.nodelay;
    core.mark_dirty(c);  // what nodelay or cork held back
}

void app_acknowledge(Core& core, Connection& c, bool quickly) {
    if (!quickly) {
        c.interactive = true;
        return;
    }
    c.interactive = false;
    if (c.ack_due && !c.is_silent()) {
        c.ack_now = true;
        core.mark_dirty(c);
    }
}

}  // namespace understudy::stack::tcp
