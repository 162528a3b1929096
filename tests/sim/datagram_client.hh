// A client of a connectionless service: it asks, asks again when no answer comes, and checks what it is told.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "stack/address.hh"
#include "tests/sim/clients.hh"
#include "tests/sim/event_queue.hh"
#include "tests/sim/packet.hh"
#include "tests/sim/random.hh"

namespace understudy::sim {

struct DatagramPlan {
    stack::Endpoint client;
    stack::LinkAddress link_address;
    std::uint32_t requests = 0;
    std::uint32_t largest_request = 1000;  // bytes
    Duration think{};                      // at most, between an answer and the next request
    Duration patience{};                   // without an answer
    Instant begins_at{};
};

class DatagramClient {
  public:
    using Transmit = std::function<void(const Frame&)>;
    using Accuse = std::function<void(const std::string& oracle, const std::string& what)>;

    // The service answers each request with its bytes. `server_link`: where its frames go at first; a
    // gratuitous ARP says where later.
    DatagramClient(const DatagramPlan& plan, const stack::Endpoint& service,
                   const stack::LinkAddress& server_link, EventQueue& queue, Random random, Transmit transmit,
                   Accuse accuse);

    // Every request may be answered once more often than it was asked: an answer that the mirror did not show
    // is given again at the takeover.
    void forgive_repeated_answers() { forgiving_ = true; }
    void arrive(const Frame& frame);

    bool is_done() const { return answered_ == plan_.requests; }
    std::uint32_t answered() const { return answered_; }
    std::uint32_t repeats() const { return repeats_; }
    std::uint64_t bytes_checked() const { return bytes_checked_; }
    std::string name() const { return stack::to_string(plan_.client); }

  private:
    struct Request {
        std::vector<std::byte> bytes;
        std::uint32_t asked = 0;
        std::uint32_t answers = 0;
    };

    void ask();
    void ask_again_unless_answered(std::uint32_t request, std::uint32_t asked);
    void send(std::uint32_t request);
    void take_answer(const Packet& packet);

    const DatagramPlan plan_;
    const stack::Endpoint service_;
    stack::LinkAddress server_link_;
    EventQueue& queue_;
    Random random_;
    Transmit transmit_;
    Accuse accuse_;
    bool forgiving_ = false;
    std::vector<Request> requests_;  // the last one is unanswered, or nothing is asked now
    std::uint32_t answered_ = 0, repeats_ = 0;
    std::uint64_t bytes_checked_ = 0;
    std::uint16_t identification_ = 0;
};

}  // namespace understudy::sim
