// Wakes a core that sleeps because it has nothing to do.
#pragma once

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <span>
#include <system_error>
#include <vector>

namespace understudy::tools {

class Doorbell {
  public:
    Doorbell() : descriptor_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
        if (descriptor_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
    }
    ~Doorbell() { close(descriptor_); }
    Doorbell(const Doorbell&) = delete;
    Doorbell& operator=(const Doorbell&) = delete;

    // Any thread, after it has left work where the sleeper's `has_work` sees it. No system call unless the
    // core sleeps.
    void ring() {
        // Either this sees the sleeper, or the sleeper sees the work.
        std::atomic_thread_fence(std::memory_order_seq_cst);
        if (!sleeping_.load(std::memory_order_relaxed) || !sleeping_.exchange(false)) return;
        eventfd_write(descriptor_, 1);
    }

    // The core: sleeps until it is rung or one of `others` is readable, at most `longest`, and not at all when
    // `has_work` says so.
    template <typename HasWork>
    void sleep(std::chrono::nanoseconds longest, std::span<const int> others, HasWork has_work) {
        sleeping_.store(true, std::memory_order_relaxed);
        std::atomic_thread_fence(std::memory_order_seq_cst);
        if (!has_work()) {
            const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(longest);
            const timespec time{.tv_sec = seconds.count(), .tv_nsec = (longest - seconds).count()};
            waiting_.assign(1, {.fd = descriptor_, .events = POLLIN, .revents = 0});
            for (const int other : others)
                waiting_.push_back({.fd = other, .events = POLLIN, .revents = 0});
            ppoll(waiting_.data(), waiting_.size(), &time, nullptr);
        }
        sleeping_.store(false, std::memory_order_relaxed);
        eventfd_t rung = 0;
        eventfd_read(descriptor_, &rung);
    }

  private:
    int descriptor_;
    std::atomic<bool> sleeping_{false};
    std::vector<pollfd> waiting_;  // the core's
};

}  // namespace understudy::tools
