// One service whose application is a program in processes of its own: the daemon's side of the shim (design.md 7).
//
// Each connection is a local stream pair. The program holds one end, this object the other, on the stack's core and
// without ever waiting: input is written to the pair in the order in which the stack delivers it (rules.md 2), a full
// pair leaves it in the stack's receive queue; output is read from the pair as far as the stack's send queue has
// room.
//
// A program that waits for several sockets finds several ready when it is slow, and reads them in an order of its own. So
// in silent mode the connections take turns: one has input that the program has not read, and the input of the others
// waits in the stack until it has, or for order_patience if it does not want to.
//
// A reset (rules.md 29): the kernel gives ECONNRESET to one end of a pair whose other end is closed with bytes unread.
// So one byte is written through the program's end before it is handed over, and the newest byte of the output that
// was read is always left in the queue: closing resets, and consuming it first closes cleanly.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "proto/shim_channel.hh"
#include "shadow_app/application.hh"
#include "shadow_app/shim/descriptor.hh"
#include "stack/options.hh"
#include "stack/snapshot.hh"

namespace understudy::shadow_app::shim {

inline constexpr stack::Duration order_patience = std::chrono::milliseconds(5);

inline constexpr const char* application_name = "shim";

struct ServiceCounters {
    std::uint64_t listeners = 0;
    std::uint64_t accepted = 0;
    std::uint64_t refused_no_program = 0;
    std::uint64_t refused_no_pair = 0;
    std::uint64_t resets = 0;
    std::uint64_t turns_waited = 0;
    std::uint64_t turns_given_up = 0;
    std::uint64_t options_answered = 0;
    std::uint64_t options_refused = 0;
    std::uint64_t messages_refused = 0;
};

struct ServiceCounterInfo {
    const char* name;
    std::uint64_t ServiceCounters::*value;
    const char* help;
};
inline constexpr ServiceCounterInfo service_counter_table[] = {
    {"listeners", &ServiceCounters::listeners, "sockets that programs bound to a service"},
    {"accepted", &ServiceCounters::accepted, "connections handed to a program"},
    {"refused_no_program", &ServiceCounters::refused_no_program, "connections while no program listened; aborted"},
    {"refused_no_pair", &ServiceCounters::refused_no_pair, "connections for which the kernel gave no pair; aborted"},
    {"resets", &ServiceCounters::resets, "connections whose program was told ECONNRESET"},
    {"turns_waited", &ServiceCounters::turns_waited, "inputs held until the program had read that of another connection"},
    {"turns_given_up", &ServiceCounters::turns_given_up, "inputs that the program did not read in time: others went ahead"},
    {"options_answered", &ServiceCounters::options_answered, "socket options set, or told"},
    {"options_refused", &ServiceCounters::options_refused, "socket options that do not exist, or of a dead socket"},
    {"messages_refused", &ServiceCounters::messages_refused, "messages of another version, or out of turn"},
};

class Service final : public Application {
  public:
    Service();
    ~Service() override;

    // Takes a program's connection to the channel over, whose first message was `first` (bind or attach), and
    // answers it.
    void adopt(Descriptor channel, const proto::shim::Message& first);
    // Sockets that listen now.
    std::size_t listening() const;
    const ServiceCounters& counters() const { return counters_; }

    bool needs_input_order() const override { return true; }
    void accepted(Connection& connection) override;
    std::size_t received(Connection& connection, std::span<const std::byte> bytes) override;
    void peer_closed(Connection& connection) override;
    void writable(Connection& connection) override;
    void timer(Connection& connection) override;
    void closed(Connection& connection, CloseReason reason) override;
    std::size_t poll() override;
    int descriptor() const override { return epoll_.get(); }

  private:
    struct Pair;
    struct Channel;
    struct PairName;

    Pair* pair_of(Connection& connection);
    Channel* next_listener();
    bool must_wait(Pair& pair);
    void end_turn();
    bool hand_over(Channel& listener, Pair& pair, Descriptor program_end);
    void send_waiting(Channel& listener);
    void read_channel(std::uint64_t id);
    static std::int32_t unacknowledged(const Pair& pair, const std::optional<stack::ConnectionSnapshot>& snapshot);
    void answer_option(const proto::shim::Message& question, Descriptor answer_to);
    void on_pair(std::uint64_t id, std::uint32_t events);
    void read_output(Pair& pair);
    void finish_output(Pair& pair);
    bool watch(int descriptor, std::uint64_t id);

    Descriptor epoll_;
    std::uint64_t next_id_;
    std::unordered_map<std::uint64_t, std::unique_ptr<Pair>> pairs_;
    std::map<std::uint64_t, Channel> channels_;
    std::uint64_t last_listener_ = 0;  // that got a connection
    std::uint64_t turn_ = 0;  // the pair whose input the program has not read yet; 0: none
    bool turn_used_ = false;  // false: it was granted, and its input is on the way
    std::deque<std::uint64_t> waiting_turns_;
    std::vector<std::uint64_t> unfinished_;  // pairs with more output than one turn takes
    std::vector<std::byte> buffer_;
    ServiceCounters counters_;
};

}  // namespace understudy::shadow_app::shim
