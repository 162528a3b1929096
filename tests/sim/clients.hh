// What the clients do, and what each of them saw. A client checks every byte it receives.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "shadow_app/application.hh"
#include "tests/sim/event_queue.hh"
#include "tests/sim/random.hh"

namespace understudy::sim {

// The bytes of one client's stream: any of them can be told from its offset alone.
class Pattern {
  public:
    explicit Pattern(std::uint64_t key) : key_(key) {}
    std::byte at(std::uint64_t offset) const {
        return static_cast<std::byte>(Random::mix(key_ + offset / 8) >> (offset % 8 * 8));
    }
    std::vector<std::byte> bytes(std::uint64_t offset, std::size_t count) const;
    // The offset in the stream of the first of `bytes` that differs, if one does.
    std::optional<std::uint64_t> first_difference(std::uint64_t offset,
                                                  std::span<const std::byte> bytes) const;

  private:
    std::uint64_t key_;
};

enum class AppKind : std::uint8_t { echo, discard, ticker };
const char* to_string(AppKind kind);

// The script of one connection.
struct ConnectionPlan {
    AppKind app = AppKind::echo;
    stack::Endpoint client;
    std::uint64_t pattern_key = 0;
    Instant opens_at{};
    // echo and discard: what is sent, message by message. The next one leaves once the last one is answered
    // (echo) or written (discard), and the think time has passed.
    std::vector<std::uint32_t> message_bytes;
    std::vector<Duration> think;           // before each message
    bool close_with_last_message = false;  // FIN right behind it; else after the last answer
    std::uint32_t reads_at_most = 0;       // not 0: so many bytes at a time, then a pause of `read_pause`
    Duration read_pause{};
    // ticker
    std::uint64_t interval_us = 0;
    std::uint32_t line_bytes = 0;
    std::uint64_t lines = 0;  // then the client resets the connection: nobody else ends a ticker
};

// What one client saw.
struct ConnectionReport {
    bool established = false;
    bool done = false;
    bool reset = false;  // the server ended it with RST; no fault in itself: the world knows whether it may
    std::string fault;   // empty: all was as one server that never fails would have done it
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    std::uint64_t expected = 0;  // bytes that the whole script brings, where that is known
    Instant last_progress{};
    Instant done_at{};
    // Around the failure: the last byte before it, the first after it.
    std::optional<Instant> first_received_after_failure;
};

// The client's side of one connection.
class ScriptedClient : public shadow_app::Application {
  public:
    ScriptedClient(ConnectionPlan plan, const EventQueue& queue);

    const ConnectionPlan& plan() const { return plan_; }
    const ConnectionReport& report() const { return report_; }
    // Arrivals after this instant count as after the failure.
    void set_failure(Instant at) { failure_at_ = at; }
    // `changed` is called when the connection is done and when it has a fault.
    void observe(std::function<void(const ScriptedClient&)> changed) { changed_ = std::move(changed); }

    void accepted(shadow_app::Connection& connection) override;
    std::size_t received(shadow_app::Connection& connection, std::span<const std::byte> bytes) override;
    void peer_closed(shadow_app::Connection& connection) override;
    void closed(shadow_app::Connection& connection, stack::CloseReason reason) override;

  protected:
    virtual void begin(shadow_app::Connection& connection) = 0;
    // Returns how many of `bytes` are taken.
    virtual std::size_t take(shadow_app::Connection& connection, std::span<const std::byte> bytes) = 0;
    // All was sent and received that the script asks for.
    virtual bool is_complete() const = 0;
    virtual stack::CloseReason expected_end() const { return stack::CloseReason::finished; }

    void fail(std::string fault);
    void note_progress() { report_.last_progress = queue_.now(); }

    const ConnectionPlan plan_;
    const EventQueue& queue_;
    ConnectionReport report_;

  private:
    Instant failure_at_ = Instant::max();
    std::function<void(const ScriptedClient&)> changed_;
};

std::unique_ptr<ScriptedClient> make_client(const ConnectionPlan& plan, const EventQueue& queue);

// Stands before a server's application and checks that it reads what the client sent. `find` names the
// pattern of a client; a fault is told once through `on_fault`.
class InputJudge final : public shadow_app::Application {
  public:
    using FindPattern = std::function<std::optional<Pattern>(const stack::Endpoint& client)>;
    using OnFault = std::function<void(const std::string& fault)>;

    InputJudge(shadow_app::Application& inner, FindPattern find, OnFault on_fault);

    void accepted(shadow_app::Connection& connection) override;
    std::size_t received(shadow_app::Connection& connection, std::span<const std::byte> bytes) override;
    void peer_closed(shadow_app::Connection& connection) override { inner_.peer_closed(connection); }
    void writable(shadow_app::Connection& connection) override { inner_.writable(connection); }
    void timer(shadow_app::Connection& connection) override { inner_.timer(connection); }
    void closed(shadow_app::Connection& connection, stack::CloseReason reason) override;

  private:
    shadow_app::Application& inner_;
    FindPattern find_;
    OnFault on_fault_;
    std::map<stack::Endpoint, std::uint64_t> read_;
};

}  // namespace understudy::sim
