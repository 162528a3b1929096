// The conversation that both sides of an interoperation test hold over one connection, whoever is the kernel.
//
//   client → server   a request, `up_bytes` of the pattern, FIN
//   server → client   `down_bytes` of the pattern, a receipt (how many bytes came, how many of them were
//   right),
//                     FIN
//
// Each side compares every byte. Numbers are big-endian; kernel_peer.py holds the same conversation.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "shadow_app/application.hh"
#include "tests/interop/pattern.hh"

namespace understudy::interop {

struct Request {
    static constexpr std::size_t bytes = 40;
    // The server sends nothing before the client's FIN: the half-closed connection carries all of it.
    static constexpr std::uint32_t answer_last = 1;
    // The server resets the connection once it has read everything.
    static constexpr std::uint32_t reset_by_server = 2;
    // The client resets the connection once it has read half of what the server sends.
    static constexpr std::uint32_t reset_by_client = 4;

    std::uint32_t flags = 0;
    std::uint64_t up_bytes = 0;
    std::uint64_t down_bytes = 0;
    std::uint64_t key = 0;
    // The server reads at most so many bytes, then pauses; 0: it reads all there is.
    std::uint32_t server_reads_bytes = 0;
    std::uint32_t server_pause_us = 0;

    bool has(std::uint32_t flag) const { return (flags & flag) != 0; }
};

std::array<std::byte, Request::bytes> encode(const Request& request);
// Nothing when it is no request.
std::optional<Request> decode(std::span<const std::byte, Request::bytes> bytes);

inline constexpr std::size_t receipt_bytes = 16;

// Reads at its own pace: so many bytes, then a pause.
struct Pace {
    std::uint32_t reads_bytes = 0;  // 0: no bound
    std::uint32_t pause_us = 0;
};

// What became of one connection. `fault` is empty where all was as it should.
struct Outcome {
    std::string fault;
    std::uint64_t received = 0;
    std::uint64_t sent = 0;
};

// Hears the end of each connection.
using OnOutcome = std::function<void(const Outcome&)>;

class TransferServer final : public shadow_app::Application {
  public:
    explicit TransferServer(OnOutcome on_outcome) : on_outcome_(std::move(on_outcome)) {}

    void accepted(shadow_app::Connection& connection) override;
    std::size_t received(shadow_app::Connection& connection, std::span<const std::byte> bytes) override;
    void peer_closed(shadow_app::Connection& connection) override;
    void writable(shadow_app::Connection& connection) override;
    void timer(shadow_app::Connection& connection) override;
    void closed(shadow_app::Connection& connection, shadow_app::CloseReason reason) override;

  private:
    OnOutcome on_outcome_;
};

// Every connection of one client asks for the same.
class TransferClient final : public shadow_app::Application {
  public:
    TransferClient(const Request& request, const Pace& pace, OnOutcome on_outcome)
        : request_(request), pace_(pace), on_outcome_(std::move(on_outcome)) {}

    void accepted(shadow_app::Connection& connection) override;
    std::size_t received(shadow_app::Connection& connection, std::span<const std::byte> bytes) override;
    void peer_closed(shadow_app::Connection& connection) override;
    void writable(shadow_app::Connection& connection) override;
    void timer(shadow_app::Connection& connection) override;
    void closed(shadow_app::Connection& connection, shadow_app::CloseReason reason) override;

  private:
    const Request request_;
    const Pace pace_;
    OnOutcome on_outcome_;
};

}  // namespace understudy::interop
