// What is read and written, and how calls that cannot go on say so.
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>

#include "tests/shim/check.hh"
#include "tests/shim/sockets.hh"

namespace understudy::conformance {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr timeval short_wait{0, 20'000};

void blocking_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    std::array<char, 64> buffer{};
    side.note("read", ::read(connection.get(), buffer.data(), buffer.size()));
    side.note("write", ::write(connection.get(), buffer.data(), 5));
    side.note("read at the end", ::read(connection.get(), buffer.data(), buffer.size()));
    side.note("read at the end again", ::read(connection.get(), buffer.data(), buffer.size()));
}

void blocking_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    send_all(socket.get(), "hello");
    side.say("answer", receive(socket.get(), 5));
}

void non_blocking_server(Side& side) {
    Descriptor listener = listen_at(side, SOCK_NONBLOCK);
    side.note_ok("accept of nothing", ::accept(listener.get(), nullptr, nullptr));
    side.meet();
    Descriptor connection = accept_from(listener.get());
    std::array<char, 4096> buffer{};
    int on = 1;
    side.note("FIONBIO", ::ioctl(connection.get(), FIONBIO, &on));
    side.note("recv of nothing", ::recv(connection.get(), buffer.data(), buffer.size(), 0));
    side.meet();
    await_bytes(connection.get(), 5);
    side.note("recv", ::recv(connection.get(), buffer.data(), buffer.size(), 0));
    side.note("recv of nothing more", ::recv(connection.get(), buffer.data(), buffer.size(), 0));
    // The client reads nothing yet: every buffer on the way fills.
    std::size_t taken = 0;
    ssize_t sent = 0;
    while ((sent = ::send(connection.get(), buffer.data(), buffer.size(), 0)) > 0)
        taken += static_cast<std::size_t>(sent);
    side.note("send into full buffers", sent);
    side.truth("much was taken", taken > 64 * 1024);
    ::shutdown(connection.get(), SHUT_WR);
    side.tell(std::to_string(taken));
    side.meet();
}

void non_blocking_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.meet();
    send_all(socket.get(), "hello");
    const std::string taken = side.hear();
    const std::string got = drain(socket.get());
    side.truth("all that was taken comes", got.rfind(taken + " bytes ", 0) == 0);
    side.truth("then the end", got.find(", then end") != std::string::npos);
    side.meet();
}

void peek_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    await_bytes(connection.get(), 10);
    std::array<char, 64> buffer{};
    side.note("peek at 4", ::recv(connection.get(), buffer.data(), 4, MSG_PEEK));
    side.note("peek at all", ::recv(connection.get(), buffer.data(), buffer.size(), MSG_PEEK));
    side.say("peeked", std::string(buffer.data(), 10));
    side.note("peek for as many", ::recv(connection.get(), buffer.data(), 10, MSG_PEEK | MSG_WAITALL));
    side.note("read 4", ::recv(connection.get(), buffer.data(), 4, 0));
    side.note("peek at the rest", ::recv(connection.get(), buffer.data(), buffer.size(), MSG_PEEK));
    side.say("rest", std::string(buffer.data(), 6));
    side.note("read the rest", ::recv(connection.get(), buffer.data(), buffer.size(), 0));
    side.note("peek at nothing", ::recv(connection.get(), buffer.data(), 1, MSG_PEEK | MSG_DONTWAIT));
    side.meet();
    side.note("peek at the end", ::recv(connection.get(), buffer.data(), 1, MSG_PEEK));
}

void peek_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    send_all(socket.get(), "0123456789");
    side.meet();
}

void wait_all_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    std::array<char, 64> buffer{};
    await_bytes(connection.get(), 3);
    side.meet();
    side.note("8 of 3 and 5", ::recv(connection.get(), buffer.data(), 8, MSG_WAITALL));
    side.say("bytes", std::string(buffer.data(), 8));
    side.note("10 of 4 and the end", ::recv(connection.get(), buffer.data(), 10, MSG_WAITALL));
    side.note("at the end", ::recv(connection.get(), buffer.data(), 10, MSG_WAITALL));
}

void wait_all_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    send_all(socket.get(), "abc");
    side.meet();
    send_all(socket.get(), "defghijkl");
}

void dont_wait_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    std::array<char, 64> buffer{};
    side.note("recv of nothing", ::recv(connection.get(), buffer.data(), buffer.size(), MSG_DONTWAIT));
    side.note("recv of nothing, all of it", ::recv(connection.get(), buffer.data(), 8, MSG_DONTWAIT | MSG_WAITALL));
    side.meet();
    await_bytes(connection.get(), 3);
    side.note("recv of all of 8", ::recv(connection.get(), buffer.data(), 8, MSG_DONTWAIT | MSG_WAITALL));
    side.note("send", ::send(connection.get(), "ok", 2, MSG_DONTWAIT));
    side.note("recv of no room", ::recv(connection.get(), buffer.data(), 0, MSG_DONTWAIT));
    side.note("send of nothing", ::send(connection.get(), buffer.data(), 0, 0));
}

void dont_wait_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.meet();
    send_all(socket.get(), "abc");
    side.say("answer", receive(socket.get(), 2));
    side.say("then", ending(socket.get()));
}

void time_limits_server(Side& side) {
    Descriptor listener = listen_at(side);
    side.note("SO_RCVTIMEO of the listener",
              ::setsockopt(listener.get(), SOL_SOCKET, SO_RCVTIMEO, &short_wait, sizeof short_wait));
    auto began = Clock::now();
    side.note_ok("accept", ::accept(listener.get(), nullptr, nullptr));
    side.truth("not before its time", Clock::now() - began >= milliseconds(20));
    side.meet();
    Descriptor connection = accept_from(listener.get());
    side.note("SO_RCVTIMEO", ::setsockopt(connection.get(), SOL_SOCKET, SO_RCVTIMEO, &short_wait, sizeof short_wait));
    side.note("SO_SNDTIMEO", ::setsockopt(connection.get(), SOL_SOCKET, SO_SNDTIMEO, &short_wait, sizeof short_wait));
    timeval set{};
    socklen_t length = sizeof set;
    side.note("getsockopt", ::getsockopt(connection.get(), SOL_SOCKET, SO_RCVTIMEO, &set, &length));
    side.truth("as set", set.tv_sec == 0 && set.tv_usec >= 20'000 && set.tv_usec < 30'000);
    std::array<char, 65536> buffer{};
    began = Clock::now();
    side.note("recv", ::recv(connection.get(), buffer.data(), buffer.size(), 0));
    side.truth("not before its time", Clock::now() - began >= milliseconds(20));
    side.note("poll", ::poll(nullptr, 0, 1));
    ssize_t sent = 0;
    while ((sent = ::send(connection.get(), buffer.data(), buffer.size(), 0)) > 0) {
    }
    side.note("send into full buffers", sent);
    side.meet();
}

void time_limits_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.meet();
}

void urgent_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    std::array<char, 64> buffer{};
    side.note("recv of no urgent byte", ::recv(connection.get(), buffer.data(), 1, MSG_OOB));
    side.meet();
    side.say("poll", settle(connection.get(), POLLIN | POLLPRI, "IN PRI"));
    side.note("recv of the urgent byte", ::recv(connection.get(), buffer.data(), 1, MSG_OOB));
    side.say("it is", std::string(buffer.data(), 1));
    side.note("recv to the mark", ::recv(connection.get(), buffer.data(), buffer.size(), 0));
    side.say("bytes", std::string(buffer.data(), 3));
    int at_mark = 0;
    side.note("SIOCATMARK", ::ioctl(connection.get(), SIOCATMARK, &at_mark));
    side.note("at the mark", at_mark);
    side.note("recv beyond it", ::recv(connection.get(), buffer.data(), buffer.size(), 0));
    side.say("bytes", std::string(buffer.data(), 3));
    side.note("send of an urgent byte", ::send(connection.get(), "xyz", 3, MSG_OOB));
    side.meet();
}

void urgent_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.meet();
    send_all(socket.get(), "abc");
    side.note("send of an urgent byte", ::send(socket.get(), "!", 1, MSG_OOB));
    send_all(socket.get(), "def");
    side.say("poll", settle(socket.get(), POLLIN | POLLPRI, "IN PRI"));
    char byte = '-';
    side.note("recv of the urgent byte", ::recv(socket.get(), &byte, 1, MSG_OOB));
    side.say("it is", std::string(1, byte));
    side.say("before it", receive(socket.get(), 2));
    side.meet();
}

void urgent_inline_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    const int on = 1;
    side.note("SO_OOBINLINE", ::setsockopt(connection.get(), SOL_SOCKET, SO_OOBINLINE, &on, sizeof on));
    side.meet();
    side.say("all in its order", receive(connection.get(), 7));
}

void urgent_inline_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.meet();
    send_all(socket.get(), "abc");
    side.note("send of an urgent byte", ::send(socket.get(), "!", 1, MSG_OOB));
    send_all(socket.get(), "def");
    side.say("then", ending(socket.get()));
}

void counts_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    int count = -1;
    side.note("FIONREAD", ::ioctl(connection.get(), FIONREAD, &count));
    side.note("nothing", count);
    side.meet();
    await_bytes(connection.get(), 7);
    ::ioctl(connection.get(), FIONREAD, &count);
    side.note("seven", count);
    (void)receive(connection.get(), 3);
    ::ioctl(connection.get(), FIONREAD, &count);
    side.note("four", count);
    (void)receive(connection.get(), 4);
}

void counts_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.meet();
    send_all(socket.get(), "0123456");
    side.say("then", ending(socket.get()));
}

void unsent_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    send_all(connection.get(), "answer");
    side.meet();
    // The client has it; the last acknowledgement is on its way.
    int count = 0;
    for (int looks = 0; looks < 1000; ++looks, ::poll(nullptr, 0, 1)) {
        if (::ioctl(connection.get(), TIOCOUTQ, &count) != 0) count = -1;
        if (count <= 0) break;
    }
    side.note("TIOCOUTQ in the end", count);
}

void unsent_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.say("answer", receive(socket.get(), 6));
    side.meet();
}

void message_calls_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    await_bytes(connection.get(), 8);
    std::array<char, 64> buffer{};
    sockaddr_storage from{};
    socklen_t length = sizeof from;
    side.note("recvfrom", ::recvfrom(connection.get(), buffer.data(), 4, 0, reinterpret_cast<sockaddr*>(&from), &length));
    side.note("length of its address", static_cast<long>(length));
    iovec part{buffer.data(), buffer.size()};
    std::array<char, 256> control{};
    msghdr message{};
    message.msg_name = &from;
    message.msg_namelen = sizeof from;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    side.note("recvmsg", ::recvmsg(connection.get(), &message, 0));
    side.note("length of its address", static_cast<long>(message.msg_namelen));
    side.note("length of its control data", static_cast<long>(message.msg_controllen));
    side.note("its flags", message.msg_flags);
    const sockaddr_in elsewhere = side.service();
    side.note("sendto with an address", ::sendto(connection.get(), "1234", 4, 0,
                                                 reinterpret_cast<const sockaddr*>(&elsewhere), sizeof elsewhere));
    side.note("send, more to come", ::send(connection.get(), "56", 2, MSG_MORE));
    side.note("send", ::send(connection.get(), "78", 2, 0));
    mmsghdr several[2]{};
    iovec parts[2] = {{const_cast<char*>("ab"), 2}, {const_cast<char*>("cd"), 2}};
    for (int i = 0; i < 2; ++i) {
        several[i].msg_hdr.msg_iov = &parts[i];
        several[i].msg_hdr.msg_iovlen = 1;
    }
    side.note("sendmmsg", ::sendmmsg(connection.get(), several, 2, 0));
    side.meet();
}

void message_calls_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    send_all(socket.get(), "01234567");
    side.meet();
    ::shutdown(socket.get(), SHUT_WR);
    side.say("answer", receive(socket.get(), 12));
}

void stdio_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    std::FILE* in = ::fdopen(::dup(connection.get()), "r");
    std::FILE* out = ::fdopen(::dup(connection.get()), "w");
    std::array<char, 64> line{};
    while (std::fgets(line.data(), line.size(), in) != nullptr)
        std::fprintf(out, "got %s", line.data());
    side.truth("end of file", std::feof(in) != 0);
    side.truth("error", std::ferror(in) != 0);
    side.note("fclose", std::fclose(out));
    side.note("fclose", std::fclose(in));
}

void stdio_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    send_all(socket.get(), "one\ntwo\n");
    ::shutdown(socket.get(), SHUT_WR);
    side.say("answer", receive(socket.get(), 16));
    side.say("then", ending(socket.get()));
}

constexpr Check table[] = {
    {"blocking", blocking_server, blocking_client},
    {"non-blocking", non_blocking_server, non_blocking_client},
    {"MSG_PEEK", peek_server, peek_client},
    {"MSG_WAITALL", wait_all_server, wait_all_client},
    {"MSG_DONTWAIT", dont_wait_server, dont_wait_client},
    {"SO_RCVTIMEO", time_limits_server, time_limits_client},
    {"urgent", urgent_server, urgent_client},
    {"urgent-inline", urgent_inline_server, urgent_inline_client},
    {"FIONREAD", counts_server, counts_client},
    {"TIOCOUTQ", unsent_server, unsent_client},
    {"recvmsg", message_calls_server, message_calls_client},
    {"stdio", stdio_server, stdio_client},
};

}  // namespace

std::span<const Check> data_checks() { return table; }

}  // namespace understudy::conformance
