// A server of bulk downloads.
//
// The client sends lines "send BYTES STREAM\n"; the server answers each with the next BYTES bytes of stream
// number STREAM (pattern.hh), which is one number for all of a connection. Lines may be sent before earlier
// ones are answered. After the client's FIN the server sends what was asked for, then FIN. A line that is
// longer than 64 bytes, is not of that form, names another stream, or asks for more than max_bytes in all
// gets "error\n" and FIN, behind what was asked for before it.
//
// How much is written depends on the client's lines alone, never on how fast anything goes: two servers with
// buffers of different sizes write the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "shadow_app/application.hh"

namespace understudy::shadow_app {

struct SourceRequest {
    static constexpr std::size_t max_line_bytes = 64;  // without the newline
    static constexpr std::uint64_t max_bytes = std::uint64_t{1} << 62;

    std::uint64_t bytes = 0;  // 1 to max_bytes
    std::uint64_t stream = 0;
    friend bool operator==(const SourceRequest&, const SourceRequest&) = default;
};

// The request in `line`, which has no newline; nothing when it is malformed or out of bounds.
std::optional<SourceRequest> parse_source_request(std::string_view line);
// The line that asks for it, newline included.
std::string format_source_request(const SourceRequest& request);

class Source final : public Application {
  public:
    void accepted(Connection& connection) override;
    std::size_t received(Connection& connection, std::span<const std::byte> bytes) override;
    void peer_closed(Connection& connection) override;
    void writable(Connection& connection) override;
};

}  // namespace understudy::shadow_app
