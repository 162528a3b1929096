// A stack under measurement with its application, and the clients that it serves.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "bench/clients.hh"
#include "stack/stack.hh"

namespace understudy::bench {

// What the application does with what it gets.
enum class Behaviour : std::uint8_t {
    discard,
    answer,  // as many bytes back, at once
};

// A poll loop around a stack, whoever wrote that.
class Server {
  public:
    virtual ~Server() = default;
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    std::size_t connections() const { return connections_; }
    // Memory that came with the connections, tables included, when all were open and idle.
    std::size_t idle_allocated_bytes() const { return idle_allocated_bytes_; }
    std::size_t idle_resident_bytes() const { return idle_resident_bytes_; }

    Clients clients;
    Behaviour behaviour = Behaviour::discard;

    // Turns of a poll loop, one for each burst of the frames and calls that were added, at most batch_size of
    // each; returns the seconds of processor time that they took.
    double poll();
    void add_segment(std::size_t client, std::uint8_t flags, std::uint32_t payload_length);
    // Called in the turns of the next poll().
    void send(std::size_t client, std::uint32_t length) { sends_.emplace_back(client, length); }
    std::size_t random_client();
    // Opens connections, at most batch_size; returns the seconds.
    double open(std::span<const std::size_t> which);

    std::uint64_t frames_sent() const { return frames_sent_; }
    // Payload that the application got.
    std::uint64_t bytes_received() const { return bytes_received_; }
    // Segments that the stack did not take, resets included.
    virtual std::uint64_t refused() const = 0;

  protected:
    explicit Server(std::size_t connections);
    // Opens all connections; none holds a buffer afterwards. Once, when the stack is there.
    void open_all();

    virtual void receive(std::span<const stack::ReceivedFrame> burst) = 0;
    virtual void advance() = 0;
    virtual void write(std::size_t client, std::span<const std::byte> bytes) = 0;

    // A frame leaves.
    void note_sent(std::span<const std::byte> frame);
    // The client of an endpoint.
    static std::size_t client_of(const stack::Endpoint& client);
    stack::Instant now() const { return now_; }
    std::uint64_t draw();

    std::uint64_t bytes_received_ = 0;
    std::uint64_t opened_ = 0;

  private:
    std::uint32_t tsval() const;

    std::size_t connections_;
    std::size_t idle_allocated_bytes_ = 0;
    std::size_t idle_resident_bytes_ = 0;
    std::vector<std::pair<std::size_t, std::uint32_t>> sends_;
    std::vector<std::array<std::byte, max_frame>> buffers_;
    std::vector<stack::ReceivedFrame> frames_;
    std::vector<std::byte> payload_;
    bool handshakes_ = false;
    std::uint64_t frames_sent_ = 0;
    std::uint64_t random_ = 1;
    stack::Instant now_ = stack::Instant(std::chrono::hours(1));
};

class UnderstudyServer final : public Server,
                               private stack::FrameSink,
                               private stack::ConnectionEvents,
                               private stack::RandomSource {
  public:
    explicit UnderstudyServer(std::size_t connections);
    std::uint64_t refused() const override;

  private:
    void receive(std::span<const stack::ReceivedFrame> burst) override { stack_->receive(burst, now()); }
    void advance() override { stack_->advance(now()); }
    void write(std::size_t client, std::span<const std::byte> bytes) override {
        stack_->send(ids_[client], bytes, now());
    }

    std::span<std::byte> reserve(std::size_t length) override;
    void commit() override { note_sent(std::span(out_).first(reserved_)); }
    std::uint64_t next() override { return draw(); }
    void accepted(stack::ConnectionId id, const stack::Endpoint& client, const stack::Endpoint&) override;
    void connected(stack::ConnectionId) override {}
    std::size_t received(stack::ConnectionId id, std::span<const std::byte> bytes) override;
    void peer_closed(stack::ConnectionId id) override { stack_->shutdown_send(id, now()); }
    void writable(stack::ConnectionId) override {}
    void closed(stack::ConnectionId, stack::CloseReason) override {}

    std::vector<stack::ConnectionId> ids_;
    std::array<std::byte, max_frame> out_;
    std::size_t reserved_ = 0;
    std::unique_ptr<stack::Stack> stack_;
};

}  // namespace understudy::bench
