#include "shadow_app/ticker.hh"

#include <algorithm>
#include <chrono>

#include "shadow_app/decimal.hh"

namespace understudy::shadow_app {
namespace {

// Late lines go out in pieces of this size, and at most so many pieces in one call: whoever is far behind
// does not hold up the other connections of the core.
constexpr std::size_t chunk_bytes = 16 * 1024;
constexpr int max_chunks_per_call = 64;

enum class Phase : std::uint8_t {
    subscribing,  // reads the subscribe line
    ticking,
    ending,  // writes the rest of what it began, then FIN
};

struct TickerState final : ConnectionState {
    Phase phase = Phase::subscribing;
    std::string input;
    TickerSubscription subscription;
    std::uint64_t due = 0;        // lines whose time has come
    std::uint64_t completed = 0;  // lines written to their end
    std::string pending;          // begun and not yet written
};

TickerState& state_of(Connection& connection) {
    return static_cast<TickerState&>(*connection.state);
}

// The lines that are due, as many as make a chunk. `completed` counts them as soon as they are in `pending`.
void fill_pending(TickerState& state) {
    while (state.pending.size() < chunk_bytes && state.completed < state.due)
        state.pending += format_tick(++state.completed, state.subscription.line_bytes);
}

// Writes what is due. False when the connection takes no more for now: writable() goes on.
bool write_due(Connection& connection, TickerState& state) {
    for (int chunk = 0; chunk < max_chunks_per_call; ++chunk) {
        if (state.phase == Phase::ticking) fill_pending(state);
        if (state.pending.empty()) return true;
        const std::size_t taken = connection.write(std::as_bytes(std::span(state.pending)));
        state.pending.erase(0, taken);
        if (!state.pending.empty()) return false;
    }
    return true;
}

void end(Connection& connection, TickerState& state) {
    state.phase = Phase::ending;
    connection.cancel_timer();
    if (write_due(connection, state)) connection.shutdown_write();
}

Duration interval_of(const TickerState& state) {
    return std::chrono::microseconds(state.subscription.interval_us);
}

}  // namespace

std::optional<TickerSubscription> parse_subscription(std::string_view line) {
    constexpr std::string_view verb = "subscribe ";
    if (line.size() > TickerSubscription::max_line_bytes || !line.starts_with(verb)) return std::nullopt;
    line.remove_prefix(verb.size());
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos) return std::nullopt;
    TickerSubscription subscription;
    if (!parse_decimal(line.substr(0, space), subscription.interval_us) ||
        !parse_decimal(line.substr(space + 1), subscription.line_bytes))
        return std::nullopt;
    if (subscription.interval_us == 0 || subscription.interval_us > TickerSubscription::max_interval_us ||
        subscription.line_bytes > TickerSubscription::max_line_length)
        return std::nullopt;
    return subscription;
}

std::string format_subscription(const TickerSubscription& subscription) {
    return "subscribe " + std::to_string(subscription.interval_us) + " " +
           std::to_string(subscription.line_bytes) + "\n";
}

std::string format_tick(std::uint64_t number, std::uint32_t line_bytes) {
    std::string line = "tick " + std::to_string(number);
    if (line.size() + 1 < line_bytes) line.append(line_bytes - line.size() - 1, '.');
    return line += '\n';
}

void Ticker::accepted(Connection& connection) {
    connection.state = std::make_unique<TickerState>();
}

std::size_t Ticker::received(Connection& connection, std::span<const std::byte> bytes) {
    TickerState& state = state_of(connection);
    if (state.phase != Phase::subscribing) return bytes.size();
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const std::size_t newline = text.find('\n');
    const std::size_t most = TickerSubscription::max_line_bytes + 1 - state.input.size();
    state.input += text.substr(0, std::min(newline, most));
    if (newline == std::string_view::npos && state.input.size() <= TickerSubscription::max_line_bytes)
        return bytes.size();
    const auto subscription = parse_subscription(state.input);
    state.input = {};
    if (subscription) {
        state.subscription = *subscription;
        state.phase = Phase::ticking;
        connection.set_timer(interval_of(state));
    } else {
        state.pending = "error\n";
        end(connection, state);
    }
    return bytes.size();
}

void Ticker::peer_closed(Connection& connection) {
    TickerState& state = state_of(connection);
    if (state.phase != Phase::ending) end(connection, state);
}

void Ticker::writable(Connection& connection) {
    TickerState& state = state_of(connection);
    if (write_due(connection, state) && state.phase == Phase::ending) connection.shutdown_write();
}

void Ticker::timer(Connection& connection) {
    TickerState& state = state_of(connection);
    ++state.due;
    connection.set_timer(interval_of(state));
    if (state.pending.empty()) write_due(connection, state);
}

}  // namespace understudy::shadow_app
