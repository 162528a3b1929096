#include "tools/load/timed_receive.hh"

#include <sys/socket.h>

#include <array>
#include <cstring>
#include <ctime>

namespace understudy::load {
namespace {

Duration to_duration(const timespec& time) {
    return std::chrono::seconds(time.tv_sec) + Duration(time.tv_nsec);
}

}  // namespace

std::optional<Instant> kernel_time(msghdr& message, int kind) {
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != kind) continue;
        // Both kinds of stamp begin with a timespec of CLOCK_REALTIME.
        timespec stamp{}, wall{}, monotonic{};
        std::memcpy(&stamp, CMSG_DATA(c), sizeof stamp);
        ::clock_gettime(CLOCK_REALTIME, &wall);
        ::clock_gettime(CLOCK_MONOTONIC, &monotonic);
        return Instant(to_duration(stamp) - to_duration(wall) + to_duration(monotonic));
    }
    return std::nullopt;
}

ssize_t receive(int socket, std::span<std::byte> out, Instant& arrived) {
    std::array<std::byte, 256> control;
    iovec part{.iov_base = out.data(), .iov_len = out.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t count = ::recvmsg(socket, &message, 0);
    if (count >= 0)
        if (const auto stamp = kernel_time(message, SCM_TIMESTAMPNS)) arrived = *stamp;
    return count;
}

}  // namespace understudy::load
