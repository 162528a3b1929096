// How connections end: FIN and RST in both directions, linger, SIGPIPE.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>

#include "tests/shim/check.hh"
#include "tests/shim/sockets.hh"

namespace understudy::conformance {
namespace {

constexpr short all_events = POLLIN | POLLOUT | POLLRDHUP;
constexpr std::size_t much = 256 * 1024;

void client_first_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    side.say("input", drain(connection.get()));
    send_all(connection.get(), pattern(much));
    side.note("shutdown", ::shutdown(connection.get(), SHUT_WR));
    side.note("close", ::close(::dup(connection.get())));
}

void client_first_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    send_all(socket.get(), pattern(1000));
    ::shutdown(socket.get(), SHUT_WR);
    side.say("answer", drain(socket.get()));
}

void server_first_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    send_all(connection.get(), "bye");
    side.note("shutdown", ::shutdown(connection.get(), SHUT_WR));
    side.note("send after it", ::send(connection.get(), "x", 1, MSG_NOSIGNAL));
    side.say("input", drain(connection.get()));
}

void server_first_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.say("answer", drain(socket.get()));
    send_all(socket.get(), pattern(much));
    ::shutdown(socket.get(), SHUT_WR);
    side.meet();
}

void server_first_server_met(Side& side) {
    server_first_server(side);
    side.meet();
}

void shut_reading_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    side.note("shutdown", ::shutdown(connection.get(), SHUT_RD));
    char byte = 0;
    side.note("recv", ::recv(connection.get(), &byte, 1, 0));
    side.say("poll", poll_names(connection.get(), all_events, 0));
    send_all(connection.get(), "still speaking");
    side.note("a shutdown of no kind", ::shutdown(connection.get(), 17));
    side.note("both", ::shutdown(connection.get(), SHUT_RDWR));
    side.say("poll", poll_names(connection.get(), all_events, 0));
}

void shut_reading_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.say("answer", receive(socket.get(), 14));
    side.say("then", ending(socket.get()));
}

void client_resets_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    side.meet();
    side.say("poll", settle(connection.get(), all_events, "IN OUT RDHUP ERR HUP"));
    char byte = 0;
    side.note("recv", ::recv(connection.get(), &byte, 1, 0));
    side.note("recv again", ::recv(connection.get(), &byte, 1, 0));
    side.note("send", ::send(connection.get(), "x", 1, MSG_NOSIGNAL));
    side.say("poll", poll_names(connection.get(), all_events, 0));
    sockaddr_in peer{};
    socklen_t length = sizeof peer;
    side.note("getpeername", ::getpeername(connection.get(), reinterpret_cast<sockaddr*>(&peer), &length));
    side.note("shutdown", ::shutdown(connection.get(), SHUT_WR));
}

void client_resets_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.meet();
    reset_on_close(socket.get());
}

void reset_with_data_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    await_bytes(connection.get(), 5);
    side.meet();
    await(connection.get(), POLLHUP);
    std::array<char, 16> buffer{};
    side.note("recv", ::recv(connection.get(), buffer.data(), buffer.size(), 0));
    side.note("recv again", ::recv(connection.get(), buffer.data(), buffer.size(), 0));
    side.note("and again", ::recv(connection.get(), buffer.data(), buffer.size(), 0));
}

void reset_with_data_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    send_all(socket.get(), "hello");
    side.meet();
    reset_on_close(socket.get());
}

void reset_asked_for_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    side.meet();
    await(connection.get(), POLLHUP);
    int error = 0;
    socklen_t length = sizeof error;
    side.note("SO_ERROR", ::getsockopt(connection.get(), SOL_SOCKET, SO_ERROR, &error, &length));
    side.say("it is", name_of_error(error));
    ::getsockopt(connection.get(), SOL_SOCKET, SO_ERROR, &error, &length);
    side.say("once only", name_of_error(error));
    side.say("then", ending(connection.get()));
}

// Both reset what they are connected with by a send after close.
void reset_while_writing_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    std::array<char, 65536> buffer{};
    ssize_t sent = 0;
    while ((sent = ::send(connection.get(), buffer.data(), buffer.size(), MSG_NOSIGNAL)) > 0) {
    }
    side.note("a send that slept through the reset", sent);
    side.note("send again", ::send(connection.get(), "x", 1, MSG_NOSIGNAL));
}

void reset_while_writing_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.say("first", std::to_string(receive(socket.get(), 65536).size()));
    reset_on_close(socket.get());
}

void server_resets_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    reset_on_close(connection.get());
    linger value{};
    socklen_t length = sizeof value;
    side.note("SO_LINGER", ::getsockopt(connection.get(), SOL_SOCKET, SO_LINGER, &value, &length));
    side.say("as set", std::to_string(value.l_onoff) + " " + std::to_string(value.l_linger));
}

void tells_ending_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.say("ends with", ending(socket.get()));
}

void close_with_input_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    await_bytes(connection.get(), 5);
}

void close_with_input_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    send_all(socket.get(), "hello");
    side.say("ends with", ending(socket.get()));
}

void close_after_input_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    side.say("input", receive(connection.get(), 5));
    send_all(connection.get(), pattern(much));
}

void close_after_input_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    send_all(socket.get(), "hello");
    side.say("answer", drain(socket.get()));
}

void input_after_close_server(Side& side) {
    {
        auto [listener, connection] = meet_and_accept(side);
    }
    side.meet();
    side.meet();
}

void input_after_close_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.say("first", ending(socket.get()));
    side.meet();
    send_all(socket.get(), "to nobody");
    await(socket.get(), POLLHUP);
    side.say("then", ending(socket.get()));
    side.meet();
}

void lingering_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    const linger value{1, 5};
    side.note("SO_LINGER", ::setsockopt(connection.get(), SOL_SOCKET, SO_LINGER, &value, sizeof value));
    send_all(connection.get(), pattern(much));
    const int number = ::fcntl(connection.get(), F_DUPFD_CLOEXEC, 0);
    connection = Descriptor();
    side.note("close", ::close(number));
    side.meet();
}

void lingering_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.say("answer", drain(socket.get()));
    side.meet();
}

volatile std::sig_atomic_t pipes = 0;

void broken_pipe_server(Side& side) {
    struct sigaction action {};
    action.sa_handler = [](int) { pipes = pipes + 1; };
    ::sigaction(SIGPIPE, &action, nullptr);
    auto [listener, connection] = meet_and_accept(side);
    ::shutdown(connection.get(), SHUT_WR);
    side.note("write after the own end", ::write(connection.get(), "x", 1));
    side.note("SIGPIPE", pipes);
    side.note("send without the signal", ::send(connection.get(), "x", 1, MSG_NOSIGNAL));
    side.note("SIGPIPE", pipes);
    side.meet();
    await(connection.get(), POLLHUP);
    Descriptor other = accept_from(listener.get());
    side.meet();
    await(other.get(), POLLHUP);
    char byte = 0;
    side.note("recv", ::recv(other.get(), &byte, 1, 0));
    side.note("write after the reset", ::write(other.get(), "x", 1));
    side.note("SIGPIPE", pipes);
}

void broken_pipe_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.meet();
    socket = Descriptor();
    Descriptor other = connect_to(side);
    side.meet();
    reset_on_close(other.get());
}

// A process that is killed says FIN, unless it left input unread.
void killed_server(Side& side) {
    Descriptor listener = listen_at(side);
    const pid_t child = ::fork();
    if (child == 0) {
        Descriptor connection = accept_from(listener.get());
        (void)receive(connection.get(), 5);
        send_all(connection.get(), "last words");
        ::raise(SIGKILL);
    }
    side.meet();
    ::waitpid(child, nullptr, 0);
    side.meet();
}

void killed_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    send_all(socket.get(), "hello");
    side.say("answer", drain(socket.get()));
    side.meet();
}

void closed_listener_server(Side& side) {
    Descriptor listener = listen_at(side);
    side.meet();
    side.meet();
    await(listener.get(), POLLIN);
    listener = Descriptor();
    side.meet();
    side.meet();
}

void closed_listener_client(Side& side) {
    Descriptor waiting = meet_and_connect(side);
    side.meet();
    side.meet();
    side.say("whom nobody accepted", ending(waiting.get()));
    Descriptor late(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    side.note("connect", ::connect(late.get(), reinterpret_cast<const sockaddr*>(&side.service()), sizeof side.service()));
    side.meet();
}

constexpr Check table[] = {
    {"half-close", client_first_server, client_first_client},
    {"half-close-server-first", server_first_server_met, server_first_client},
    {"SHUT_RD", shut_reading_server, shut_reading_client},
    {"reset", client_resets_server, client_resets_client},
    {"reset-with-data", reset_with_data_server, reset_with_data_client},
    {"reset-SO_ERROR", reset_asked_for_server, client_resets_client},
    {"reset-while-writing", reset_while_writing_server, reset_while_writing_client},
    {"reset-by-server", server_resets_server, tells_ending_client},
    {"close-with-input", close_with_input_server, close_with_input_client},
    {"close-after-input", close_after_input_server, close_after_input_client},
    {"input-after-close", input_after_close_server, input_after_close_client},
    {"SO_LINGER", lingering_server, lingering_client},
    {"SIGPIPE", broken_pipe_server, broken_pipe_client},
    {"killed", killed_server, killed_client},
    {"closed-listener", closed_listener_server, closed_listener_client},
};

}  // namespace

std::span<const Check> ending_checks() { return table; }

}  // namespace understudy::conformance
