// As many connections as a busy server has, and none of the descriptors that it needs.
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "tests/shim/check.hh"
#include "tests/shim/sockets.hh"

namespace understudy::conformance {
namespace {

constexpr std::uint32_t many = 10'000;

void allow_descriptors(rlim_t count) {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = count;
    if (limit.rlim_max < count) limit.rlim_max = count;
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) throw Broken("not so many descriptors allowed: " + name_of_error(errno));
}

void watch(int set, int socket) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = socket;
    if (::epoll_ctl(set, EPOLL_CTL_ADD, socket, &event) != 0) throw Broken("epoll_ctl: " + name_of_error(errno));
}

void many_server(Side& side) {
    allow_descriptors(many + 100);
    Descriptor listener = listen_at(side, SOCK_NONBLOCK, 4096);
    Descriptor set(::epoll_create1(EPOLL_CLOEXEC));
    watch(set.get(), listener.get());
    side.meet();
    std::vector<Descriptor> connections;
    std::uint32_t answered = 0, ended = 0;
    std::array<epoll_event, 256> events{};
    while (ended < many) {
        const int count = ::epoll_wait(set.get(), events.data(), events.size(), patience_ms);
        if (count <= 0) throw Broken("nothing happens");
        for (int i = 0; i < count; ++i) {
            const int ready = events[static_cast<std::size_t>(i)].data.fd;
            if (ready == listener.get()) {
                for (int next = 0; (next = ::accept4(ready, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0;) {
                    connections.emplace_back(next);
                    watch(set.get(), next);
                }
                continue;
            }
            std::array<char, 64> buffer{};
            const ssize_t got = ::recv(ready, buffer.data(), buffer.size(), 0);
            if (got > 0) {
                answered += ::send(ready, buffer.data(), static_cast<std::size_t>(got), MSG_NOSIGNAL) == got ? 1 : 0;
            } else if (got == 0) {
                ::epoll_ctl(set.get(), EPOLL_CTL_DEL, ready, nullptr);
                ++ended;
            }
        }
    }
    side.note("accepted", static_cast<long>(connections.size()));
    side.note("answered", answered);
    side.note("ended", ended);
}

void many_client(Side& side) {
    allow_descriptors(many + 100);
    side.meet();
    std::vector<Descriptor> sockets;
    for (std::uint32_t i = 0; i < many; ++i)
        sockets.push_back(connect_to(side));
    for (std::uint32_t i = 0; i < many; ++i)
        send_all(sockets[i].get(), {reinterpret_cast<const char*>(&i), sizeof i});
    long right = 0;
    for (std::uint32_t i = 0; i < many; ++i)
        right += receive(sockets[i].get(), sizeof i) == std::string(reinterpret_cast<const char*>(&i), sizeof i) ? 1 : 0;
    side.note("right answers", right);
    for (const Descriptor& socket : sockets)
        ::shutdown(socket.get(), SHUT_WR);
}

// A connection that could not be accepted for want of a descriptor is there when there is one.
void exhausted_server(Side& side) {
    Descriptor listener = listen_at(side);
    side.meet();
    await(listener.get(), POLLIN);
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    const int first_free = ::fcntl(listener.get(), F_DUPFD_CLOEXEC, 0);
    ::close(first_free);
    allow_descriptors(static_cast<rlim_t>(first_free));
    side.note_ok("socket", ::socket(AF_INET, SOCK_STREAM, 0));
    for (int i = 0; i < 2; ++i) {
        side.note_ok("accept", ::accept(listener.get(), nullptr, nullptr));
        side.note_ok("accept4", ::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK));
        side.say("poll", poll_names(listener.get(), POLLIN, 0));
    }
    side.note_ok("dup", ::dup(listener.get()));
    allow_descriptors(limit.rlim_cur);
    for (int i = 0; i < 3; ++i) {
        Descriptor connection = accept_from(listener.get());
        side.say("input", receive(connection.get(), 5));
        send_all(connection.get(), "got it");
    }
}

void exhausted_client(Side& side) {
    side.meet();
    std::array<Descriptor, 3> sockets;
    for (Descriptor& socket : sockets) {
        socket = connect_to(side);
        send_all(socket.get(), "hello");
    }
    for (const Descriptor& socket : sockets)
        side.say("answer", drain(socket.get()));
}

constexpr Check table[] = {
    {"10-000-connections", many_server, many_client},
    {"descriptor-exhaustion", exhausted_server, exhausted_client},
};

}  // namespace

std::span<const Check> many_checks() { return table; }

}  // namespace understudy::conformance
