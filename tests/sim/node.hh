// A host: a stack, the applications on it, and a NIC whose ring is polled.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "shadow_app/stack_host.hh"
#include "stack/stack.hh"
#include "tests/sim/event_queue.hh"
#include "tests/sim/packet.hh"
#include "tests/sim/random.hh"

namespace understudy::sim {

class Node final : public stack::FrameSink {
  public:
    using Transmit = std::function<void(const Frame&)>;

    // What arrives is read up to `poll_interval` later, so that bursts form. `transmit` gets every frame
    // sent.
    Node(std::string name, EventQueue& queue, Random random, Duration poll_interval, Transmit transmit);

    // Once, before anything else: starts the stack. Services are named through host() before.
    void start(const stack::Settings& settings);

    const std::string& name() const { return name_; }
    shadow_app::StackHost& host() { return host_; }
    const shadow_app::StackHost& host() const { return host_; }
    const stack::Stack& stack() const { return *stack_; }
    stack::LinkAddress link_address() const { return link_address_; }

    // A frame arrived.
    void arrive(const Frame& frame, stack::Source source);
    // Reads what has arrived, now.
    void drain();
    stack::PromotionReport promote();
    // Stack::missing and StackHost::repair.
    std::size_t missing(std::span<stack::MissingBytes> out, Duration min_age);
    bool repair(const stack::RepairBytes& answer);
    std::optional<stack::ConnectionId> connect(const stack::Endpoint& local, const stack::Endpoint& remote,
                                               const stack::LinkAddress& remote_link,
                                               shadow_app::Application& application);
    // Power off: nothing happens here any more.
    void crash() { alive_ = false; }
    bool is_alive() const { return alive_; }

    // From now on IPv4 frames go where this cache says, and ARP updates it (RFC 826), as in a client's
    // kernel.
    void keep_neighbours(const std::map<stack::IpAddress, stack::LinkAddress>& known);

    // FrameSink
    std::span<std::byte> reserve(std::size_t length) override;
    void commit() override;

    // A host whose deadlines never pass holds time itself up; nothing when all is well.
    const std::string& fault() const { return fault_; }

  private:
    void poll();
    void run_timers();
    void schedule();
    void learn_neighbour(const Frame& frame);
    void address_frame();

    const std::string name_;
    EventQueue& queue_;
    Random random_;
    const Duration poll_interval_;
    Transmit transmit_;
    shadow_app::StackHost host_;
    std::optional<stack::Stack> stack_;
    stack::LinkAddress link_address_;
    std::vector<std::pair<Frame, stack::Source>> ring_;
    bool poll_scheduled_ = false;
    std::optional<Instant> wake_at_;
    Instant last_wake_{};
    int wakes_at_one_instant_ = 0;
    bool alive_ = true;
    std::optional<std::map<stack::IpAddress, stack::LinkAddress>> neighbours_;
    std::vector<std::byte> outgoing_;
    std::string fault_;
};

}  // namespace understudy::sim
