#include "tests/shim/sockets.hh"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace understudy::conformance {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int look_again_ms = 1;

void demand(bool ok, const char* what) {
    if (!ok) throw Broken(std::string(what) + ": " + name_of_error(errno));
}

// FNV-1a.
class Digest {
  public:
    void add(std::string_view bytes) {
        for (const char byte : bytes)
            hash_ = (hash_ ^ static_cast<unsigned char>(byte)) * 0x100000001b3U;
        count_ += bytes.size();
    }
    std::string text() const {
        std::array<char, 64> out{};
        std::snprintf(out.data(), out.size(), "%zu bytes %016llx", count_, static_cast<unsigned long long>(hash_));
        return out.data();
    }

  private:
    std::uint64_t hash_ = 0xcbf29ce484222325U;
    std::size_t count_ = 0;
};

}  // namespace

Descriptor listen_at(const Side& side, int flags, int backlog) {
    Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
    demand(socket.get() >= 0, "socket");
    set_option(socket.get(), SOL_SOCKET, SO_REUSEADDR, 1);
    demand(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&side.service()), sizeof side.service()) == 0,
           "bind");
    demand(::listen(socket.get(), backlog) == 0, "listen");
    return socket;
}

Descriptor accept_from(int listener) {
    await(listener, POLLIN);
    Descriptor connection(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
    demand(connection.get() >= 0, "accept4");
    return connection;
}

Descriptor connect_to(const Side& side) {
    Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    demand(socket.get() >= 0, "socket");
    const timeval patience{patience_ms / 1000, 0};
    demand(::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) == 0, "SO_SNDTIMEO");
    demand(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&side.service()), sizeof side.service()) == 0,
           "connect");
    return socket;
}

Descriptor meet_and_connect(Side& side) {
    side.meet();
    return connect_to(side);
}

Accepted meet_and_accept(Side& side, int flags) {
    Accepted both;
    both.listener = listen_at(side, flags);
    side.meet();
    both.connection = accept_from(both.listener.get());
    return both;
}

void send_all(int socket, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && errno == EAGAIN) {
            await(socket, POLLOUT);
            continue;
        }
        demand(sent > 0, "send");
        bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
}

std::string receive(int socket, std::size_t count) {
    std::string bytes(count, '\0');
    std::size_t filled = 0;
    while (filled < count) {
        await(socket, POLLIN);
        const ssize_t got = ::recv(socket, bytes.data() + filled, count - filled, 0);
        if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        demand(got >= 0, "recv");
        if (got == 0) break;
        filled += static_cast<std::size_t>(got);
    }
    bytes.resize(filled);
    return bytes;
}

std::string drain(int socket) {
    Digest digest;
    std::vector<char> buffer(65536);
    for (;;) {
        await(socket, POLLIN);
        const ssize_t got = ::recv(socket, buffer.data(), buffer.size(), 0);
        if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (got <= 0) return digest.text() + ", then " + (got == 0 ? "end" : name_of_error(errno));
        digest.add({buffer.data(), static_cast<std::size_t>(got)});
    }
}

std::string ending(int socket) {
    await(socket, POLLIN);
    char byte = 0;
    const ssize_t got = ::recv(socket, &byte, 1, 0);
    return got < 0 ? name_of_error(errno) : got == 0 ? "end" : "a byte more";
}

std::string pattern(std::size_t count) {
    std::string bytes(count, '\0');
    std::uint32_t state = 2463534242U;
    for (char& byte : bytes) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        byte = static_cast<char>(state >> 24);
    }
    return bytes;
}

std::string digest(std::string_view bytes) {
    Digest digest;
    digest.add(bytes);
    return digest.text();
}

std::string names_of_events(unsigned events) {
    static constexpr std::pair<unsigned, const char*> names[] = {
        {POLLIN, "IN"},   {POLLPRI, "PRI"}, {POLLOUT, "OUT"},    {POLLRDHUP, "RDHUP"},
        {POLLERR, "ERR"}, {POLLHUP, "HUP"}, {POLLNVAL, "NVAL"},
    };
    std::string text;
    for (const auto& [bit, name] : names)
        if ((events & bit) != 0) text += (text.empty() ? "" : " ") + std::string(name);
    return text;
}

std::string poll_names(int socket, short events, int timeout_ms) {
    pollfd waiting{socket, events, 0};
    demand(::poll(&waiting, 1, timeout_ms) >= 0, "poll");
    return names_of_events(static_cast<unsigned short>(waiting.revents));
}

std::string settle(int socket, short events, const std::string& names) {
    const auto deadline = Clock::now() + std::chrono::milliseconds(patience_ms / 10);
    std::string last = poll_names(socket, events, 0);
    while (last != names && Clock::now() < deadline) {
        ::poll(nullptr, 0, look_again_ms);
        last = poll_names(socket, events, 0);
    }
    return last;
}

void await_bytes(int socket, int count) {
    const auto deadline = Clock::now() + std::chrono::milliseconds(patience_ms);
    for (int there = 0; there < count; ::poll(nullptr, 0, look_again_ms)) {
        demand(::ioctl(socket, FIONREAD, &there) == 0, "FIONREAD");
        if (there >= count) return;
        if (Clock::now() > deadline) throw Broken("bytes do not come");
    }
}

void await(int socket, short events) {
    pollfd waiting{socket, events, 0};
    int ready = 0;
    do
        ready = ::poll(&waiting, 1, patience_ms);
    while (ready < 0 && errno == EINTR);
    demand(ready >= 0, "poll");
    if (ready == 0) throw Broken("poll waits for " + names_of_events(static_cast<unsigned short>(events)) + " in vain");
}

void set_option(int socket, int level, int name, int value) {
    demand(::setsockopt(socket, level, name, &value, sizeof value) == 0, "setsockopt");
}

void reset_on_close(int socket) {
    const linger value{1, 0};
    demand(::setsockopt(socket, SOL_SOCKET, SO_LINGER, &value, sizeof value) == 0, "SO_LINGER");
}

std::string describe(const sockaddr_in& address) {
    std::array<char, INET_ADDRSTRLEN> text{};
    ::inet_ntop(AF_INET, &address.sin_addr, text.data(), text.size());
    return std::string(text.data()) + ":" + std::to_string(ntohs(address.sin_port));
}

sockaddr_in name_of(int socket) {
    sockaddr_in address{};
    socklen_t length = sizeof address;
    demand(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length) == 0, "getsockname");
    return address;
}

sockaddr_in peer_of(int socket) {
    sockaddr_in address{};
    socklen_t length = sizeof address;
    demand(::getpeername(socket, reinterpret_cast<sockaddr*>(&address), &length) == 0, "getpeername");
    return address;
}

}  // namespace understudy::conformance
