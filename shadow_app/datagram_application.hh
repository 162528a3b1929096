// The native application interface for datagrams, beside that for connections (application.hh).
//
// One DatagramApplication object serves one UDP service on one core. The same object runs over the shadow
// stack (stack_host.hh) and over kernel sockets (understudy-twin). The determinism contract of
// docs/architecture.md holds: nothing here may read a clock, a random source or a file.
#pragma once

#include <cstddef>
#include <span>

#include "shadow_app/application.hh"

namespace understudy::shadow_app {

// A UDP service as its application sees it. Owned by the host, for as long as the application is called.
class DatagramService {
  public:
    virtual ~DatagramService() = default;

    // Sends one datagram, which may be empty. False when it was refused: it is larger than one packet holds,
    // or `client` is nobody who was heard before. Nobody sends a datagram again that was lost on its way.
    virtual bool send(const Endpoint& client, std::span<const std::byte> bytes) = 0;
    virtual const Endpoint& endpoint() const = 0;
};

class DatagramApplication {
  public:
    virtual ~DatagramApplication() = default;
    // Its answers to one client depend on what others sent: its input must arrive in one order, so one core
    // takes all of it (rules.md 2). Else there is one object a core.
    virtual bool needs_input_order() const { return false; }
    // A datagram of `client`. `bytes` is valid until this returns; it may be empty.
    virtual void received(DatagramService& service, const Endpoint& client,
                          std::span<const std::byte> bytes) = 0;
};

}  // namespace understudy::shadow_app
