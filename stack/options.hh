// What an application may ask of one connection, or of all that a service accepts: the socket options.
#pragma once

#include <cstdint>
#include <optional>

#include "stack/time.hh"

namespace understudy::stack {

struct ConnectionOptions {
    bool nodelay = false;         // TCP_NODELAY: no waiting for small segments to grow (RFC 9293 3.7.4)
    bool cork = false;            // TCP_CORK: only full segments, until it is cleared
    bool keepalive = false;       // SO_KEEPALIVE; off unless asked for (RFC 9293 3.8.4, MUST-25)
    bool abort_on_close = false;  // SO_LINGER with 0: close() sends RST
    Duration keepalive_idle = std::chrono::hours(2);  // at least this by default (MUST-28)
    Duration keepalive_interval = std::chrono::seconds(75);
    std::uint8_t keepalive_count = 9;
    // Time without progress after which the connection is given up (RFC 9293 3.8.3, RFC 5482; local only).
    // Nothing: TcpSettings::user_timeout.
    std::optional<Duration> user_timeout = std::nullopt;
    // TCP_LINGER2: how long close() waits for the peer's FIN. Nothing: TcpSettings::fin_wait_2_timeout.
    std::optional<Duration> fin_wait_2_timeout = std::nullopt;
    std::uint32_t receive_buffer_bytes = 0;  // SO_RCVBUF; fixed then, 0: the setting, and tuned
    std::uint32_t send_buffer_bytes = 0;     // SO_SNDBUF; 0: the setting
    std::uint16_t max_segment = 0;           // TCP_MAXSEG: the most that is offered and sent; 0: the setting

    friend bool operator==(const ConnectionOptions&, const ConnectionOptions&) = default;
};

}  // namespace understudy::stack
