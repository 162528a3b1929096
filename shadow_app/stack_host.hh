// Runs Applications and DatagramApplications on a Stack: hears the stack's events, owns the Connection
// objects, keeps the timers.
//
// The application never finds itself called from inside one of its own calls. An event that the stack raises
// while the application runs (closed() from within abort(), writable() from within write()) waits until the
// application returns; resume_receive() waits until the stack returns.
//
// Wiring, since stack and host need each other:
//
//     StackHost host;
//     host.serve(endpoint, application);
//     Stack stack(settings, sink, host, random);
//     host.attach(stack);
//
// From then on the owner drives the stack through the host, with one thread: receive(), advance(), promote().
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "shadow_app/application.hh"
#include "shadow_app/datagram_application.hh"
#include "shadow_app/timer_set.hh"
#include "stack/interfaces.hh"
#include "stack/stack.hh"

namespace understudy::shadow_app {

using stack::ConnectionId;

struct HostCounters {
    std::uint64_t accepted = 0;
    std::uint64_t closed = 0;
    std::uint64_t bytes_received = 0;          // taken by the applications
    std::uint64_t bytes_written = 0;           // taken from the applications
    std::uint64_t refused_no_application = 0;  // connections of an endpoint that serve() never named; aborted
    std::uint64_t datagrams_received = 0;      // given to the applications
    std::uint64_t datagrams_sent = 0;          // taken from the applications, while silent as well
    std::uint64_t datagrams_refused = 0;       // of the applications; the stack says why
    std::uint64_t datagrams_no_application = 0;  // for an endpoint that serve_datagrams() never named
};

class StackHost final : public stack::ConnectionEvents {
  public:
    using SeedObserver = std::function<void(const stack::SeedRecord&)>;
    using ConflictObserver = std::function<void(const stack::IpAddress&, const stack::LinkAddress&)>;
    using StateLossObserver = std::function<void(const Endpoint&)>;

    StackHost();
    ~StackHost() override;
    StackHost(const StackHost&) = delete;
    StackHost& operator=(const StackHost&) = delete;

    // Connections of `service` go to `application`, which must outlive the host. Call it before attach().
    void serve(const Endpoint& service, Application& application);
    // The same for datagrams: an endpoint may be served over both.
    void serve_datagrams(const Endpoint& service, DatagramApplication& application);
    // Names the stack; once, before the first call below. The stack must outlive the last call.
    void attach(stack::Stack& stack);
    // `observer` is called for every connection that the stack seeds, on the stack's core.
    void observe_seeds(SeedObserver observer);
    // `observer` is called when another host claims an address of ours, on the stack's core.
    void observe_conflicts(ConflictObserver observer);
    // `observer` is called when a service's attested state is no longer known to be the primary's.
    void observe_state_losses(StateLossObserver observer);

    // What the stack's functions of the same names do, with the applications' share. `now` never goes back.
    // One advance() calls at most max_timers_per_advance timers; next_deadline() is then not later than
    // `now`.
    void receive(std::span<const stack::ReceivedFrame> burst, Instant now);
    void advance(Instant now);
    bool repair(const stack::RepairBytes& answer, Instant now);
    std::optional<Instant> next_deadline() const;
    // Calls Application::poll of every application that has a descriptor.
    std::size_t poll_applications(Instant now);
    void open_gate(Instant now);
    stack::PromotionReport promote(Instant now);
    void mute(Instant now);

    // Active open. `application` hears accepted() when it is established, and closed() in any case; it must
    // outlive the connection. Nothing when the stack refuses.
    std::optional<ConnectionId> connect(const Endpoint& local, const Endpoint& remote,
                                        const stack::LinkAddress& remote_link, Application& application,
                                        Instant now);

    std::size_t connection_count() const { return connection_count_; }
    const HostCounters& counters() const { return counters_; }

    static constexpr std::size_t max_timers_per_advance = 4096;

    // ConnectionEvents: for the stack alone.
    void accepted(ConnectionId id, const Endpoint& client, const Endpoint& service) override;
    void connected(ConnectionId id) override;
    std::size_t received(ConnectionId id, std::span<const std::byte> bytes) override;
    void peer_closed(ConnectionId id) override;
    void writable(ConnectionId id) override;
    void closed(ConnectionId id, CloseReason reason) override;
    void datagram(const Endpoint& service, const Endpoint& client, std::span<const std::byte> bytes) override;
    void seeded(const stack::SeedRecord& record) override;
    void address_conflict(const stack::IpAddress& address, const stack::LinkAddress& link) override;
    void state_lost(const Endpoint& service) override;

  private:
    class Hosted;
    class HostedDatagrams;
    enum class EventKind : std::uint8_t { peer_closed, writable, closed };
    struct Event {
        EventKind kind;
        ConnectionId id;
        CloseReason reason = CloseReason::finished;
    };

    Hosted* find(ConnectionId id) const;
    Hosted& create(ConnectionId id, const Endpoint& client, Application& application);
    void release(const Hosted& connection);
    template <typename Call>
    void run(Hosted& connection, Call call);
    void raise(const Event& event);
    void dispatch(const Event& event);
    void run_waiting_events();
    void run_waiting_resumes();
    void run_timers();
    void request_resume(Hosted& connection);

    std::map<Endpoint, Application*> services_;
    std::map<Endpoint, std::unique_ptr<HostedDatagrams>> datagram_services_;
    stack::Stack* stack_ = nullptr;
    SeedObserver seed_observer_;
    ConflictObserver conflict_observer_;
    StateLossObserver state_loss_observer_;
    Instant now_{};
    Instant timer_base_{};                        // what set_timer() counts from
    std::vector<std::unique_ptr<Hosted>> slots_;  // by ConnectionId::index
    std::size_t connection_count_ = 0;
    TimerSet timers_;
    std::vector<Event> waiting_events_;
    std::vector<ConnectionId> waiting_resumes_;
    bool in_application_ = false;
    HostCounters counters_;
};

}  // namespace understudy::shadow_app
