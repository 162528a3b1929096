// A server that speaks on its own schedule.
//
// The client sends "subscribe INTERVAL_US BYTES\n"; the server answers with the lines "tick 1\n", "tick 2\n",
// ..., each padded with '.' before its newline to BYTES bytes (at least its bare length), line N being due N
// * INTERVAL_US after the subscription was read. A line that is longer than 64 bytes or is not of that form
// gets "error\n" and FIN. Input after the subscription is ignored; the client's FIN ends the ticking at the
// end of a line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "shadow_app/application.hh"

namespace understudy::shadow_app {

struct TickerSubscription {
    static constexpr std::size_t max_line_bytes = 64;  // without the newline
    static constexpr std::uint64_t max_interval_us = 3'600'000'000;
    static constexpr std::uint32_t max_line_length = 65'536;

    std::uint64_t interval_us = 0;  // 1 to max_interval_us
    std::uint32_t line_bytes = 0;   // 0 to max_line_length
    friend bool operator==(const TickerSubscription&, const TickerSubscription&) = default;
};

// The subscription in `line`, which has no newline; nothing when it is malformed or out of bounds.
std::optional<TickerSubscription> parse_subscription(std::string_view line);
// The line that asks for it, newline included.
std::string format_subscription(const TickerSubscription& subscription);
// Line `number`, newline included.
std::string format_tick(std::uint64_t number, std::uint32_t line_bytes);

class Ticker final : public Application {
  public:
    bool is_stateless() const override { return true; }
    void accepted(Connection& connection) override;
    std::size_t received(Connection& connection, std::span<const std::byte> bytes) override;
    void peer_closed(Connection& connection) override;
    void writable(Connection& connection) override;
    void timer(Connection& connection) override;
};

}  // namespace understudy::shadow_app
