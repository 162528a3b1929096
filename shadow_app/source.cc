#include "shadow_app/source.hh"

#include <algorithm>
#include <array>

#include "shadow_app/decimal.hh"
#include "shadow_app/pattern.hh"

namespace understudy::shadow_app {
namespace {

constexpr std::string_view verb = "send ";
constexpr std::string_view error_line = "error\n";
constexpr std::size_t source_chunk_bytes = 16 * 1024;

struct SourceState final : ConnectionState {
    std::string line;  // the unfinished one
    std::optional<std::uint64_t> stream;
    std::uint64_t asked = 0;
    std::uint64_t written = 0;
    std::string_view last_words;  // behind what was asked for
    bool ending = false;          // nothing further is asked for; FIN comes last
    bool ended = false;           // FIN was asked for
};

SourceState& source_of(Connection& connection) {
    return static_cast<SourceState&>(*connection.state);
}

void take_line(SourceState& state) {
    const auto request = parse_source_request(state.line);
    state.line.clear();
    const bool acceptable = request && state.stream.value_or(request->stream) == request->stream &&
                            request->bytes <= SourceRequest::max_bytes - state.asked;
    if (!acceptable) {
        state.last_words = error_line;
        state.ending = true;
        return;
    }
    state.stream = request->stream;
    state.asked += request->bytes;
}

// Writes what is asked for, until the connection takes no more.
void write_asked(Connection& connection, SourceState& state) {
    std::array<std::byte, source_chunk_bytes> chunk;
    while (state.written < state.asked) {
        const std::size_t wanted =
            std::min<std::uint64_t>({state.asked - state.written, chunk.size(),
                                     std::max<std::size_t>(connection.writable_bytes(), 1)});
        const auto bytes = std::span(chunk).first(wanted);
        fill_pattern(*state.stream, state.written, bytes);
        const std::size_t taken = connection.write(bytes);
        state.written += taken;
        if (taken < wanted) return;
    }
    if (!state.ending || state.ended) return;
    state.last_words.remove_prefix(connection.write(std::as_bytes(std::span(state.last_words))));
    state.ended = state.last_words.empty();
    if (state.ended) connection.shutdown_write();
}

}  // namespace

std::optional<SourceRequest> parse_source_request(std::string_view line) {
    if (line.size() > SourceRequest::max_line_bytes || !line.starts_with(verb)) return std::nullopt;
    line.remove_prefix(verb.size());
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos) return std::nullopt;
    SourceRequest request;
    if (!parse_decimal(line.substr(0, space), request.bytes) ||
        !parse_decimal(line.substr(space + 1), request.stream))
        return std::nullopt;
    if (request.bytes == 0 || request.bytes > SourceRequest::max_bytes) return std::nullopt;
    return request;
}

std::string format_source_request(const SourceRequest& request) {
    return std::string(verb) + std::to_string(request.bytes) + " " + std::to_string(request.stream) + "\n";
}

void Source::accepted(Connection& connection) {
    connection.state = std::make_unique<SourceState>();
}

std::size_t Source::received(Connection& connection, std::span<const std::byte> bytes) {
    SourceState& state = source_of(connection);
    const bool was_idle = state.written == state.asked;
    for (const std::byte byte : bytes) {
        if (state.ending) break;
        const char character = static_cast<char>(byte);
        if (character != '\n') state.line += character;
        if (character == '\n' || state.line.size() > SourceRequest::max_line_bytes) take_line(state);
    }
    // Else writable() goes on.
    if (was_idle) write_asked(connection, state);
    return bytes.size();
}

void Source::peer_closed(Connection& connection) {
    SourceState& state = source_of(connection);
    if (state.ending) return;
    state.ending = true;
    if (state.written == state.asked) write_asked(connection, state);
}

void Source::writable(Connection& connection) {
    write_asked(connection, source_of(connection));
}

}  // namespace understudy::shadow_app
