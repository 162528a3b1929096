// The native application interface: a program that runs to completion on the stack's core.
//
// One Application object serves every connection of one service that its core has. The same object runs over
// the shadow stack (stack_host.hh) and over kernel sockets (understudy-twin), so that a primary and its
// replica can run one code. Nothing here may read a clock, a random source or a file: equal input must give
// equal output (the determinism contract of docs/architecture.md).
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "stack/address.hh"
#include "stack/interfaces.hh"
#include "stack/time.hh"

namespace understudy::shadow_app {

using stack::CloseReason;
using stack::Duration;
using stack::Endpoint;
using stack::Instant;

// What an application keeps for one connection.
class ConnectionState {
  public:
    virtual ~ConnectionState() = default;
};

// One connection as the application sees it. Owned by the host; valid from accepted() until closed() returns.
class Connection {
  public:
    virtual ~Connection() = default;

    // Queues bytes to send. Returns how many were taken, 0 to bytes.size(); fewer than given means that
    // writable() will be called when there is room.
    virtual std::size_t write(std::span<const std::byte> bytes) = 0;
    // How many bytes write() would take now.
    virtual std::size_t writable_bytes() const = 0;
    // Sends FIN after all that was written. Input goes on.
    virtual void shutdown_write() = 0;
    // Resets the connection; closed() follows.
    virtual void abort() = 0;
    // Offers input again that received() left.
    virtual void resume_receive() = 0;
    // Calls Application::timer after `delay`; a second call replaces the first. Inside Application::timer the
    // delay counts from the instant at which that timer was due, not from when it was called: a periodic
    // timer keeps its schedule however late the host is, and catches up by being called again at once.
    virtual void set_timer(Duration delay) = 0;
    virtual void cancel_timer() = 0;
    virtual const Endpoint& client() const = 0;

    std::unique_ptr<ConnectionState> state;
};

class Application {
  public:
    virtual ~Application() = default;
    // Its answers on one connection depend on what came on others: its input must arrive in one order, so one
    // core serves all its connections (rules.md 2). Else there is one object a core.
    virtual bool needs_input_order() const { return false; }
    // What it answers on a connection depends on nothing but what came on that connection: no file, no earlier
    // connection. Any other is covered only once its state was attested (rules.md 5).
    virtual bool is_stateless() const { return false; }
    virtual void accepted(Connection&) {}
    // In-order input. Returns how many bytes were taken; the rest is offered again after resume_receive().
    virtual std::size_t received(Connection& connection, std::span<const std::byte> bytes) = 0;
    // The client will send no more. Without more to say, answer with shutdown_write().
    virtual void peer_closed(Connection& connection) { connection.shutdown_write(); }
    virtual void writable(Connection&) {}
    virtual void timer(Connection&) {}
    // The last call for this connection.
    virtual void closed(Connection&, CloseReason) {}

    // For an application that lives outside the stack's core (shim/service.hh); others leave these alone.
    // Does what waits at descriptor(); called between bursts. Returns how much that was.
    virtual std::size_t poll() { return 0; }
    // Readable when poll() has work; -1: it never has.
    virtual int descriptor() const { return -1; }
};

}  // namespace understudy::shadow_app
