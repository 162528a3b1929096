// A host whose TCP is lwIP's: an implementation that shares no line with the stack under test.
//
// The library of the distribution has one state for the whole process and keeps it: its clock, its timers and
// its random numbers are set by LwipLibrary, and a run that is to replay begins in a process of its own.
// lwIP speaks neither SACK nor timestamps here; its window scale is 1.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "stack/address.hh"
#include "tests/sim/clients.hh"
#include "tests/sim/event_queue.hh"
#include "tests/sim/packet.hh"

struct netif;
struct tcp_pcb;

namespace understudy::sim {

// Once a process: lwIP's time is that of `queue`, which outlives all that follows; its timers are looked at
// every few milliseconds of it.
class LwipLibrary {
  public:
    LwipLibrary(EventQueue& queue, std::uint64_t seed);

  private:
    void tick();

    EventQueue& queue_;
};

class LwipHost {
  public:
    using Transmit = std::function<void(const Frame&)>;

    LwipHost(const LwipLibrary&, stack::LinkAddress link, stack::IpAddress address, Transmit transmit);
    ~LwipHost();
    LwipHost(const LwipHost&) = delete;
    LwipHost& operator=(const LwipHost&) = delete;

    // Once, when frames can be sent: announces itself.
    void start();
    void arrive(const Frame& frame);
    // Power off: nothing comes in or goes out any more.
    void crash() { alive_ = false; }
    bool is_alive() const { return alive_; }
    stack::IpAddress address() const { return address_; }
    netif& interface() { return *netif_; }
    void send(std::vector<std::byte> frame);

  private:
    const stack::LinkAddress link_;
    const stack::IpAddress address_;
    Transmit transmit_;
    std::unique_ptr<netif> netif_;
    bool alive_ = true;
};

// Sends back what it reads, on every connection to one port.
class LwipEcho {
  public:
    LwipEcho(LwipHost& host, std::uint16_t port);
    ~LwipEcho();
    std::uint64_t accepted() const;

  private:
    struct Server;
    std::unique_ptr<Server> server_;
};

// Sends a pattern message by message, the next when the last has come back, and checks what comes back.
class LwipClient {
  public:
    struct Plan {
        stack::Endpoint server;
        std::uint16_t port = 0;  // its own
        std::uint64_t pattern_key = 0;
        std::vector<std::uint32_t> message_bytes;
        Duration think{};
    };

    LwipClient(LwipHost& host, EventQueue& queue, const Plan& plan);
    ~LwipClient();

    bool is_done() const;
    const std::string& fault() const;  // empty: all was as it should be
    std::uint64_t received() const;

  private:
    struct Session;
    std::unique_ptr<Session> session_;
};

}  // namespace understudy::sim
