// More processes than one, more threads than one, more descriptors than one.
#include "tests/shim/inherited.hh"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/shim/check.hh"
#include "tests/shim/sockets.hh"

namespace understudy::conformance {
namespace {

std::string end_of(pid_t child) {
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? "exit " + std::to_string(WEXITSTATUS(status)) : "signal " + std::to_string(WTERMSIG(status));
}

// In a process of its own; what it throws is its exit status.
template <typename Body>
pid_t in_child(Body body) {
    const pid_t child = ::fork();
    if (child < 0) throw Broken("no process: " + name_of_error(errno));
    if (child != 0) return child;
    try {
        body();
    } catch (const Broken&) {
        ::_exit(1);
    }
    ::_exit(0);
}

void answer_one(int listener) {
    Descriptor connection = accept_from(listener);
    send_all(connection.get(), "got " + receive(connection.get(), 5));
}

void asks_client(int socket, Side& side) {
    send_all(socket, "hello");
    side.say("answer", drain(socket));
}

// Workers that share a listener take what they can get: non-blocking, for another may have been quicker.
void prefork_server(Side& side) {
    constexpr int workers = 3;
    Descriptor listener = listen_at(side, SOCK_NONBLOCK);
    std::vector<pid_t> children;
    for (int i = 0; i < workers; ++i) {
        children.push_back(in_child([&listener] {
            for (;;) {
                await(listener.get(), POLLIN);
                Descriptor connection(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
                if (!connection) continue;
                send_all(connection.get(), "got " + receive(connection.get(), 5));
                return;
            }
        }));
    }
    side.meet();
    for (const pid_t child : children)
        side.say("worker", end_of(child));
    // The parent's copy still listens.
    answer_one(listener.get());
}

void prefork_client(Side& side) {
    side.meet();
    for (int i = 0; i < 4; ++i) {
        Descriptor socket = connect_to(side);
        asks_client(socket.get(), side);
    }
}

void fork_per_connection_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    const pid_t child = in_child([&connection = connection] {
        send_all(connection.get(), "got " + receive(connection.get(), 5));
        if (name_of(connection.get()).sin_port == 0) throw Broken("no name");
        (void)ending(connection.get());
    });
    // The connection stays while the child has it.
    connection = Descriptor();
    side.meet();
    side.meet();
    side.say("child", end_of(child));
}

void fork_per_connection_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    send_all(socket.get(), "hello");
    side.say("answer", receive(socket.get(), 9));
    side.meet();
    side.say("open", poll_names(socket.get(), POLLIN, 0));
    ::shutdown(socket.get(), SHUT_WR);
    side.say("then", ending(socket.get()));
    side.meet();
}

void fork_then_listen_server(Side& side) {
    const pid_t child = in_child([&side] {
        Descriptor listener = listen_at(side);
        side.meet();
        answer_one(listener.get());
    });
    side.say("child", end_of(child));
    // What a dead process listened at is free.
    Descriptor listener = listen_at(side);
    side.meet();
    answer_one(listener.get());
}

void fork_then_listen_client(Side& side) {
    for (int i = 0; i < 2; ++i) {
        Descriptor socket = meet_and_connect(side);
        asks_client(socket.get(), side);
    }
}

void exec_server(Side& side) {
    Descriptor listener = listen_at(side);
    const pid_t child = in_child([&listener] {
        const int inherited = ::dup(listener.get());
        const std::string number = std::to_string(inherited);
        ::execl("/proc/self/exe", "shim-conformance", inherited_command, number.c_str(), nullptr);
    });
    side.meet();
    side.say("child", end_of(child));
}

void asks_one_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    asks_client(socket.get(), side);
}

void threads_server(Side& side) {
    constexpr int total = 40;
    Descriptor listener = listen_at(side, SOCK_NONBLOCK);
    std::atomic<int> served{0}, failed{0};
    std::vector<std::thread> threads;
    side.meet();
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            try {
                while (served < total) {
                    pollfd waiting{listener.get(), POLLIN, 0};
                    if (::poll(&waiting, 1, 10) <= 0) continue;
                    Descriptor connection(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
                    if (!connection) continue;
                    send_all(connection.get(), receive(connection.get(), 5));
                    ++served;
                }
            } catch (const Broken&) {
                ++failed;
            }
        });
    }
    for (std::thread& thread : threads)
        thread.join();
    side.note("served", served);
    side.note("failed", failed);
}

void threads_client(Side& side) {
    side.meet();
    std::vector<Descriptor> sockets;
    for (int i = 0; i < 40; ++i)
        sockets.push_back(connect_to(side));
    int right = 0;
    for (const Descriptor& socket : sockets)
        send_all(socket.get(), "hello");
    for (const Descriptor& socket : sockets)
        right += drain(socket.get()) == digest("hello") + ", then end" ? 1 : 0;
    side.note("answered", right);
}

void dup_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    Descriptor copy(::dup(connection.get()));
    side.note("flags of a dup", ::fcntl(copy.get(), F_GETFD));
    Descriptor third(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    const int number = third.get();
    side.truth("dup2 gives its number", ::dup2(connection.get(), number) == number);
    side.note("flags of a dup2", ::fcntl(number, F_GETFD));
    side.truth("dup3 gives its number", ::dup3(connection.get(), number, O_CLOEXEC) == number);
    side.note("flags of a dup3", ::fcntl(number, F_GETFD));
    side.note("dup3 onto itself", ::dup3(number, number, 0));
    side.truth("dup2 onto itself", ::dup2(number, number) == number);
    side.truth("F_DUPFD gives at least", ::fcntl(connection.get(), F_DUPFD, 500) >= 500);
    set_option(connection.get(), IPPROTO_TCP, 1 /* TCP_NODELAY */, 1);
    int value = 0;
    socklen_t length = sizeof value;
    ::getsockopt(number, IPPROTO_TCP, 1, &value, &length);
    side.note("an option set by another copy", value);
    side.truth("one peer", describe(peer_of(copy.get())) == describe(peer_of(number)));
    ::close_range(500, ~0U, 0);
    connection = Descriptor();
    third = Descriptor();
    send_all(copy.get(), "the last copy");
    // A copy over the last one closes it.
    Descriptor null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    side.truth("dup2 over it", ::dup2(null.get(), copy.get()) == copy.get());
    side.meet();
    Descriptor second(::dup(listener.get()));
    listener = Descriptor();
    side.meet();
    answer_one(second.get());
}

void dup_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.say("answer", drain(socket.get()));
    side.meet();
    side.meet();
    Descriptor other = connect_to(side);
    asks_client(other.get(), side);
}

void send_descriptors(int socket, const std::vector<int>& descriptors) {
    alignas(cmsghdr) std::array<char, CMSG_SPACE(4 * sizeof(int))> control{};
    char byte = 'x';
    iovec part{&byte, 1};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(descriptors.size() * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size() * sizeof(int));
    if (::sendmsg(socket, &message, MSG_NOSIGNAL) != 1) throw Broken("descriptors cannot be sent: " + name_of_error(errno));
}

std::vector<int> receive_descriptors(int socket, std::size_t count) {
    alignas(cmsghdr) std::array<char, CMSG_SPACE(4 * sizeof(int))> control{};
    char byte = 0;
    iovec part{&byte, 1};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    if (::recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1) throw Broken("no descriptors come: " + name_of_error(errno));
    const cmsghdr* header = CMSG_FIRSTHDR(&message);
    if (header == nullptr || header->cmsg_len != CMSG_LEN(count * sizeof(int))) throw Broken("not so many descriptors");
    std::vector<int> descriptors(count);
    std::memcpy(descriptors.data(), CMSG_DATA(header), count * sizeof(int));
    return descriptors;
}

// A process that has neither the listener nor the connection until it is given them.
void passed_server(Side& side) {
    int pair[2] = {-1, -1};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) throw Broken("no socket pair");
    Descriptor ours(pair[0]), theirs(pair[1]);
    const pid_t child = in_child([&theirs] {
        const std::vector<int> got = receive_descriptors(theirs.get(), 2);
        const Descriptor listener(got[0]);
        Descriptor connection(got[1]);
        send_all(connection.get(), describe(peer_of(connection.get())) + " ");
        send_all(connection.get(), "got " + receive(connection.get(), 5));
        connection = Descriptor();
        answer_one(listener.get());
    });
    {
        auto [listener, connection] = meet_and_accept(side);
        send_descriptors(ours.get(), {listener.get(), connection.get()});
    }
    side.say("child", end_of(child));
}

void passed_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    const std::string name = describe(name_of(socket.get())) + " ";
    side.truth("the child knows who speaks", receive(socket.get(), name.size()) == name);
    asks_client(socket.get(), side);
    Descriptor other = connect_to(side);
    asks_client(other.get(), side);
}

void close_range_server(Side& side) {
    Descriptor listener = listen_at(side);
    side.meet();
    Descriptor first = accept_from(listener.get());
    Descriptor second = accept_from(listener.get());
    const auto from = static_cast<unsigned>(std::min(first.get(), second.get()));
    const auto to = static_cast<unsigned>(std::max(first.get(), second.get()));
    ::fcntl(first.get(), F_SETFD, 0);
    side.note("to be closed by exec", ::close_range(from, to, CLOSE_RANGE_CLOEXEC));
    side.note("flags", ::fcntl(first.get(), F_GETFD));
    side.note("close_range", ::close_range(from, to, 0));
    side.note("flags", ::fcntl(first.get(), F_GETFD));
    side.note("with unknown flags", ::close_range(from, to, 1U << 20));
    side.note("a range that is none", ::close_range(to + 1, to, 0));
    side.meet();
    side.note_ok("the listener", ::fcntl(listener.get(), F_GETFD));
}

void close_range_client(Side& side) {
    Descriptor first = meet_and_connect(side);
    Descriptor second = connect_to(side);
    side.say("first", ending(first.get()));
    side.say("second", ending(second.get()));
    side.meet();
}

Descriptor listen_beside(const Side& side) {
    Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    set_option(socket.get(), SOL_SOCKET, SO_REUSEADDR, 1);
    set_option(socket.get(), SOL_SOCKET, SO_REUSEPORT, 1);
    if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&side.service()), sizeof side.service()) != 0)
        throw Broken("bind beside: " + name_of_error(errno));
    if (::listen(socket.get(), 64) != 0) throw Broken("listen beside: " + name_of_error(errno));
    return socket;
}

// Which listener gets a connection is the kernel's choice; that one does is not.
void reuse_port_server(Side& side) {
    constexpr int total = 32;
    Descriptor ours = listen_beside(side);
    int told[2] = {-1, -1};
    if (::pipe2(told, O_CLOEXEC) != 0) throw Broken("no pipe");
    Descriptor counts_out(told[0]), counts_in(told[1]);
    const pid_t child = in_child([&] {
        Descriptor theirs = listen_beside(side);
        ours = Descriptor();
        if (::write(counts_in.get(), "r", 1) != 1) throw Broken("nobody reads");
        for (;;) {
            Descriptor connection = accept_from(theirs.get());
            const std::string word = receive(connection.get(), 5);
            send_all(connection.get(), word);
            if (::write(counts_in.get(), "+", 1) != 1) throw Broken("nobody reads");
        }
    });
    char byte = 0;
    if (::read(counts_out.get(), &byte, 1) != 1) throw Broken("the other process does not listen");
    Descriptor alone(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    set_option(alone.get(), SOL_SOCKET, SO_REUSEADDR, 1);
    side.note("bind of one that does not share",
              ::bind(alone.get(), reinterpret_cast<const sockaddr*>(&side.service()), sizeof side.service()));
    side.meet();
    int served = 0;
    while (served < total) {
        pollfd waiting[2] = {{ours.get(), POLLIN, 0}, {counts_out.get(), POLLIN, 0}};
        if (::poll(waiting, 2, patience_ms) <= 0) throw Broken("connections do not come");
        if (waiting[0].revents != 0) {
            Descriptor connection = accept_from(ours.get());
            send_all(connection.get(), receive(connection.get(), 5));
            ++served;
        }
        if (waiting[1].revents != 0 && ::read(counts_out.get(), &byte, 1) == 1) ++served;
    }
    side.note("served", served);
    // Its listener goes with it, and every connection comes here.
    ::kill(child, SIGKILL);
    side.say("the other process", end_of(child));
    side.meet();
    for (int i = 0; i < 4; ++i)
        answer_one(ours.get());
}

void reuse_port_client(Side& side) {
    side.meet();
    int right = 0;
    for (int i = 0; i < 32; ++i) {
        Descriptor socket = connect_to(side);
        send_all(socket.get(), "hello");
        right += receive(socket.get(), 5) == "hello" ? 1 : 0;
    }
    side.note("answered", right);
    side.meet();
    for (int i = 0; i < 4; ++i) {
        Descriptor socket = connect_to(side);
        asks_client(socket.get(), side);
    }
}

constexpr Check table[] = {
    {"prefork", prefork_server, prefork_client},
    {"fork-per-connection", fork_per_connection_server, fork_per_connection_client},
    {"fork-then-listen", fork_then_listen_server, fork_then_listen_client},
    {"exec", exec_server, asks_one_client},
    {"threads", threads_server, threads_client},
    {"dup", dup_server, dup_client},
    {"SCM_RIGHTS", passed_server, passed_client},
    {"close_range", close_range_server, close_range_client},
    {"SO_REUSEPORT", reuse_port_server, reuse_port_client},
};

}  // namespace

std::span<const Check> process_checks() { return table; }

int serve_inherited(const char* descriptor) {
    const int listener = std::atoi(descriptor);
    int listens = 0;
    socklen_t length = sizeof listens;
    if (::getsockopt(listener, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) != 0 || listens != 1) return 3;
    if (name_of(listener).sin_family != AF_INET) return 4;
    answer_one(listener);
    return 0;
}

}  // namespace understudy::conformance
