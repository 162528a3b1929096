// The stack, its virtual clock and its wire, as packetdrill sees them. Time moves only when packetdrill's
// main thread asks for it; a call that blocks in its second thread sleeps on a condition variable.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>
#include <vector>

#include "stack/stack.hh"
#include "tests/packetdrill/sysctl.hh"

namespace understudy::packetdrill {

using stack::Duration;
using stack::Instant;
using Lock = std::unique_lock<std::mutex>;

class World final : public stack::FrameSink {
  public:
    // `flags`: comma-separated `local=ADDRESS`, `mtu=BYTES` and settings by their Linux names.
    World(std::string_view flags, stack::ConnectionEvents& events);

    // Guards everything here and all sockets; every entry of the interface holds it.
    std::mutex mutex;

    // The stack is built by the first use, so that settings made by a script's first command count.
    stack::Stack& stack();
    bool has_stack() const { return stack_ != nullptr; }
    const stack::Settings& settings() const { return settings_; }
    const Sysctls& sysctls() const { return sysctls_; }
    // Takes what scripts have set since.
    void refresh_sysctls();
    Instant now() const { return now_; }
    const std::vector<stack::IpAddress>& local_addresses() const { return settings_.addresses; }

    // One look at the clock: it never shows the same microsecond twice.
    Instant look(Lock& lock);
    // Runs the stack until `end`.
    void run_until(Instant end, Lock& lock);
    // Gives the stack one IP packet.
    void inject(std::span<const std::byte> packet, Lock& lock);

    struct SentPacket {
        Instant at{};
        std::vector<std::byte> bytes;  // from the IP header on
    };
    // The next packet of the stack, running timers until there is one or `patience` has passed.
    std::optional<SentPacket> next_packet(Duration patience, Lock& lock);

    // Sleeps until `ready` or `deadline`; false at the deadline. In the main thread time runs instead.
    bool wait(Lock& lock, const std::function<bool()>& ready, std::optional<Instant> deadline);
    // Called after whatever the stack did, before blocked calls look.
    std::function<void()> after_step;
    // Lets blocked calls see what has just happened.
    void wake_ready(Lock& lock);

    // FrameSink
    std::span<std::byte> reserve(std::size_t length) override;
    void commit() override;

  private:
    struct Waiter {
        const std::function<bool()>* ready = nullptr;
        std::optional<Instant> deadline;
        bool woken = false;
    };

    class Random final : public stack::RandomSource {
      public:
        std::uint64_t next() override;

      private:
        std::uint64_t state_ = 1;
    };

    std::optional<Instant> next_deadline() const;

    stack::ConnectionEvents& events_;
    Sysctls flags_;
    NamespaceSysctls namespace_;
    Sysctls sysctls_;
    stack::Settings settings_;
    Random random_;
    std::unique_ptr<stack::Stack> stack_;
    Instant now_ = Instant(std::chrono::hours(1));
    std::vector<std::byte> pending_;
    std::deque<SentPacket> sent_;
    std::thread::id main_thread_ = std::this_thread::get_id();
    std::list<Waiter> waiters_;
    std::condition_variable wake_;
    std::condition_variable resumed_;
    bool awaiting_resume_ = false;
};

}  // namespace understudy::packetdrill
