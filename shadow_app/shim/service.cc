#include "shadow_app/shim/service.hh"

#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <random>
#include <system_error>

#include "shadow_app/shim/options.hh"
#include "shadow_app/stack_connection.hh"

namespace understudy::shadow_app::shim {
namespace {

using proto::shim::Kind;
using proto::shim::Message;

constexpr std::size_t buffer_bytes = 64 << 10;
// What one pair, and one poll, may take of the core's time.
constexpr int max_reads = 8;
constexpr int max_messages = 256;
constexpr std::size_t max_events = 256;
constexpr std::uint32_t all_events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;

proto::shim::Address to_shim(const Endpoint& endpoint) {
    proto::shim::Address address{};
    std::copy(endpoint.address.octets.begin(), endpoint.address.octets.end(), address.octets);
    address.port = endpoint.port;
    return address;
}

bool give_name(int socket, const proto::shim::SocketName& name) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    proto::shim::format_name(name, address.sun_path + 1);
    constexpr socklen_t length = offsetof(sockaddr_un, sun_path) + 1 + proto::shim::name_bytes;
    return ::bind(socket, reinterpret_cast<const sockaddr*>(&address), length) == 0;
}

// Receives one message and the descriptor that may come with it. Returns recvmsg's result.
ssize_t receive(int channel, Message& message, Descriptor& passed) {
    iovec part{&message, sizeof message};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    const ssize_t got = ::recvmsg(channel, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0) return got;
    const cmsghdr* first = CMSG_FIRSTHDR(&header);
    if (first != nullptr && first->cmsg_level == SOL_SOCKET && first->cmsg_type == SCM_RIGHTS) {
        int number = -1;
        std::memcpy(&number, CMSG_DATA(first), sizeof number);
        passed = Descriptor(number);
    }
    return got;
}

// 0, or the errno.
int send_with_descriptor(int channel, const Message& message, int descriptor) {
    iovec part{const_cast<Message*>(&message), sizeof message};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* first = CMSG_FIRSTHDR(&header);
    first->cmsg_level = SOL_SOCKET;
    first->cmsg_type = SCM_RIGHTS;
    first->cmsg_len = CMSG_LEN(sizeof descriptor);
    std::memcpy(CMSG_DATA(first), &descriptor, sizeof descriptor);
    return ::sendmsg(channel, &header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? errno : 0;
}

}  // namespace

struct Service::Pair {
    std::uint64_t id = 0;
    Descriptor socket;                      // the daemon's end
    StackConnection* connection = nullptr;  // until it is closed
    bool input_waits = false;               // the pair is full
    bool waits_for_turn = false;
    bool output_ended = false;              // the program's end sends no more
    bool end_told = false;
    bool gone = false;  // the program's end is closed, or shut down both ways
};

struct Service::PairName final : ConnectionState {
    explicit PairName(std::uint64_t name) : id(name) {}
    std::uint64_t id;
};

struct Service::Channel {
    struct Waiting {
        Message message;
        Descriptor program_end;
    };
    std::uint64_t id = 0;
    Descriptor socket;
    bool listens = false;
    bool shares_port = false;
    std::uint8_t family = 0;
    proto::shim::Address local{};
    stack::ConnectionOptions options;  // what its connections begin with
    bool options_given = false;
    std::deque<Waiting> waiting;  // connections for which the program's queue had no room
};

Service::Service()
    : epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      // Names must differ from those that programs still hold of an earlier daemon.
      next_id_(std::uint64_t{std::random_device{}()} << 32),
      buffer_(buffer_bytes) {
    if (!epoll_) throw std::system_error(errno, std::generic_category(), "epoll_create1");
}

Service::~Service() = default;

bool Service::watch(int descriptor, std::uint64_t id) {
    epoll_event event{};
    event.events = all_events;
    event.data.u64 = id;
    return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, descriptor, &event) == 0;
}

void Service::adopt(Descriptor socket, const Message& first) {
    const std::uint64_t id = ++next_id_;
    Message answer;
    answer.kind = Kind::answer;
    answer.id = id;
    // As bind(2): whoever shares a port shares it with those that do.
    if (first.kind == Kind::bind &&
        std::any_of(channels_.begin(), channels_.end(), [&first](const auto& entry) {
            return entry.second.listens && !(first.shares_port && entry.second.shares_port);
        }))
        answer.error = EADDRINUSE;
    if (!watch(socket.get(), id)) answer.error = errno;
    if (::send(socket.get(), &answer, sizeof answer, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 || answer.error != 0) return;
    if (first.kind == Kind::bind) ++counters_.listeners;
    Channel& channel = channels_[id];
    channel.id = id;
    channel.socket = std::move(socket);
    channel.family = first.family;
    channel.shares_port = first.shares_port != 0;
    channel.local = first.local;
}

std::size_t Service::listening() const {
    return static_cast<std::size_t>(
        std::count_if(channels_.begin(), channels_.end(), [](const auto& entry) { return entry.second.listens; }));
}

Service::Pair* Service::pair_of(Connection& connection) {
    if (connection.state == nullptr) return nullptr;
    const auto found = pairs_.find(static_cast<const PairName&>(*connection.state).id);
    return found == pairs_.end() ? nullptr : found->second.get();
}

// Sockets that share the port take turns.
Service::Channel* Service::next_listener() {
    Channel* first = nullptr;
    for (auto& [id, channel] : channels_) {
        if (!channel.listens) continue;
        if (id > last_listener_) {
            last_listener_ = id;
            return &channel;
        }
        if (first == nullptr) first = &channel;
    }
    if (first != nullptr) last_listener_ = first->id;
    return first;
}

void Service::accepted(Connection& connection) {
    Channel* listener = next_listener();
    if (listener == nullptr) {
        ++counters_.refused_no_program;
        return connection.abort();
    }
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
        ++counters_.refused_no_pair;
        return connection.abort();
    }
    auto pair = std::make_unique<Pair>();
    Descriptor program_end(ends[1]);
    pair->socket = Descriptor(ends[0]);
    pair->id = ++next_id_;
    pair->connection = &static_cast<StackConnection&>(connection);
    const std::uint8_t family = listener->family == AF_INET6 ? 6 : 4;
    // The force is a privilege; without it the system's limit, which by default is as large, holds.
    const int buffer = proto::shim::least_send_buffer;
    if (::setsockopt(ends[1], SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer) != 0)
        ::setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    if (!give_name(ends[0], {'d', family, to_shim(connection.client()), pair->id}) ||
        !give_name(ends[1], {'p', family, listener->local, pair->id}) || ::send(ends[1], "", 1, MSG_DONTWAIT) != 1 ||
        !watch(ends[0], pair->id) || !hand_over(*listener, *pair, std::move(program_end))) {
        ++counters_.refused_no_pair;
        return connection.abort();
    }
    ++counters_.accepted;
    connection.state = std::make_unique<PairName>(pair->id);
    if (listener->options_given) pair->connection->set_options(listener->options);
    pairs_.emplace(pair->id, std::move(pair));
}

bool Service::hand_over(Channel& listener, Pair& pair, Descriptor program_end) {
    Message message;
    message.kind = Kind::accepted;
    message.family = listener.family;
    message.id = pair.id;
    message.local = listener.local;
    message.remote = to_shim(pair.connection->client());
    const int error = listener.waiting.empty()
                          ? send_with_descriptor(listener.socket.get(), message, program_end.get())
                          : EAGAIN;
    if (error == 0) return true;
    // The queue is full, or too many descriptors are in flight.
    if (error != EAGAIN && error != ETOOMANYREFS) return false;
    listener.waiting.push_back({message, std::move(program_end)});
    return true;
}

void Service::send_waiting(Channel& listener) {
    while (!listener.waiting.empty()) {
        const auto& next = listener.waiting.front();
        const int error = send_with_descriptor(listener.socket.get(), next.message, next.program_end.get());
        if (error == EAGAIN || error == ETOOMANYREFS) return;
        listener.waiting.pop_front();
    }
}

bool Service::must_wait(Pair& pair) {
    if (!pair.connection->silent() || (turn_ == pair.id && !turn_used_) ||
        (waiting_turns_.empty() && (turn_ == 0 || turn_ == pair.id)))
        return false;
    if (pair.waits_for_turn) return true;
    pair.waits_for_turn = true;
    waiting_turns_.push_back(pair.id);
    ++counters_.turns_waited;
    return true;
}

// The next in line goes on. After the takeover all do.
void Service::end_turn() {
    turn_ = 0;
    std::deque<std::uint64_t> waiting;
    std::swap(waiting, waiting_turns_);
    while (!waiting.empty()) {
        const auto found = pairs_.find(waiting.front());
        waiting.pop_front();
        if (found == pairs_.end()) continue;
        Pair& next = *found->second;
        next.waits_for_turn = false;
        next.connection->resume_receive();
        if (!next.connection->silent()) continue;
        turn_ = next.id;
        turn_used_ = false;
        next.connection->set_timer(order_patience);
        waiting_turns_ = std::move(waiting);
        return;
    }
}

void Service::timer(Connection& connection) {
    const Pair* pair = pair_of(connection);
    if (pair == nullptr || pair->id != turn_) return;
    ++counters_.turns_given_up;
    end_turn();
}

std::size_t Service::received(Connection& connection, std::span<const std::byte> bytes) {
    Pair* pair = pair_of(connection);
    if (pair == nullptr) return bytes.size();
    if (pair->input_waits || must_wait(*pair)) return 0;
    const ssize_t sent = ::send(pair->socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
        pair->input_waits = true;
        return 0;
    }
    // The program reads no more: a kernel throws away what comes then.
    if (sent < 0) return bytes.size();
    if (static_cast<std::size_t>(sent) < bytes.size()) pair->input_waits = true;
    if (pair->connection->silent()) {
        turn_ = pair->id;
        turn_used_ = true;
        pair->connection->set_timer(order_patience);
    }
    return static_cast<std::size_t>(sent);
}

void Service::peer_closed(Connection& connection) {
    if (Pair* pair = pair_of(connection)) ::shutdown(pair->socket.get(), SHUT_WR);
}

void Service::writable(Connection& connection) {
    if (Pair* pair = pair_of(connection)) read_output(*pair);
}

void Service::closed(Connection& connection, CloseReason reason) {
    Pair* pair = pair_of(connection);
    if (pair == nullptr) return;
    if (reason == CloseReason::finished) {
        std::byte left{};
        (void)::recv(pair->socket.get(), &left, 1, MSG_DONTWAIT);
    } else if (!pair->gone) {
        ++counters_.resets;
    }
    const bool had_turn = pair->id == turn_;
    pairs_.erase(pair->id);
    if (had_turn) end_turn();
}

std::size_t Service::poll() {
    std::array<epoll_event, max_events> events;
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
    const auto ready = std::span(events).first(static_cast<std::size_t>(std::max(count, 0)));
    // An option that was set before a close counts for that close.
    if (!ready.empty() && !channels_.empty()) {
        std::vector<std::uint64_t> ids;
        for (const auto& [id, channel] : channels_)
            ids.push_back(id);
        for (const std::uint64_t id : ids)
            read_channel(id);
    }
    std::vector<std::uint64_t> unfinished;
    std::swap(unfinished, unfinished_);
    for (const std::uint64_t id : unfinished) {
        const auto found = pairs_.find(id);
        if (found != pairs_.end()) read_output(*found->second);
    }
    for (const epoll_event& event : ready)
        on_pair(event.data.u64, event.events);
    return ready.size() + unfinished.size();
}

void Service::read_channel(std::uint64_t id) {
    for (int i = 0; i < max_messages; ++i) {
        const auto found = channels_.find(id);
        if (found == channels_.end()) return;
        Channel& channel = found->second;
        Message message;
        Descriptor passed;
        const ssize_t got = receive(channel.socket.get(), message, passed);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return send_waiting(channel);
        if (got <= 0) {
            channels_.erase(found);
            return;
        }
        if (static_cast<std::size_t>(got) != sizeof message || message.magic_number != proto::shim::magic) {
            ++counters_.messages_refused;
            continue;
        }
        switch (message.kind) {
            case Kind::listen: channel.listens = true; break;
            case Kind::set_option:
            case Kind::get_option: answer_option(message, std::move(passed)); break;
            default: ++counters_.messages_refused;
        }
    }
}

// What is still in the pair, but for the byte that was read before, and what the stack holds.
std::int32_t Service::unacknowledged(const Pair& pair, const std::optional<stack::ConnectionSnapshot>& snapshot) {
    int waiting = 0;
    if (::ioctl(pair.socket.get(), FIONREAD, &waiting) != 0) waiting = 1;
    const std::uint32_t held = snapshot ? snapshot->app_nxt - snapshot->snd_una : 0;
    // The application may be behind what the client has acknowledged of the primary.
    return std::max(waiting - 1, 0) + std::max(static_cast<std::int32_t>(held), 0);
}

void Service::answer_option(const Message& question, Descriptor answer_to) {
    const auto pair = pairs_.find(question.id);
    const auto listener = channels_.find(question.id);
    Message answer;
    answer.kind = Kind::answer;
    answer.id = question.id;
    stack::ConnectionOptions options;
    std::optional<stack::ConnectionSnapshot> snapshot;
    if (pair != pairs_.end()) {
        options = pair->second->connection->options().value_or(options);
        snapshot = pair->second->connection->snapshot();
    } else if (listener != channels_.end()) {
        options = listener->second.options;
    } else {
        answer.error = ENOTCONN;
    }
    if (answer.error == 0 && question.kind == Kind::get_option && question.level == proto::shim::own_level) {
        const std::int32_t bytes = pair == pairs_.end() ? 0 : unacknowledged(*pair->second, snapshot);
        answer.length = sizeof bytes;
        std::memcpy(answer.value, &bytes, sizeof bytes);
    } else if (answer.error == 0 && question.kind == Kind::get_option) {
        read_option(question, options, snapshot, answer);
    } else if (answer.error == 0 && (answer.error = apply_option(question, options)) != 0) {
        // As it was.
    } else if (answer.error == 0 && pair != pairs_.end()) {
        pair->second->connection->set_options(options);
    } else if (answer.error == 0) {
        listener->second.options = options;
        listener->second.options_given = true;
    }
    ++(answer.error == 0 ? counters_.options_answered : counters_.options_refused);
    if (answer_to) (void)::send(answer_to.get(), &answer, sizeof answer, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void Service::on_pair(std::uint64_t id, std::uint32_t events) {
    const auto found = pairs_.find(id);
    if (found == pairs_.end()) return;
    Pair& pair = *found->second;
    if ((events & EPOLLOUT) != 0 && id == turn_) {
        int unread = 0;
        if (::ioctl(pair.socket.get(), SIOCOUTQ, &unread) != 0 || unread == 0) end_turn();
    }
    if ((events & EPOLLOUT) != 0 && pair.input_waits) {
        pair.input_waits = false;
        pair.connection->resume_receive();
    }
    if ((events & (EPOLLRDHUP | EPOLLHUP)) != 0) pair.output_ended = true;
    if ((events & EPOLLHUP) != 0) pair.gone = true;
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) != 0) read_output(pair);
}

void Service::read_output(Pair& pair) {
    for (int i = 0; i < max_reads; ++i) {
        // The first byte was read before.
        const ssize_t got = ::recv(pair.socket.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT | MSG_PEEK);
        if (got <= 1) {
            if (pair.output_ended) finish_output(pair);
            return;
        }
        const auto fresh = std::span(buffer_).first(static_cast<std::size_t>(got)).subspan(1);
        const std::size_t taken = pair.connection->write(fresh);
        if (taken != 0) (void)::recv(pair.socket.get(), buffer_.data(), taken, MSG_DONTWAIT);
        if (taken < fresh.size()) return;  // writable() goes on
    }
    unfinished_.push_back(pair.id);
}

void Service::finish_output(Pair& pair) {
    StackConnection& connection = *pair.connection;
    if (!pair.gone) {
        if (std::exchange(pair.end_told, true)) return;
        return connection.shutdown_write();
    }
    int error = 0;
    socklen_t length = sizeof error;
    ::getsockopt(pair.socket.get(), SOL_SOCKET, SO_ERROR, &error, &length);
    // Closed with input unread, as the pair's other end tells: the client must not take it for delivered.
    if (error == ECONNRESET || pair.input_waits) return connection.abort();
    connection.close();
}

}  // namespace understudy::shadow_app::shim
