// One stack between a hostile network and an application that knows every byte it should get: what may never
// happen is checked at each step.
//
// Every byte of a stream is a function of its sequence number, so that a byte in the wrong place shows at
// once.
#pragma once

#include <deque>
#include <optional>
#include <vector>

#include "fuzz/packet.hh"
#include "stack/stack.hh"

namespace understudy::fuzz {

// The client's byte and the service's byte at a sequence number.
std::byte client_byte(std::uint32_t seq);
std::byte service_byte(std::uint32_t seq);
// True when `a` is before `b` in sequence space.
bool is_before(std::uint32_t a, std::uint32_t b);

class World final : private stack::FrameSink, private stack::ConnectionEvents, private stack::RandomSource {
  public:
    explicit World(const stack::Settings& settings);

    void receive(stack::Source source, std::span<const std::byte> frame);
    // Lets time pass; every timer runs at its own instant.
    void pass(stack::Duration time);
    void promote();
    void connect(const Endpoint& local, const Endpoint& remote, const LinkAddress& link);
    // Calls of the application on the connection that was opened last, if any.
    void send(std::uint32_t length);
    void shutdown_send();
    void abort();
    void resume_receive(std::size_t appetite);

    bool is_master() const { return may_speak_; }
    stack::Instant now() const { return now_; }
    // The TCP segments sent since the last call, read and checked.
    std::vector<SentTcp> take_sent();
    // The next `count` frames find no transmit buffer.
    void refuse_frames(std::uint32_t count) { refused_ = count; }
    // The primary has sent bytes that are not service_byte's: what we send again need not be either.
    void taint() { tainted_ = true; }
    // There is one flow only, its bytes are those of client_byte and service_byte, and the windows advertised
    // have this scale: all of that is checked.
    void follow_flow(std::uint8_t own_scale) { own_scale_ = own_scale; }
    // What holds between two calls.
    void check();

  private:
    std::span<std::byte> reserve(std::size_t length) override;
    void commit() override;
    std::uint64_t next() override { return random_ += 0x9e3779b97f4a7c15; }
    void accepted(stack::ConnectionId id, const Endpoint& client, const Endpoint& service) override;
    void connected(stack::ConnectionId id) override;
    std::size_t received(stack::ConnectionId id, std::span<const std::byte> bytes) override;
    void peer_closed(stack::ConnectionId id) override;
    void writable(stack::ConnectionId id) override;
    void closed(stack::ConnectionId id, stack::CloseReason reason) override;
    // Answered with its own bytes.
    void datagram(const Endpoint& service, const Endpoint& client, std::span<const std::byte> bytes) override;

    void begin(stack::ConnectionId id);
    void check_sent(const SentTcp& sent);
    void check_connection(const stack::ConnectionSnapshot& snapshot) const;

    struct Incarnation {
        stack::ConnectionId id;
        std::uint32_t next_seq = 0;  // of the byte that the application gets next
        bool peer_closed = false;
    };

    stack::Settings settings_;
    stack::Instant now_ = stack::Instant(std::chrono::hours(1));
    bool may_speak_;
    bool tainted_ = false;
    std::optional<std::uint8_t> own_scale_;
    std::uint32_t refused_ = 0;
    std::uint64_t random_ = 1;
    std::size_t appetite_ = SIZE_MAX;
    std::optional<Incarnation> open_;
    bool peer_ended_ = false;  // the last connection's peer sends no more
    std::optional<std::uint32_t> advertised_edge_;
    std::optional<std::uint32_t> acknowledged_;
    std::vector<std::byte> pending_;
    std::deque<std::vector<std::byte>> frames_;
    std::vector<std::vector<std::byte>> taken_;  // what take_sent's result points into
    stack::Stack stack_;
};

}  // namespace understudy::fuzz
