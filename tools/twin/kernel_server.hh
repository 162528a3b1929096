// Runs an Application over kernel sockets: what the primary of a demonstration serves with.
//
// One thread, epoll, non-blocking sockets with TCP_NODELAY. What the application writes is collected for the
// length of one call and sent at its end, so that an answer leaves in one segment where it fits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "shadow_app/application.hh"
#include "shadow_app/timer_set.hh"
#include "tools/twin/descriptor.hh"

namespace understudy::twin {

struct ServerCounters {
    std::uint64_t accepted = 0;
    std::uint64_t finished = 0;       // closed by both ends
    std::uint64_t reset = 0;          // by the client, or by an error of the connection
    std::uint64_t aborted = 0;        // by the application
    std::uint64_t refused_full = 0;   // over max_connections: closed at once
    std::uint64_t accept_errors = 0;  // accept(2) failed: no descriptor, no memory
    std::uint64_t bytes_received = 0;
    std::uint64_t bytes_sent = 0;
};

class KernelServer {
  public:
    // Listens. `application` must outlive the server. Throws std::system_error whose text says what could not
    // be done.
    KernelServer(const stack::Endpoint& listen, std::size_t max_connections,
                 shadow_app::Application& application);
    ~KernelServer();
    KernelServer(const KernelServer&) = delete;
    KernelServer& operator=(const KernelServer&) = delete;

    // Where it listens: with the port that the kernel chose if none was asked for.
    stack::Endpoint local() const;
    // Serves until `stop_descriptor` is readable. Open connections are then closed by the destructor.
    void run(int stop_descriptor);
    const ServerCounters& counters() const { return counters_; }

  private:
    class KernelConnection;

    void wait_and_handle(int stop_descriptor);
    void handle(std::uint64_t tag, std::uint32_t events);
    void accept_waiting();
    void adopt(Descriptor socket, const stack::Endpoint& client);
    void run_timers();
    void read_input(KernelConnection& connection);
    void settle(KernelConnection& connection);
    bool settle_once(KernelConnection& connection);
    void offer(KernelConnection& connection, std::span<const std::byte> bytes);
    bool flush(KernelConnection& connection);
    void watch(KernelConnection& connection);
    void finish(KernelConnection& connection, shadow_app::CloseReason reason);
    void release_finished();

    shadow_app::Application& application_;
    const std::size_t max_connections_;
    Descriptor listener_;
    Descriptor epoll_;
    std::vector<std::unique_ptr<KernelConnection>> slots_;
    std::vector<std::uint32_t> free_slots_;
    std::vector<std::uint32_t> finished_slots_;
    std::size_t open_ = 0;
    std::vector<std::byte> input_;
    shadow_app::TimerSet timers_;
    stack::Instant timer_base_{};  // what set_timer() counts from
    bool stopping_ = false;
    ServerCounters counters_;
};

}  // namespace understudy::twin
