// Bytes that go by other ways than read and write, and many of them.
#include <fcntl.h>
#include <liburing.h>
#include <limits.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "tests/shim/check.hh"
#include "tests/shim/sockets.hh"

namespace understudy::conformance {
namespace {

constexpr std::size_t file_bytes = 1 << 20;
constexpr std::size_t bulk_bytes = 8 << 20;

void drains_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.say("answer", drain(socket.get()));
}

void sendfile_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    Descriptor file(::memfd_create("file", MFD_CLOEXEC));
    const std::string bytes = pattern(file_bytes);
    if (::write(file.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
        throw Broken("a file in memory cannot be written");
    off_t at = 0;
    while (at < static_cast<off_t>(file_bytes)) {
        if (::sendfile(connection.get(), file.get(), &at, file_bytes) <= 0) break;
    }
    side.note("sent", static_cast<long>(at));
    side.note("sendfile from a socket", ::sendfile(file.get(), connection.get(), nullptr, 1));
}

void splice_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    int pipe[2] = {-1, -1};
    if (::pipe2(pipe, O_CLOEXEC) != 0) throw Broken("no pipe");
    const Descriptor out(pipe[0]), in(pipe[1]);
    std::size_t moved = 0;
    ssize_t got = 0;
    while ((got = ::splice(connection.get(), nullptr, in.get(), nullptr, 65536, SPLICE_F_MOVE)) > 0) {
        for (ssize_t left = got; left > 0;) {
            const ssize_t sent = ::splice(out.get(), nullptr, connection.get(), nullptr, static_cast<std::size_t>(left),
                                          SPLICE_F_MOVE);
            if (sent <= 0) throw Broken("splice into the socket: " + name_of_error(errno));
            left -= sent;
            moved += static_cast<std::size_t>(sent);
        }
    }
    side.note("splice at the end", got);
    side.note("moved", static_cast<long>(moved));
    side.note("splice of nothing",
              ::splice(connection.get(), nullptr, in.get(), nullptr, 1, SPLICE_F_NONBLOCK));
}

// Writes and reads at once, so that no buffer needs to hold all.
std::string exchange(int socket, std::string_view bytes) {
    std::string got;
    std::vector<char> buffer(65536);
    for (;;) {
        pollfd waiting{socket, static_cast<short>(POLLIN | (bytes.empty() ? 0 : POLLOUT)), 0};
        if (::poll(&waiting, 1, patience_ms) <= 0) throw Broken("nothing moves");
        if ((waiting.revents & POLLOUT) != 0 && !bytes.empty()) {
            const ssize_t sent = ::send(socket, bytes.data(), std::min<std::size_t>(bytes.size(), 65536),
                                        MSG_DONTWAIT | MSG_NOSIGNAL);
            if (sent < 0 && errno != EAGAIN) throw Broken("send: " + name_of_error(errno));
            bytes.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(sent, 0)));
            if (bytes.empty()) ::shutdown(socket, SHUT_WR);
        }
        if ((waiting.revents & (POLLIN | POLLHUP)) == 0) continue;
        const ssize_t read = ::recv(socket, buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (read == 0) return got;
        if (read < 0 && errno != EAGAIN) throw Broken("recv: " + name_of_error(errno));
        got.append(buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(read, 0)));
    }
}

template <std::size_t bytes>
void exchanges_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.truth("all comes back", exchange(socket.get(), pattern(bytes)) == pattern(bytes));
}

void bulk_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    std::vector<char> buffer(100'000);
    std::size_t moved = 0;
    ssize_t got = 0;
    while ((got = ::read(connection.get(), buffer.data(), buffer.size())) > 0) {
        send_all(connection.get(), {buffer.data(), static_cast<std::size_t>(got)});
        moved += static_cast<std::size_t>(got);
    }
    side.note("moved", static_cast<long>(moved));
}

void writev_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    const std::string bytes = pattern(IOV_MAX * 10);
    std::vector<iovec> parts;
    for (std::size_t i = 0; i < IOV_MAX; ++i)
        parts.push_back({const_cast<char*>(bytes.data()) + i * 10, 10});
    side.note("writev", ::writev(connection.get(), parts.data(), IOV_MAX));
    parts.push_back({const_cast<char*>(bytes.data()), 1});
    side.note("writev of too many", ::writev(connection.get(), parts.data(), IOV_MAX + 1));
    side.note("writev of none", ::writev(connection.get(), parts.data(), 0));
    await_bytes(connection.get(), 12);
    std::string in(20, '-');
    iovec places[3] = {{in.data(), 5}, {in.data() + 5, 0}, {in.data() + 5, 15}};
    side.note("readv", ::readv(connection.get(), places, 3));
    side.say("bytes", in);
    side.note("pwrite", ::pwrite(connection.get(), "x", 1, 0));
    side.note("lseek", ::lseek(connection.get(), 0, SEEK_SET));
}

void writev_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.say("answer", digest(receive(socket.get(), IOV_MAX * 10)));
    send_all(socket.get(), "hello, world");
    side.say("then", ending(socket.get()));
}

class Ring {
  public:
    Ring() {
        if (const int error = ::io_uring_queue_init(8, &ring_, 0); error < 0)
            throw Broken("no io_uring: " + name_of_error(-error));
    }
    ~Ring() { ::io_uring_queue_exit(&ring_); }
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;
    template <typename Prepare>
    void submit(Prepare prepare) {
        prepare(::io_uring_get_sqe(&ring_));
        ::io_uring_submit(&ring_);
    }
    // The next completion as Side::note tells results.
    std::string wait() {
        io_uring_cqe* done = nullptr;
        __kernel_timespec limit{patience_ms / 1000, 0};
        if (::io_uring_wait_cqe_timeout(&ring_, &done, &limit) < 0) throw Broken("io_uring completes nothing");
        const int result = done->res;
        ::io_uring_cqe_seen(&ring_, done);
        return result < 0 ? "-1 " + name_of_error(-result) : std::to_string(result);
    }
    bool any() {
        io_uring_cqe* done = nullptr;
        return ::io_uring_peek_cqe(&ring_, &done) == 0;
    }

  private:
    io_uring ring_{};
};

void io_uring_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    const int socket = connection.get();
    Ring ring;
    std::array<char, 64> buffer{};
    ring.submit([&](io_uring_sqe* sqe) { ::io_uring_prep_read(sqe, socket, buffer.data(), buffer.size(), 0); });
    side.truth("a read waits", !ring.any());
    side.meet();
    side.say("read", ring.wait());
    side.say("bytes", std::string(buffer.data(), 5));
    ring.submit([&](io_uring_sqe* sqe) { ::io_uring_prep_write(sqe, socket, "write", 5, 0); });
    side.say("write", ring.wait());
    ring.submit([&](io_uring_sqe* sqe) { ::io_uring_prep_send(sqe, socket, "send", 4, MSG_NOSIGNAL); });
    side.say("send", ring.wait());
    ring.submit([&](io_uring_sqe* sqe) { ::io_uring_prep_poll_add(sqe, socket, POLLIN); });
    side.truth("a poll waits", !ring.any());
    side.meet();
    side.say("poll", ring.wait() == "-1" ? "failed" : "readable");
    ring.submit([&](io_uring_sqe* sqe) { ::io_uring_prep_recv(sqe, socket, buffer.data(), buffer.size(), 0); });
    side.say("recv", ring.wait());
    ring.submit([&](io_uring_sqe* sqe) { ::io_uring_prep_recv(sqe, socket, buffer.data(), buffer.size(), 0); });
    side.meet();
    side.say("recv at the end", ring.wait());
    ring.submit([&](io_uring_sqe* sqe) { ::io_uring_prep_shutdown(sqe, socket, SHUT_WR); });
    side.say("shutdown", ring.wait());
    ring.submit([&](io_uring_sqe* sqe) { ::io_uring_prep_send(sqe, socket, "late", 4, MSG_NOSIGNAL); });
    side.say("send after it", ring.wait());
}

void io_uring_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.meet();
    send_all(socket.get(), "hello");
    side.say("answer", receive(socket.get(), 9));
    side.meet();
    send_all(socket.get(), "more");
    side.meet();
    ::shutdown(socket.get(), SHUT_WR);
    side.say("then", ending(socket.get()));
}

constexpr Check table[] = {
    {"sendfile", sendfile_server, drains_client},
    {"splice", splice_server, exchanges_client<file_bytes>},
    {"writev", writev_server, writev_client},
    {"io_uring", io_uring_server, io_uring_client},
    {"bulk", bulk_server, exchanges_client<bulk_bytes>},
};

}  // namespace

std::span<const Check> transfer_checks() { return table; }

}  // namespace understudy::conformance
