// Who is woken, when, and by what: select, poll, epoll, signals.
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <thread>

#include "tests/shim/check.hh"
#include "tests/shim/sockets.hh"

namespace understudy::conformance {
namespace {

// POLL and EPOLL events share their numbers.
static_assert(POLLIN == EPOLLIN && POLLRDHUP == EPOLLRDHUP && POLLHUP == EPOLLHUP);

std::string select_names(int socket, timeval limit) {
    fd_set readable, writable, exceptional;
    FD_ZERO(&readable);
    FD_ZERO(&writable);
    FD_ZERO(&exceptional);
    FD_SET(socket, &readable);
    FD_SET(socket, &writable);
    FD_SET(socket, &exceptional);
    const int count = ::select(socket + 1, &readable, &writable, &exceptional, &limit);
    if (count < 0) return "-1 " + name_of_error(errno);
    std::string text = std::to_string(count);
    if (FD_ISSET(socket, &readable)) text += " readable";
    if (FD_ISSET(socket, &writable)) text += " writable";
    if (FD_ISSET(socket, &exceptional)) text += " exceptional";
    return text;
}

void select_server(Side& side) {
    Descriptor listener = listen_at(side);
    side.say("listener", select_names(listener.get(), {0, 0}));
    side.meet();
    side.say("listener with a client", select_names(listener.get(), {patience_ms / 1000, 0}));
    Descriptor connection = accept_from(listener.get());
    side.say("listener after it", select_names(listener.get(), {0, 0}));
    side.say("connection", select_names(connection.get(), {0, 0}));
    side.meet();
    await_bytes(connection.get(), 1);
    side.say("with a byte", select_names(connection.get(), {0, 0}));
    (void)receive(connection.get(), 1);
    side.say("without it", select_names(connection.get(), {0, 0}));
    side.meet();
    await(connection.get(), POLLIN);
    side.say("at the end", select_names(connection.get(), {0, 0}));
    side.say("it is", ending(connection.get()));
}

void select_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.meet();
    send_all(socket.get(), "x");
    side.meet();
}

constexpr short all_events = POLLIN | POLLPRI | POLLOUT | POLLRDHUP;

void poll_server(Side& side) {
    Descriptor listener = listen_at(side);
    side.say("listener", poll_names(listener.get(), all_events, 0));
    side.meet();
    side.say("listener with a client", poll_names(listener.get(), POLLIN, patience_ms));
    Descriptor connection = accept_from(listener.get());
    side.say("connection", poll_names(connection.get(), all_events, 0));
    side.meet();
    await_bytes(connection.get(), 1);
    side.say("with a byte", poll_names(connection.get(), all_events, 0));
    (void)receive(connection.get(), 1);
    side.say("without it", poll_names(connection.get(), all_events, 0));
    side.say("asked for nothing", poll_names(connection.get(), 0, 0));
    side.meet();
    side.say("after the client's FIN", settle(connection.get(), all_events, "IN OUT RDHUP"));
    side.note("shutdown", ::shutdown(connection.get(), SHUT_WR));
    side.say("after both", settle(connection.get(), all_events, "IN OUT RDHUP HUP"));
    side.say("asked for nothing", poll_names(connection.get(), 0, 0));
    side.meet();
}

void poll_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.meet();
    send_all(socket.get(), "x");
    side.meet();
    ::shutdown(socket.get(), SHUT_WR);
    side.say("then", ending(socket.get()));
    side.meet();
}

void poll_own_end_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    side.note("shutdown", ::shutdown(connection.get(), SHUT_WR));
    side.say("after the own FIN", poll_names(connection.get(), all_events, 0));
    side.meet();
    await_bytes(connection.get(), 1);
    side.say("with a byte", poll_names(connection.get(), all_events, 0));
    side.say("it is", receive(connection.get(), 1));
    side.meet();
    side.say("after both", settle(connection.get(), all_events, "IN OUT RDHUP HUP"));
}

void poll_own_end_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.say("first", ending(socket.get()));
    side.meet();
    send_all(socket.get(), "y");
    side.meet();
}

class Epoll {
  public:
    Epoll() : set_(::epoll_create1(EPOLL_CLOEXEC)) {}
    int get() const { return set_.get(); }
    int control(int operation, int socket, unsigned events) {
        epoll_event event{};
        event.events = events;
        event.data.fd = socket;
        return ::epoll_ctl(set_.get(), operation, socket, &event);
    }
    // The events of the one socket that is ready; "none" at the time-out.
    std::string wait(int timeout_ms) {
        epoll_event event{};
        const int count = ::epoll_wait(set_.get(), &event, 1, timeout_ms);
        if (count < 0) return "-1 " + name_of_error(errno);
        return count == 0 ? "none" : names_of_events(event.events);
    }

  private:
    Descriptor set_;
};

void epoll_level_server(Side& side) {
    Epoll epoll;
    Descriptor listener = listen_at(side);
    side.note("add the listener", epoll.control(EPOLL_CTL_ADD, listener.get(), EPOLLIN));
    side.note("add it again", epoll.control(EPOLL_CTL_ADD, listener.get(), EPOLLIN));
    side.say("listener", epoll.wait(0));
    side.meet();
    side.say("listener with a client", epoll.wait(patience_ms));
    Descriptor connection = accept_from(listener.get());
    side.say("after it", epoll.wait(0));
    side.note("add the connection", epoll.control(EPOLL_CTL_ADD, connection.get(), EPOLLIN | EPOLLRDHUP));
    side.say("connection", epoll.wait(0));
    side.meet();
    side.say("with bytes", epoll.wait(patience_ms));
    side.say("still", epoll.wait(0));
    (void)receive(connection.get(), 1);
    side.say("with bytes left", epoll.wait(0));
    (void)receive(connection.get(), 1);
    side.say("without", epoll.wait(0));
    side.note("ask for OUT", epoll.control(EPOLL_CTL_MOD, connection.get(), EPOLLIN | EPOLLOUT));
    side.say("writable", epoll.wait(patience_ms));
    side.note("ask for IN", epoll.control(EPOLL_CTL_MOD, connection.get(), EPOLLIN | EPOLLRDHUP));
    side.meet();
    side.say("at the end", epoll.wait(patience_ms));
    side.note("delete", epoll.control(EPOLL_CTL_DEL, connection.get(), 0));
    side.say("after it", epoll.wait(0));
    side.note("delete again", epoll.control(EPOLL_CTL_DEL, connection.get(), 0));
    // Closing takes it out of the set.
    side.note("add once more", epoll.control(EPOLL_CTL_ADD, connection.get(), EPOLLIN));
    side.say("at the end", epoll.wait(0));
    connection = Descriptor();
    side.say("closed", epoll.wait(0));
}

void epoll_level_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.meet();
    send_all(socket.get(), "ab");
    side.meet();
    ::shutdown(socket.get(), SHUT_WR);
    side.say("then", ending(socket.get()));
}

void epoll_edge_server(Side& side) {
    Epoll epoll;
    auto [listener, connection] = meet_and_accept(side);
    side.note("add", epoll.control(EPOLL_CTL_ADD, connection.get(), EPOLLIN | EPOLLRDHUP | EPOLLET));
    side.say("connection", epoll.wait(0));
    side.meet();
    side.say("with bytes", epoll.wait(patience_ms));
    side.say("told once", epoll.wait(0));
    (void)receive(connection.get(), 1);
    side.say("with bytes left", epoll.wait(0));
    side.meet();
    side.say("with more bytes", epoll.wait(patience_ms));
    side.say("told once", epoll.wait(0));
    side.say("all", receive(connection.get(), 3));
    side.note("modify", epoll.control(EPOLL_CTL_MOD, connection.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET));
    side.say("writable at once", epoll.wait(patience_ms));
    side.say("told once", epoll.wait(0));
    side.note("modify", epoll.control(EPOLL_CTL_MOD, connection.get(), EPOLLIN | EPOLLRDHUP | EPOLLET));
    side.say("nothing to tell", epoll.wait(0));
    side.meet();
    side.say("at the end", epoll.wait(patience_ms));
    side.say("told once", epoll.wait(0));
}

void epoll_edge_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.meet();
    send_all(socket.get(), "ab");
    side.meet();
    send_all(socket.get(), "cd");
    side.meet();
    ::shutdown(socket.get(), SHUT_WR);
    side.say("then", ending(socket.get()));
}

void epoll_edge_write_server(Side& side) {
    Epoll epoll;
    auto [listener, connection] = meet_and_accept(side);
    side.note("add", epoll.control(EPOLL_CTL_ADD, connection.get(), EPOLLOUT | EPOLLET));
    side.say("writable", epoll.wait(patience_ms));
    const std::string bytes(65536, 'x');
    std::size_t taken = 0;
    ssize_t sent = 0;
    while ((sent = ::send(connection.get(), bytes.data(), bytes.size(), MSG_DONTWAIT)) > 0)
        taken += static_cast<std::size_t>(sent);
    side.note("send into full buffers", sent);
    side.meet();
    side.say("writable again", epoll.wait(patience_ms));
    side.truth("it is", ::send(connection.get(), bytes.data(), 1, MSG_DONTWAIT) == 1);
    side.tell(std::to_string(taken + 1));
}

void epoll_edge_write_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.meet();
    const std::string got = drain(socket.get());
    side.truth("all came", got.rfind(side.hear() + " bytes", 0) == 0);
}

void epoll_one_shot_server(Side& side) {
    Epoll epoll;
    auto [listener, connection] = meet_and_accept(side);
    side.note("add", epoll.control(EPOLL_CTL_ADD, connection.get(), EPOLLIN | EPOLLONESHOT));
    side.meet();
    side.say("with a byte", epoll.wait(patience_ms));
    side.say("shot", epoll.wait(0));
    side.meet();
    await_bytes(connection.get(), 2);
    side.say("not armed", epoll.wait(0));
    side.note("arm", epoll.control(EPOLL_CTL_MOD, connection.get(), EPOLLIN | EPOLLONESHOT));
    side.say("armed", epoll.wait(0));
    side.say("shot", epoll.wait(0));
    side.say("all", receive(connection.get(), 2));
    side.note("arm", epoll.control(EPOLL_CTL_MOD, connection.get(), EPOLLIN | EPOLLONESHOT));
    side.say("nothing", epoll.wait(0));
}

void epoll_one_shot_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.meet();
    send_all(socket.get(), "a");
    side.meet();
    send_all(socket.get(), "b");
    side.say("then", ending(socket.get()));
}

void epoll_nested_server(Side& side) {
    Epoll inner, outer;
    Descriptor listener = listen_at(side);
    side.note("listener into the inner", inner.control(EPOLL_CTL_ADD, listener.get(), EPOLLIN | EPOLLEXCLUSIVE));
    side.note("inner into the outer", outer.control(EPOLL_CTL_ADD, inner.get(), EPOLLIN));
    side.say("outer", outer.wait(0));
    side.meet();
    side.say("outer with a client", outer.wait(patience_ms));
    side.say("poll of the outer", poll_names(outer.get(), POLLIN, 0));
    side.say("inner", inner.wait(0));
    Descriptor connection = accept_from(listener.get());
    side.say("outer after it", outer.wait(0));
    Descriptor copy(::dup(connection.get()));
    side.note("a copy into the inner", inner.control(EPOLL_CTL_ADD, copy.get(), EPOLLIN));
    side.note("the connection as well", inner.control(EPOLL_CTL_ADD, connection.get(), EPOLLIN));
    side.note("out it goes", inner.control(EPOLL_CTL_DEL, connection.get(), 0));
    side.meet();
    side.say("outer with a byte", outer.wait(patience_ms));
    // The set knows the open socket, not the number: what another copy keeps open is still told of.
    copy = Descriptor();
    side.say("inner after the copy's close", inner.wait(0));
    connection = Descriptor();
    side.say("inner after both", inner.wait(0));
}

void epoll_nested_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.meet();
    send_all(socket.get(), "x");
    side.say("then", ending(socket.get()));
}

std::atomic<int> alarms{0};

// Signals until it goes: one of them finds the call asleep.
class Alarms {
  public:
    explicit Alarms(int flags) {
        struct sigaction action {};
        action.sa_handler = [](int) { ++alarms; };
        action.sa_flags = flags;
        ::sigaction(SIGALRM, &action, nullptr);
        alarms = 0;
        const itimerval often{{0, 5000}, {0, 5000}};
        ::setitimer(ITIMER_REAL, &often, nullptr);
    }
    ~Alarms() {
        const itimerval never{};
        ::setitimer(ITIMER_REAL, &never, nullptr);
    }
    Alarms(const Alarms&) = delete;
    Alarms& operator=(const Alarms&) = delete;
};

void interrupted_server(Side& side) {
    Descriptor listener = listen_at(side);
    {
        const Alarms ring(0);
        side.note_ok("accept", ::accept(listener.get(), nullptr, nullptr));
        side.note_ok("accept4", ::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    }
    side.meet();
    Descriptor connection = accept_from(listener.get());
    std::array<char, 65536> buffer{};
    Epoll epoll;
    epoll.control(EPOLL_CTL_ADD, connection.get(), EPOLLIN);
    {
        const Alarms ring(0);
        side.note("read", ::read(connection.get(), buffer.data(), buffer.size()));
        side.note("recv", ::recv(connection.get(), buffer.data(), buffer.size(), 0));
        side.note("recv of all", ::recv(connection.get(), buffer.data(), buffer.size(), MSG_WAITALL));
    }
    {
        const Alarms ring(SA_RESTART);
        pollfd waiting{connection.get(), POLLIN, 0};
        side.note("poll", ::poll(&waiting, 1, patience_ms));
        side.say("epoll_wait", epoll.wait(patience_ms));
    }
    {
        const Alarms ring(0);
        ssize_t sent = 0;
        while ((sent = ::send(connection.get(), buffer.data(), buffer.size(), 0)) > 0) {
        }
        side.note("send into full buffers", sent);
    }
    side.meet();
}

void interrupted_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.meet();
}

void restarted_server(Side& side) {
    Descriptor listener = listen_at(side);
    std::array<char, 64> buffer{};
    const Alarms ring(SA_RESTART);
    // Each call sleeps through signals until this asks the client.
    std::thread asks([&side] {
        sigset_t all;
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
        for (int i = 0; i < 2; ++i) {
            for (const int before = alarms; alarms < before + 3;)
                ::poll(nullptr, 0, 1);
            side.meet();
        }
    });
    Descriptor connection(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    const ssize_t got = ::recv(connection.get(), buffer.data(), buffer.size(), 0);
    asks.join();
    side.truth("accept went on", connection.get() >= 0);
    side.note("recv went on", got);
}

void restarted_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.meet();
    send_all(socket.get(), "hello");
}

constexpr Check table[] = {
    {"select", select_server, select_client},
    {"poll", poll_server, poll_client},
    {"poll-own-end", poll_own_end_server, poll_own_end_client},
    {"epoll-level", epoll_level_server, epoll_level_client},
    {"epoll-edge", epoll_edge_server, epoll_edge_client},
    {"epoll-edge-write", epoll_edge_write_server, epoll_edge_write_client},
    {"epoll-one-shot", epoll_one_shot_server, epoll_one_shot_client},
    {"epoll-nested", epoll_nested_server, epoll_nested_client},
    {"EINTR", interrupted_server, interrupted_client},
    {"SA_RESTART", restarted_server, restarted_client},
};

}  // namespace

std::span<const Check> readiness_checks() { return table; }

}  // namespace understudy::conformance
