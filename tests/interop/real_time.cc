#include "tests/interop/real_time.hh"

#include <sys/signalfd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <ctime>
#include <system_error>

namespace understudy::interop {

stack::Instant read_clock() {
    return stack::Instant(std::chrono::steady_clock::now().time_since_epoch());
}

Descriptor open_stop_signals() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, nullptr);
    Descriptor descriptor(::signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC));
    if (descriptor.get() < 0) throw std::system_error(errno, std::generic_category(), "signalfd");
    return descriptor;
}

void wait(std::span<pollfd> descriptors, std::optional<stack::Instant> deadline) {
    timespec timeout{};
    if (deadline) {
        const auto left = std::max(stack::Duration::zero(), *deadline - read_clock());
        const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
        timeout = {seconds.count(), (left - seconds).count()};
    }
    ::ppoll(descriptors.data(), descriptors.size(), deadline ? &timeout : nullptr, nullptr);
}

}  // namespace understudy::interop
