#include "tools/twin/kernel_server.hh"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <system_error>

#include "tools/twin/socket_address.hh"

namespace understudy::twin {
namespace {

using shadow_app::CloseReason;
using shadow_app::Duration;
using stack::Endpoint;
using stack::Instant;

constexpr std::size_t input_bytes = 64 * 1024;
constexpr std::size_t output_limit_bytes =
    64 * 1024;  // a connection's unsent output, beside the kernel's own
constexpr int backlog = 4096;
constexpr int max_accepts_per_wake = 256;
constexpr int max_timers_per_wake = 4096;
constexpr std::uint64_t listener_tag = ~std::uint64_t{0};
constexpr std::uint64_t stop_tag = listener_tag - 1;

Instant read_clock() {
    return Instant(std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch()));
}

[[noreturn]] void fail(const std::string& what) {
    throw std::system_error(errno, std::generic_category(), what);
}

void add_to_epoll(int epoll, int descriptor, std::uint64_t tag) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = tag;
    if (::epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) != 0) fail("cannot watch a descriptor");
}

Descriptor open_listener(const Endpoint& listen) {
    SocketAddress address = to_socket_address(listen);
    Descriptor socket(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket) fail("cannot make a socket");
    const int on = 1;
    if (::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0)
        fail("cannot set SO_REUSEADDR");
    if (::bind(socket.get(), address.get(), address.length) != 0)
        fail("cannot bind " + stack::to_string(listen));
    if (::listen(socket.get(), backlog) != 0) fail("cannot listen on " + stack::to_string(listen));
    return socket;
}

}  // namespace

class KernelServer::KernelConnection final : public shadow_app::Connection {
  public:
    KernelConnection(KernelServer& server, std::uint32_t index, Descriptor accepted, const Endpoint& client)
        : slot(index), socket(std::move(accepted)), server_(server), client_(client) {}

    std::size_t write(std::span<const std::byte> bytes) override {
        const std::size_t taken = std::min(bytes.size(), writable_bytes());
        output.insert(output.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(taken));
        if (taken < bytes.size()) write_blocked = true;
        return taken;
    }
    std::size_t writable_bytes() const override {
        return shutdown_wanted || finished ? 0 : output_limit_bytes - output.size();
    }
    void shutdown_write() override { shutdown_wanted = true; }
    void abort() override { abort_wanted = true; }
    void resume_receive() override { resume_wanted = true; }
    void set_timer(Duration delay) override { server_.timers_.arm(slot, server_.timer_base_ + delay); }
    void cancel_timer() override { server_.timers_.cancel(slot); }
    const Endpoint& client() const override { return client_; }

    const std::uint32_t slot;
    Descriptor socket;
    std::vector<std::byte> output;  // written and not yet sent
    std::vector<std::byte> unread;  // received and not yet taken by the application
    std::uint32_t watched_events = 0;
    bool write_blocked = false;
    bool resume_wanted = false;
    bool abort_wanted = false;
    bool shutdown_wanted = false;
    bool shutdown_done = false;
    bool peer_fin = false;
    bool peer_close_told = false;
    bool finished = false;

  private:
    KernelServer& server_;
    const Endpoint client_;
};

KernelServer::KernelServer(const Endpoint& listen, std::size_t max_connections,
                           shadow_app::Application& application)
    : application_(application),
      max_connections_(max_connections),
      listener_(open_listener(listen)),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      input_(input_bytes) {
    if (!epoll_) fail("cannot make an epoll descriptor");
    add_to_epoll(epoll_.get(), listener_.get(), listener_tag);
}

KernelServer::~KernelServer() = default;

Endpoint KernelServer::local() const {
    SocketAddress address;
    if (::getsockname(listener_.get(), address.get(), &address.length) != 0)
        fail("cannot read the listening address");
    return to_endpoint(address);
}

void KernelServer::run(int stop_descriptor) {
    add_to_epoll(epoll_.get(), stop_descriptor, stop_tag);
    timer_base_ = read_clock();
    while (!stopping_) {
        std::array<epoll_event, 256> events;
        timespec timeout{};
        const auto next = timers_.next();
        if (next) {
            const auto left = std::max((*next - read_clock()).count(), Duration::rep{0});
            timeout = {left / 1'000'000'000, left % 1'000'000'000};
        }
        const int count = ::epoll_pwait2(epoll_.get(), events.data(), static_cast<int>(events.size()),
                                         next ? &timeout : nullptr, nullptr);
        if (count < 0 && errno != EINTR) fail("cannot wait for events");
        timer_base_ = read_clock();
        for (int i = 0; i < count; ++i)
            handle(events[static_cast<std::size_t>(i)].data.u64, events[static_cast<std::size_t>(i)].events);
        run_timers();
        release_finished();
    }
}

void KernelServer::handle(std::uint64_t tag, std::uint32_t events) {
    if (tag == stop_tag) {
        stopping_ = true;
    } else if (tag == listener_tag) {
        accept_waiting();
    } else {
        // A slot is given back only after all events of one wait: the tag still means the same connection.
        KernelConnection& connection = *slots_[tag];
        if (connection.finished) return;
        if (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) read_input(connection);
        settle(connection);
    }
}

void KernelServer::accept_waiting() {
    for (int i = 0; i < max_accepts_per_wake; ++i) {
        SocketAddress address;
        Descriptor socket(
            ::accept4(listener_.get(), address.get(), &address.length, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (!socket) {
            if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) ++counters_.accept_errors;
            return;
        }
        if (open_ >= max_connections_) {
            ++counters_.refused_full;
            continue;
        }
        const int on = 1;
        ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        adopt(std::move(socket), to_endpoint(address));
    }
}

void KernelServer::adopt(Descriptor socket, const Endpoint& client) {
    if (free_slots_.empty()) {
        free_slots_.push_back(static_cast<std::uint32_t>(slots_.size()));
        slots_.emplace_back();
    }
    const std::uint32_t slot = free_slots_.back();
    free_slots_.pop_back();
    slots_[slot] = std::make_unique<KernelConnection>(*this, slot, std::move(socket), client);
    ++open_;
    ++counters_.accepted;
    application_.accepted(*slots_[slot]);
    settle(*slots_[slot]);
}

void KernelServer::run_timers() {
    const Instant now = timer_base_;
    for (int called = 0; called < max_timers_per_wake; ++called) {
        const auto due = timers_.take_due(now);
        if (!due) break;
        timer_base_ = due->at;
        application_.timer(*slots_[due->slot]);
        timer_base_ = now;
        settle(*slots_[due->slot]);
    }
}

void KernelServer::read_input(KernelConnection& connection) {
    if (connection.peer_fin || !connection.unread.empty()) return;
    const ssize_t length = ::recv(connection.socket.get(), input_.data(), input_.size(), 0);
    if (length > 0) {
        offer(connection, std::span(input_).first(static_cast<std::size_t>(length)));
    } else if (length == 0) {
        connection.peer_fin = true;
    } else if (errno != EAGAIN && errno != EINTR) {
        finish(connection, errno == ETIMEDOUT ? CloseReason::timed_out : CloseReason::reset_by_peer);
    }
}

void KernelServer::offer(KernelConnection& connection, std::span<const std::byte> bytes) {
    const std::size_t taken = application_.received(connection, bytes);
    counters_.bytes_received += taken;
    connection.unread =
        std::vector<std::byte>(bytes.begin() + static_cast<std::ptrdiff_t>(taken), bytes.end());
}

// Does what the application asked for during its last call, and calls it again where that makes room.
void KernelServer::settle(KernelConnection& connection) {
    while (!connection.finished && settle_once(connection)) {
    }
    if (connection.finished) return;
    if (connection.shutdown_done && connection.peer_close_told)
        finish(connection, CloseReason::finished);
    else
        watch(connection);
}

// One step; false when there is none left.
bool KernelServer::settle_once(KernelConnection& connection) {
    if (connection.abort_wanted) {
        finish(connection, CloseReason::aborted);
        return false;
    }
    if (!connection.output.empty() && !flush(connection)) return false;
    if (connection.write_blocked && connection.output.size() < output_limit_bytes) {
        connection.write_blocked = false;
        application_.writable(connection);
        return true;
    }
    if (connection.resume_wanted) {
        connection.resume_wanted = false;
        if (!connection.unread.empty()) {
            const std::vector<std::byte> waiting = std::move(connection.unread);
            offer(connection, waiting);
            return true;
        }
    }
    if (connection.peer_fin && connection.unread.empty() && !connection.peer_close_told) {
        connection.peer_close_told = true;
        application_.peer_closed(connection);
        return true;
    }
    if (connection.shutdown_wanted && connection.output.empty() && !connection.shutdown_done) {
        connection.shutdown_done = true;
        ::shutdown(connection.socket.get(), SHUT_WR);
    }
    return false;
}

// Sends what waits, as far as the kernel takes it. False when the connection is gone.
bool KernelServer::flush(KernelConnection& connection) {
    const ssize_t length =
        ::send(connection.socket.get(), connection.output.data(), connection.output.size(), MSG_NOSIGNAL);
    if (length < 0) {
        if (errno == EAGAIN || errno == EINTR) return true;
        finish(connection, CloseReason::reset_by_peer);
        return false;
    }
    counters_.bytes_sent += static_cast<std::uint64_t>(length);
    connection.output.erase(connection.output.begin(), connection.output.begin() + length);
    if (connection.output.empty()) connection.output = {};  // an idle connection holds no buffer
    return true;
}

void KernelServer::watch(KernelConnection& connection) {
    const bool reads = !connection.peer_fin && connection.unread.empty();
    const std::uint32_t events =
        (reads ? std::uint32_t{EPOLLIN} : 0u) | (connection.output.empty() ? 0u : std::uint32_t{EPOLLOUT});
    if (events == connection.watched_events) return;
    epoll_event event{};
    event.events = events;
    event.data.u64 = connection.slot;
    // Unwatched, not watched for nothing: a hang-up is always reported, and would be reported for ever.
    const int operation = events == 0                      ? EPOLL_CTL_DEL
                          : connection.watched_events == 0 ? EPOLL_CTL_ADD
                                                           : EPOLL_CTL_MOD;
    if (::epoll_ctl(epoll_.get(), operation, connection.socket.get(), &event) != 0)
        fail("cannot watch a connection");
    connection.watched_events = events;
}

void KernelServer::finish(KernelConnection& connection, CloseReason reason) {
    connection.finished = true;
    timers_.cancel(connection.slot);
    if (reason == CloseReason::finished) {
        ++counters_.finished;
    } else if (reason == CloseReason::aborted) {
        ++counters_.aborted;
        const linger at_once{1, 0};  // close(2) then sends RST
        ::setsockopt(connection.socket.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    } else {
        ++counters_.reset;
    }
    application_.closed(connection, reason);
    timers_.cancel(connection.slot);
    connection.socket = Descriptor();
    finished_slots_.push_back(connection.slot);
}

void KernelServer::release_finished() {
    for (const std::uint32_t slot : finished_slots_) {
        slots_[slot].reset();
        free_slots_.push_back(slot);
        --open_;
    }
    finished_slots_.clear();
}

}  // namespace understudy::twin
