// A network of the test program's own: a namespace with nothing in it but a loopback interface.
#pragma once

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace understudy::tap::test {

// Sets the loopback interface of this namespace up or down.
inline bool set_loopback(bool up) {
    const int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ifreq request{};
    std::strcpy(request.ifr_name, "lo");
    bool done = ioctl(descriptor, SIOCGIFFLAGS, &request) == 0;
    const int flags = up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP;
    request.ifr_flags = static_cast<short>(flags);
    done = done && ioctl(descriptor, SIOCSIFFLAGS, &request) == 0;
    close(descriptor);
    return done;
}

// Moves the calling thread, and the threads it starts from now on, into a network of its own with full rights
// over it; without privilege that takes a user namespace, which only a process of one thread can enter.
// Empty, or why it cannot be.
inline std::string enter_own_network() {
    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        return std::string("no network namespace can be made here: ") + std::strerror(errno);
    return set_loopback(true) ? "" : "the loopback interface of a new network namespace does not come up";
}

}  // namespace understudy::tap::test
