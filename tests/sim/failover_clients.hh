// Clients on the service LAN: each asks whoever its address cache names, and tells the judge whom it heard.
#pragma once

#include <functional>
#include <vector>

#include "tests/sim/failover_net.hh"

namespace understudy::sim {

class FailoverClients {
  public:
    struct Wires {
        std::function<void(FailoverHost to, const FailoverFrame&)> frame;
        // New bytes of `host`, sent at `sent`, reached `client`.
        std::function<void(std::size_t client, FailoverHost host, Instant sent)> heard;
    };
    // A client that pauses for zero never asks.
    FailoverClients(EventQueue& queue, std::vector<Duration> pauses, Random random, Wires wires);

    void start();
    void arrived(std::size_t client, FailoverHost from, const FailoverFrame& frame, Instant sent);

  private:
    struct Client {
        Duration pause{};
        FailoverHost owner = FailoverHost::primary;
        std::uint64_t asked = 0;
        std::uint64_t answered = 0;
        std::uint64_t unanswered_tries = 0;
    };
    void ask(std::size_t client);
    void send(std::size_t client);
    void expire(std::size_t client);
    void resolve(std::size_t client);

    EventQueue& queue_;
    Random random_;
    Wires wires_;
    std::vector<Client> clients_;
};

}  // namespace understudy::sim
