// shim::Service between connections that the test plays and a program whose system calls the test makes.
#include "shadow_app/shim/service.hh"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "tests/unit/shadow_app/fake_connection.hh"

namespace understudy::shadow_app::shim {
namespace {

using proto::shim::Kind;
using proto::shim::Message;

// A program's socket on the channel, as the preload library uses it.
class Program {
  public:
    Program(Service& service, Kind kind, bool shares_port = false) : service_(service) {
        std::array<int, 2> pair{};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair.data()), 0);
        channel = Descriptor(pair[0]);
        Message first;
        first.kind = kind;
        first.family = AF_INET;
        first.shares_port = shares_port;
        first.local.port = 6379;
        service.adopt(Descriptor(pair[1]), first);
        answer = receive().first;
        id = answer.id;
    }
    void send(Message message, int passed = -1) {
        message.id = message.id == 0 ? id : message.id;
        iovec part{&message, sizeof message};
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
        msghdr header{};
        header.msg_iov = &part;
        header.msg_iovlen = 1;
        if (passed >= 0) {
            header.msg_control = control.data();
            header.msg_controllen = control.size();
            cmsghdr* first = CMSG_FIRSTHDR(&header);
            *first = {.cmsg_len = CMSG_LEN(sizeof passed), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
            std::memcpy(CMSG_DATA(first), &passed, sizeof passed);
        }
        ASSERT_EQ(::sendmsg(channel.get(), &header, 0), static_cast<ssize_t>(sizeof message));
        service_.poll();
    }
    void listen() {
        Message message;
        message.kind = Kind::listen;
        send(message);
    }
    std::pair<Message, Descriptor> receive() {
        Message message;
        iovec part{&message, sizeof message};
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
        msghdr header{};
        header.msg_iov = &part;
        header.msg_iovlen = 1;
        header.msg_control = control.data();
        header.msg_controllen = control.size();
        if (::recvmsg(channel.get(), &header, MSG_DONTWAIT) <= 0) return {};
        const cmsghdr* first = CMSG_FIRSTHDR(&header);
        int passed = -1;
        if (first != nullptr) std::memcpy(&passed, CMSG_DATA(first), sizeof passed);
        return {message, Descriptor(passed)};
    }
    Message ask(Message question) {
        std::array<int, 2> pair{};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair.data()), 0);
        const Descriptor mine(pair[0]), theirs(pair[1]);
        send(question, theirs.get());
        Message told;
        EXPECT_EQ(::recv(mine.get(), &told, sizeof told, MSG_DONTWAIT), static_cast<ssize_t>(sizeof told));
        return told;
    }

    Descriptor channel;
    Message answer;
    std::uint64_t id = 0;

  private:
    Service& service_;
};

Message option(Kind kind, int level, int name, int value = 0) {
    Message message;
    message.kind = kind;
    message.level = level;
    message.name = name;
    message.length = sizeof value;
    std::memcpy(message.value, &value, sizeof value);
    return message;
}

class ShimService : public ::testing::Test {
  protected:
    ShimService() { program.listen(); }
    Descriptor accept(FakeConnection& from) {
        service.accepted(from);
        return program.receive().second;
    }
    std::string read(const Descriptor& socket) {
        std::array<char, 4096> buffer{};
        const ssize_t got = ::recv(socket.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (got < 0) return std::string("error ") + std::strerror(errno);
        return {buffer.data(), static_cast<std::size_t>(got)};
    }
    void write(const Descriptor& socket, const std::string& text) {
        ASSERT_EQ(::send(socket.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
        service.poll();
    }

    Service service;
    Program program{service, Kind::bind};
    FakeConnection connection;
};

TEST_F(ShimService, CarriesBytesBothWays) {
    const Descriptor socket = accept(connection);
    ASSERT_TRUE(socket);
    EXPECT_EQ(service.received(connection, bytes_of("question")), 8u);
    EXPECT_EQ(read(socket), "question");
    write(socket, "answer");
    write(socket, ", more");
    EXPECT_EQ(connection.written, "answer, more");
}

TEST_F(ShimService, ResetsConnectionsThatNoProgramAccepts) {
    Service none;
    none.accepted(connection);
    EXPECT_EQ(connection.aborts, 1);
    EXPECT_EQ(none.counters().refused_no_program, 1u);
    program.channel.reset();
    service.poll();
    service.accepted(connection);
    EXPECT_EQ(connection.aborts, 2);
}

TEST_F(ShimService, LeavesInputThatTheProgramDoesNotRead) {
    const Descriptor socket = accept(connection);
    const std::string megabyte(1 << 20, 'x');
    const std::size_t taken = service.received(connection, bytes_of(megabyte));
    ASSERT_GT(taken, 0u);
    ASSERT_LT(taken, megabyte.size());
    EXPECT_EQ(service.received(connection, bytes_of(megabyte)), 0u);
    service.poll();
    EXPECT_EQ(connection.resumes, 0);
    for (std::size_t got = 0; got < taken; got += read(socket).size()) {
    }
    service.poll();
    EXPECT_EQ(connection.resumes, 1);
    EXPECT_GT(service.received(connection, bytes_of(megabyte)), 0u);
}

TEST_F(ShimService, LeavesOutputForWhichTheStackHasNoRoom) {
    const Descriptor socket = accept(connection);
    connection.room = 3;
    write(socket, "abcdef");
    EXPECT_EQ(connection.written, "abc");
    connection.room = 100;
    service.writable(connection);
    EXPECT_EQ(connection.written, "abcdef");
}

// The byte that is left unread pins its whole buffer: that must not keep the program from writing.
TEST_F(ShimService, HasRoomAgainOnceAllOutputIsRead) {
    const Descriptor socket = accept(connection);
    connection.room = 0;
    const std::string piece(200 << 10, 'x');
    std::size_t sent = 0;
    for (ssize_t now = 0; (now = ::send(socket.get(), piece.data(), piece.size(), MSG_DONTWAIT)) > 0;)
        sent += static_cast<std::size_t>(now);
    ASSERT_EQ(errno, EAGAIN);
    service.poll();
    pollfd writable{.fd = socket.get(), .events = POLLOUT, .revents = 0};
    ASSERT_EQ(::poll(&writable, 1, 0), 0);
    connection.room = sent;
    service.writable(connection);
    while (connection.written.size() < sent && service.poll() != 0) {
    }
    EXPECT_EQ(connection.written.size(), sent);
    EXPECT_EQ(::poll(&writable, 1, 0), 1);
}

TEST_F(ShimService, TellsTheEndOfInputAndGoesOnWriting) {
    const Descriptor socket = accept(connection);
    service.received(connection, bytes_of("last"));
    service.peer_closed(connection);
    EXPECT_EQ(read(socket), "last");
    EXPECT_EQ(read(socket), "");
    write(socket, "still here");
    EXPECT_EQ(connection.written, "still here");
    EXPECT_EQ(connection.closes + connection.shutdowns + connection.aborts, 0);
}

TEST_F(ShimService, SendsFinAfterAllOutput) {
    const Descriptor socket = accept(connection);
    connection.room = 2;
    write(socket, "abcd");
    ::shutdown(socket.get(), SHUT_WR);
    service.poll();
    EXPECT_EQ(connection.shutdowns, 0);
    connection.room = 100;
    service.writable(connection);
    EXPECT_EQ(connection.written, "abcd");
    EXPECT_EQ(connection.shutdowns, 1);
    service.received(connection, bytes_of("input goes on"));
    EXPECT_EQ(read(socket), "input goes on");
}

TEST_F(ShimService, ClosesAfterAllOutput) {
    Descriptor socket = accept(connection);
    ::send(socket.get(), "bye", 3, 0);
    socket.reset();
    service.poll();
    EXPECT_EQ(connection.written, "bye");
    EXPECT_EQ(connection.closes, 1);
    EXPECT_EQ(connection.aborts, 0);
}

TEST_F(ShimService, ResetsWhatIsClosedWithInputUnread) {
    Descriptor socket = accept(connection);
    service.received(connection, bytes_of("unread"));
    socket.reset();
    service.poll();
    EXPECT_EQ(connection.aborts, 1);
}

// rules.md 29: a truncated upload must not look complete.
TEST_F(ShimService, TellsTheProgramOfAReset) {
    const Descriptor socket = accept(connection);
    service.received(connection, bytes_of("half"));
    service.closed(connection, CloseReason::reset_by_peer);
    EXPECT_EQ(read(socket), "half");
    EXPECT_EQ(read(socket), std::string("error ") + std::strerror(ECONNRESET));
    EXPECT_EQ(service.counters().resets, 1u);
}

TEST_F(ShimService, EndsAFinishedConnectionWithoutError) {
    const Descriptor socket = accept(connection);
    write(socket, "answer");
    service.received(connection, bytes_of("last"));
    service.closed(connection, CloseReason::finished);
    EXPECT_EQ(read(socket), "last");
    EXPECT_EQ(read(socket), "");
    EXPECT_EQ(service.counters().resets, 0u);
}

// rules.md 2, for a program that finds both sockets ready.
TEST_F(ShimService, GivesInputToOneConnectionAfterTheOtherWhileSilent) {
    FakeConnection other;
    connection.is_silent = other.is_silent = true;
    const Descriptor first = accept(connection), second = accept(other);
    EXPECT_EQ(service.received(connection, bytes_of("1")), 1u);
    EXPECT_EQ(service.received(other, bytes_of("2")), 0u);
    EXPECT_EQ(service.received(connection, bytes_of("3")), 0u);
    service.poll();
    EXPECT_EQ(other.resumes, 0);
    EXPECT_EQ(read(first), "1");
    service.poll();
    EXPECT_EQ(other.resumes, 1);
    EXPECT_EQ(connection.resumes, 0);
    EXPECT_EQ(service.received(other, bytes_of("2")), 1u);
    EXPECT_EQ(read(second), "2");
    service.poll();
    EXPECT_EQ(connection.resumes, 1);
    EXPECT_EQ(service.received(connection, bytes_of("3")), 1u);
    EXPECT_EQ(service.counters().turns_waited, 2u);
}

TEST_F(ShimService, DoesNotWaitForAProgramThatDoesNotRead) {
    FakeConnection other;
    connection.is_silent = other.is_silent = true;
    const Descriptor first = accept(connection), second = accept(other);
    service.received(connection, bytes_of("1"));
    EXPECT_EQ(service.received(other, bytes_of("2")), 0u);
    ASSERT_EQ(connection.timer, order_patience);
    service.timer(connection);
    EXPECT_EQ(other.resumes, 1);
    EXPECT_EQ(service.received(other, bytes_of("2")), 1u);
    EXPECT_EQ(service.counters().turns_given_up, 1u);
}

TEST_F(ShimService, PassesTheTurnOnWhenItsConnectionEndsOrTheReplicaServes) {
    FakeConnection other, third;
    connection.is_silent = other.is_silent = third.is_silent = true;
    const Descriptor first = accept(connection), second = accept(other), last = accept(third);
    service.received(connection, bytes_of("1"));
    service.received(other, bytes_of("2"));
    service.received(third, bytes_of("3"));
    service.closed(connection, CloseReason::finished);
    EXPECT_EQ(other.resumes, 1);
    EXPECT_EQ(third.resumes, 0);
    other.is_silent = third.is_silent = false;
    service.timer(other);
    EXPECT_EQ(third.resumes, 1);
    EXPECT_EQ(service.received(third, bytes_of("3")), 1u);
}

TEST_F(ShimService, SharesAPortAsTheKernelDoes) {
    EXPECT_EQ(Program(service, Kind::bind).answer.error, EADDRINUSE);
    EXPECT_EQ(Program(service, Kind::bind, true).answer.error, EADDRINUSE);
    Service shared;
    Program first(shared, Kind::bind, true), second(shared, Kind::bind, true);
    first.listen();
    second.listen();
    ASSERT_EQ(second.answer.error, 0);
    FakeConnection other;
    shared.accepted(connection);
    shared.accepted(other);
    EXPECT_TRUE(first.receive().second);
    EXPECT_TRUE(second.receive().second);
}

TEST_F(ShimService, SetsOptionsOfAConnectionAndOfAllThatAreAccepted) {
    program.send(option(Kind::set_option, IPPROTO_TCP, TCP_KEEPIDLE, 7));
    const Descriptor socket = accept(connection);
    EXPECT_EQ(connection.set.keepalive_idle, std::chrono::seconds(7));
    FakeConnection other;
    service.accepted(other);
    const auto [accepted, second] = program.receive();
    Message nodelay = option(Kind::set_option, IPPROTO_TCP, TCP_NODELAY, 1);
    nodelay.id = accepted.id;
    Program attached(service, Kind::attach);
    attached.send(nodelay);
    EXPECT_TRUE(other.set.nodelay);
    EXPECT_FALSE(connection.set.nodelay);
    nodelay.kind = Kind::get_option;
    const Message told = attached.ask(nodelay);
    int value = 0;
    std::memcpy(&value, told.value, sizeof value);
    EXPECT_EQ(value, 1);
}

TEST_F(ShimService, RefusesWhatIsNoOptionAndNoValue) {
    EXPECT_EQ(program.ask(option(Kind::set_option, IPPROTO_TCP, 9999, 1)).error, ENOPROTOOPT);
    EXPECT_EQ(program.ask(option(Kind::set_option, IPPROTO_TCP, TCP_KEEPCNT, 128)).error, EINVAL);
    Message dead = option(Kind::get_option, IPPROTO_TCP, TCP_INFO);
    dead.id = 12345;
    EXPECT_EQ(program.ask(dead).error, ENOTCONN);
    EXPECT_EQ(service.counters().options_refused, 3u);
    Message foreign;
    foreign.magic_number = 1;
    program.send(foreign);
    EXPECT_EQ(service.counters().messages_refused, 1u);
}

// An option that was set just before close() counts for that close.
TEST_F(ShimService, HearsOptionsBeforeTheClose) {
    service.accepted(connection);
    auto [accepted, socket] = program.receive();
    Message abort = option(Kind::set_option, SOL_SOCKET, SO_LINGER);
    const linger now{.l_onoff = 1, .l_linger = 0};
    abort.length = sizeof now;
    std::memcpy(abort.value, &now, sizeof now);
    abort.id = accepted.id;
    ASSERT_EQ(::send(program.channel.get(), &abort, sizeof abort, 0), static_cast<ssize_t>(sizeof abort));
    socket.reset();
    service.poll();
    EXPECT_TRUE(connection.set.abort_on_close);
    EXPECT_EQ(connection.closes, 1);
}

}  // namespace
}  // namespace understudy::shadow_app::shim
