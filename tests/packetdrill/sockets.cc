#include "tests/packetdrill/sockets.hh"

#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace understudy::packetdrill {
namespace {

using stack::CloseReason;
using stack::ConnectionId;
using stack::Endpoint;
using stack::IpAddress;
using Phase = Socket::Phase;

const stack::LinkAddress peer_link{{0x02, 0, 0, 0, 0, 0x0c}};

int errno_of(CloseReason reason) {
    switch (reason) {
        case CloseReason::reset_by_peer:
        case CloseReason::reset_by_primary:
        case CloseReason::uncovered:
        case CloseReason::muted:
        case CloseReason::evicted:
            return ECONNRESET;
        case CloseReason::refused:
            return ECONNREFUSED;
        case CloseReason::unreachable:
            return EHOSTUNREACH;
        case CloseReason::timed_out:
            return ETIMEDOUT;
        case CloseReason::finished:
        case CloseReason::aborted:
            return 0;
    }
    return 0;
}

bool is_any(const IpAddress& address) {
    return address == IpAddress{} || address == IpAddress::from_v4(0);
}

std::size_t total_length(const msghdr& message) {
    std::size_t length = 0;
    for (std::size_t i = 0; i < message.msg_iovlen; ++i)
        length += message.msg_iov[i].iov_len;
    return length;
}

// Where the packet ends that begins `done` bytes into a zero-copy write: one holds 17 pieces (MAX_SKB_FRAGS).
std::size_t pieces_end(const msghdr& message, std::size_t done) {
    constexpr std::size_t most_pieces = 17;
    std::size_t end = 0;
    for (std::size_t i = 0; i < message.msg_iovlen; ++i) {
        end += message.msg_iov[i].iov_len;
        if ((i + 1) % most_pieces == 0 && end > done) return end;
    }
    return end;
}

// Returns what an error is worth once it has been told.
int take_error(Socket& socket) {
    return -std::exchange(socket.error, 0);
}

}  // namespace

std::optional<Endpoint> to_endpoint(const sockaddr* address, socklen_t length) {
    if (address == nullptr || length < sizeof(sa_family_t)) return std::nullopt;
    Endpoint endpoint;
    if (address->sa_family == AF_INET && length >= sizeof(sockaddr_in)) {
        sockaddr_in in;
        std::memcpy(&in, address, sizeof in);
        endpoint.address = IpAddress::from_v4(ntohl(in.sin_addr.s_addr));
        endpoint.port = ntohs(in.sin_port);
        return endpoint;
    }
    if (address->sa_family == AF_INET6 && length >= sizeof(sockaddr_in6)) {
        sockaddr_in6 in6;
        std::memcpy(&in6, address, sizeof in6);
        std::memcpy(endpoint.address.octets.data(), &in6.sin6_addr, 16);
        endpoint.port = ntohs(in6.sin6_port);
        return endpoint;
    }
    return std::nullopt;
}

void from_endpoint(const Endpoint& endpoint, int domain, sockaddr* address, socklen_t* length) {
    if (address == nullptr || length == nullptr) return;
    if (domain == AF_INET) {
        sockaddr_in in{};
        in.sin_family = AF_INET;
        in.sin_port = htons(endpoint.port);
        in.sin_addr.s_addr = htonl(endpoint.address.is_v4() ? endpoint.address.v4() : 0);
        std::memcpy(address, &in, std::min<std::size_t>(*length, sizeof in));
        *length = sizeof in;
    } else {
        sockaddr_in6 in6{};
        in6.sin6_family = AF_INET6;
        in6.sin6_port = htons(endpoint.port);
        std::memcpy(&in6.sin6_addr, endpoint.address.octets.data(), 16);
        std::memcpy(address, &in6, std::min<std::size_t>(*length, sizeof in6));
        *length = sizeof in6;
    }
}

Sockets::Sockets(std::string_view flags) : world_(flags, *this) {
    world_.after_step = [this] { tell_progress(); };
}

Sockets::SocketPtr Sockets::find(int fd) const {
    const auto found = sockets_.find(fd);
    return found == sockets_.end() ? nullptr : found->second;
}

Socket* Sockets::find(ConnectionId id) const {
    const auto found = by_id_.find(id);
    return found == by_id_.end() ? nullptr : found->second.get();
}

// A real descriptor: packetdrill closes it with close(2), and its number is the script's to compare.
int Sockets::add_descriptor(SocketPtr socket) {
    const int fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0) return -errno;
    sockets_[fd] = std::move(socket);
    return fd;
}

void Sockets::attach(const SocketPtr& socket, ConnectionId id) {
    socket->id = id;
    by_id_[id] = socket;
}

std::vector<Endpoint> Sockets::listening_endpoints(const Socket& socket) const {
    if (socket.has_address) return {socket.local};
    std::vector<Endpoint> endpoints;
    for (const IpAddress& address : world_.local_addresses())
        if (socket.domain == AF_INET6 || address.is_v4()) endpoints.push_back({address, socket.local.port});
    return endpoints;
}

std::uint16_t Sockets::ephemeral_port() {
    if (next_port_ >= 60999) next_port_ = 32768;
    return next_port_++;
}

stack::ConnectionSnapshot Sockets::snapshot(const Socket& socket) const {
    if (socket.id)
        if (auto live = const_cast<World&>(world_).stack().snapshot(*socket.id)) return *live;
    return socket.last.value_or(stack::ConnectionSnapshot{});
}

std::uint32_t Sockets::unread(const Socket& socket) const {
    return socket.id ? snapshot(socket).unread_bytes : 0;
}

// SO_RCVTIMEO and SO_SNDTIMEO.
std::optional<Instant> Sockets::call_deadline(const Socket& socket, int option) const {
    const auto found = socket.options.find({SOL_SOCKET, option});
    if (found == socket.options.end() || found->second.size() < sizeof(timeval)) return std::nullopt;
    timeval limit;
    std::memcpy(&limit, found->second.data(), sizeof limit);
    if (limit.tv_sec == 0 && limit.tv_usec == 0) return std::nullopt;
    return world_.now() + std::chrono::seconds(limit.tv_sec) + std::chrono::microseconds(limit.tv_usec);
}

int Sockets::socket(int domain, int type, int protocol) {
    const bool non_blocking = (type & SOCK_NONBLOCK) != 0;
    type &= ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (domain != AF_INET && domain != AF_INET6) return -EAFNOSUPPORT;
    if (type != SOCK_STREAM) return type == SOCK_DGRAM ? -EPROTONOSUPPORT : -ESOCKTNOSUPPORT;
    if (protocol != 0 && protocol != IPPROTO_TCP) return -EPROTONOSUPPORT;
    world_.refresh_sysctls();
    world_.stack();
    auto socket = std::make_shared<Socket>();
    socket->domain = domain;
    socket->type = type;
    socket->non_blocking = non_blocking;
    socket->ledger =
        SendLedger(static_cast<std::uint32_t>(world_.sysctls().number("net.ipv4.tcp_wmem", 256 << 10, 1)));
    socket->ledger.set_low_mark(
        static_cast<std::uint32_t>(world_.sysctls().number("net.ipv4.tcp_notsent_lowat", 0xffffffff)));
    return add_descriptor(std::move(socket));
}

int Sockets::bind(int fd, const sockaddr* address, socklen_t length) {
    const SocketPtr socket = find(fd);
    if (socket == nullptr) return -ENOTSOCK;
    const auto endpoint = to_endpoint(address, length);
    if (!endpoint) return address != nullptr && length >= 2 ? -EAFNOSUPPORT : -EINVAL;
    if (socket->is_bound || socket->phase != Phase::closed) return -EINVAL;
    if (!is_any(endpoint->address)) {
        const auto& own = world_.local_addresses();
        if (std::find(own.begin(), own.end(), endpoint->address) == own.end()) return -EADDRNOTAVAIL;
        socket->has_address = true;
    }
    const bool reuse = socket->options.contains({SOL_SOCKET, SO_REUSEADDR}) ||
                       socket->options.contains({SOL_SOCKET, SO_REUSEPORT});
    for (const auto& [other_fd, other] : sockets_)
        if (other->is_bound && endpoint->port != 0 && other->local.port == endpoint->port &&
            (!reuse || other->phase == Phase::listening))
            return -EADDRINUSE;
    socket->local = *endpoint;
    if (socket->local.port == 0) socket->local.port = ephemeral_port();
    socket->is_bound = true;
    return 0;
}

int Sockets::listen(int fd, int backlog) {
    const SocketPtr socket = find(fd);
    if (socket == nullptr) return -ENOTSOCK;
    if (socket->phase != Phase::closed && socket->phase != Phase::listening) return -EINVAL;
    socket->backlog = static_cast<std::uint32_t>(std::clamp(backlog, 0, 4096));
    if (socket->phase == Phase::listening) return 0;
    if (!socket->is_bound) {
        socket->local.port = ephemeral_port();
        socket->is_bound = true;
    }
    for (const Endpoint& endpoint : listening_endpoints(*socket))
        if (!world_.stack().listen(endpoint)) return -EADDRINUSE;
    socket->phase = Phase::listening;
    apply_options(*socket);
    return 0;
}

int Sockets::accept(int fd, sockaddr* address, socklen_t* length, Lock& lock) {
    const SocketPtr socket = find(fd);
    if (socket == nullptr) return -ENOTSOCK;
    if (socket->phase != Phase::listening) return -EINVAL;
    const auto ready = [&] { return !socket->waiting.empty() || socket->phase != Phase::listening; };
    if (!ready()) {
        if (socket->non_blocking) return -EAGAIN;
        if (!world_.wait(lock, ready, call_deadline(*socket, SO_RCVTIMEO))) return -EAGAIN;
        if (socket->phase != Phase::listening) return -EINVAL;
    }
    const SocketPtr child = socket->waiting.front();
    socket->waiting.pop_front();
    from_endpoint(child->remote, child->domain, address, length);
    return add_descriptor(child);
}

int Sockets::connect(int fd, const sockaddr* address, socklen_t length, Lock& lock) {
    const SocketPtr socket = find(fd);
    if (socket == nullptr) return -ENOTSOCK;
    if (address != nullptr && length >= sizeof(sa_family_t) && address->sa_family == AF_UNSPEC) {
        // Dissolves the connection: it ends as by an abort, and the socket may be used again.
        const auto id = std::exchange(socket->id, std::nullopt);
        const bool listening = socket->phase == Phase::listening;
        socket->phase = Phase::closed;
        socket->peer_closed = socket->read_shut = socket->write_shut = socket->had_connection = false;
        socket->error = 0;
        if (listening)
            for (const Endpoint& endpoint : listening_endpoints(*socket))
                world_.stack().unlisten(endpoint);
        if (id) {
            by_id_.erase(*id);
            world_.stack().abort(*id, world_.now());
        }
        return 0;
    }
    const auto endpoint = to_endpoint(address, length);
    if (!endpoint) return address != nullptr && length >= 2 ? -EAFNOSUPPORT : -EINVAL;
    switch (socket->phase) {
        case Phase::listening:
        case Phase::connected:
            return -EISCONN;
        case Phase::connecting:
            if (socket->non_blocking) return -EALREADY;
            break;
        case Phase::closed:
            if (socket->had_connection) {
                socket->had_connection = false;
                return socket->error != 0 ? take_error(*socket) : -ECONNABORTED;
            }
            break;
    }
    if (socket->phase == Phase::closed) {
        if (!socket->is_bound) socket->local.port = ephemeral_port();
        socket->is_bound = true;
        if (!socket->has_address) {
            const auto& own = world_.local_addresses();
            const auto same_family = [&](const IpAddress& a) {
                return a.is_v4() == endpoint->address.is_v4();
            };
            const auto source = std::find_if(own.begin(), own.end(), same_family);
            if (source == own.end()) return -ENETUNREACH;
            socket->local.address = *source;
            socket->has_address = true;
        }
        socket->remote = *endpoint;
        const auto id = world_.stack().connect(socket->local, socket->remote, peer_link, world_.now(),
                                               connection_options(*socket));
        if (!id) return -EADDRNOTAVAIL;
        attach(socket, *id);
        socket->phase = Phase::connecting;
        socket->had_connection = true;
        world_.wake_ready(lock);
        if (socket->non_blocking) return -EINPROGRESS;
    }
    const auto ready = [&] { return socket->phase != Phase::connecting; };
    if (!world_.wait(lock, ready, call_deadline(*socket, SO_SNDTIMEO))) return -EINPROGRESS;
    if (socket->phase == Phase::connected) return 0;
    socket->had_connection = false;
    return socket->error != 0 ? take_error(*socket) : -ECONNABORTED;
}

std::vector<std::byte> Sockets::take(Socket& socket, std::size_t wanted, int flags, bool& met_urgent) {
    Socket::Reader reader;
    reader.wanted = wanted;
    reader.peek = (flags & MSG_PEEK) != 0;
    reader.stops_at_urgent = (flags & stop_at_urgent) != 0;
    if (!socket.id || wanted == 0) return {};
    socket.reader = &reader;
    world_.stack().resume_receive(*socket.id, world_.now());
    socket.reader = nullptr;
    met_urgent = reader.met_urgent;
    return std::move(reader.bytes);
}

ssize_t Sockets::receive(int fd, msghdr& message, int flags, Lock& lock) {
    const SocketPtr socket = find(fd);
    if (socket == nullptr) return -ENOTSOCK;
    if (flags & MSG_ERRQUEUE) return socket->errors.take(message, socket->domain);
    if (flags & MSG_OOB) return -EINVAL;
    if (socket->phase == Phase::listening) return -ENOTCONN;
    const std::size_t wanted = total_length(message);
    const std::size_t enough = (flags & MSG_WAITALL) != 0 && (flags & MSG_PEEK) == 0 ? wanted : 1;
    const bool non_blocking = socket->non_blocking || (flags & MSG_DONTWAIT) != 0;
    const auto deadline = call_deadline(*socket, SO_RCVTIMEO);
    std::vector<std::byte> bytes;
    while (true) {
        bool met_urgent = false;
        const auto more = take(*socket, wanted - bytes.size(), flags, met_urgent);
        bytes.insert(bytes.end(), more.begin(), more.end());
        if (met_urgent) break;
        world_.wake_ready(lock);
        if (bytes.size() >= std::min(enough, wanted)) break;
        if (!bytes.empty() && (socket->error != 0 || non_blocking)) break;
        if (socket->error != 0) return take_error(*socket);
        if (socket->peer_closed || socket->read_shut) break;
        if (socket->phase == Phase::closed) {
            if (!bytes.empty() || socket->had_connection) break;
            return -ENOTCONN;
        }
        if (non_blocking) return -EAGAIN;
        const auto ready = [&] {
            return unread(*socket) != 0 || socket->error != 0 || socket->peer_closed || socket->read_shut ||
                   socket->phase == Phase::closed;
        };
        if (!world_.wait(lock, ready, deadline)) {
            if (bytes.empty()) return -EAGAIN;
            break;
        }
    }
    if ((flags & MSG_TRUNC) == 0) {
        std::size_t done = 0;
        for (std::size_t i = 0; i < message.msg_iovlen && done < bytes.size(); ++i) {
            const std::size_t part = std::min(message.msg_iov[i].iov_len, bytes.size() - done);
            if (part != 0) std::memcpy(message.msg_iov[i].iov_base, bytes.data() + done, part);
            done += part;
        }
    }
    message.msg_flags = 0;
    constexpr int tcp_inq = 36;  // TCP_INQ, and TCP_CM_INQ as a control message
    std::size_t control = 0;
    if (socket->options.contains({IPPROTO_TCP, tcp_inq}) && message.msg_control != nullptr &&
        message.msg_controllen >= CMSG_SPACE(sizeof(int))) {
        const int waiting =
            static_cast<int>(unread(*socket)) + (socket->peer_closed && unread(*socket) == 0 ? 1 : 0);
        cmsghdr* header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = IPPROTO_TCP;
        header->cmsg_type = tcp_inq;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        std::memcpy(CMSG_DATA(header), &waiting, sizeof waiting);
        control = CMSG_SPACE(sizeof(int));
    }
    message.msg_controllen = control;
    return static_cast<ssize_t>(bytes.size());
}

ssize_t Sockets::send(int fd, const msghdr& message, int flags, Lock& lock) {
    const SocketPtr socket = find(fd);
    if (socket == nullptr) return -ENOTSOCK;
    const bool non_blocking = socket->non_blocking || (flags & MSG_DONTWAIT) != 0;
    const auto deadline = call_deadline(*socket, SO_SNDTIMEO);
    if (socket->phase == Phase::connecting) {
        if (non_blocking) return -EAGAIN;
        const auto ready = [&] { return socket->phase != Phase::connecting; };
        if (!world_.wait(lock, ready, deadline)) return -EAGAIN;
    }
    std::vector<std::byte> bytes;
    bytes.reserve(total_length(message));
    for (std::size_t i = 0; i < message.msg_iovlen; ++i) {
        const auto* base = static_cast<const std::byte*>(message.msg_iov[i].iov_base);
        bytes.insert(bytes.end(), base, base + message.msg_iov[i].iov_len);
    }
    const bool zerocopy = (flags & MSG_ZEROCOPY) != 0 && socket->options.contains({SOL_SOCKET, SO_ZEROCOPY});
    std::size_t done = 0;
    while (true) {
        if (socket->error != 0 || socket->write_shut || socket->phase != Phase::connected) {
            if (done != 0) break;
            return socket->error != 0 ? take_error(*socket) : -EPIPE;
        }
        const auto before = snapshot(*socket);
        const std::size_t room = socket->ledger.room(before);
        const std::size_t pieces = zerocopy ? pieces_end(message, done) : bytes.size();
        const std::size_t step = std::min(room, pieces - done);
        if (step != 0) {
            const bool is_last = done + step == bytes.size();
            const bool more = (flags & MSG_MORE) != 0 || !is_last;
            const std::uint32_t end = before.app_nxt + static_cast<std::uint32_t>(step);
            SendLedger& ledger = socket->ledger;
            ledger.written(static_cast<std::uint32_t>(step), before);
            stack::WriteEnd what = stack::WriteEnd::none;
            if ((is_last && (flags & MSG_EOR) != 0) || (zerocopy && done + step == pieces)) {
                what = stack::WriteEnd::record;
                ledger.end_packet();
            } else if (step == room) {
                what = ledger.forces_push(end, before) ? stack::WriteEnd::push : stack::WriteEnd::burst;
            }
            if (!more || what == stack::WriteEnd::record || what == stack::WriteEnd::push) ledger.pushed(end);
            done += world_.stack().send(*socket->id, std::span(bytes).subspan(done, step), world_.now(), more,
                                        what);
        }
        world_.wake_ready(lock);
        if (done == bytes.size()) break;
        if (step != 0) continue;
        if (done != 0) {
            // What was taken is all for now, and asks to be pushed.
            socket->ledger.pushed(before.app_nxt);
            world_.stack().send(*socket->id, {}, world_.now());
        }
        socket->lacks_room = true;
        if (non_blocking) {
            if (done == 0) return -EAGAIN;
            break;
        }
        const auto ready = [&] {
            return socket->error != 0 || socket->write_shut || socket->phase != Phase::connected ||
                   (poll_events(*socket) & POLLOUT) != 0;
        };
        if (!world_.wait(lock, ready, deadline)) {
            if (done == 0) return -EAGAIN;
            break;
        }
    }
    if (done != 0) note_send(*socket, zerocopy);
    return static_cast<ssize_t>(done);
}

void Sockets::note_send(Socket& socket, bool zerocopy) {
    if (!socket.id) return;
    const auto s = snapshot(socket);
    socket.errors.note_send(s.app_nxt, zerocopy);
    if (socket.errors.update(s, false, world_.now())) ++socket.input_edges;
}

int Sockets::control(int fd, int command, std::intptr_t argument) {
    const SocketPtr socket = find(fd);
    if (socket == nullptr) {
        const int result = ::fcntl(fd, command, argument);
        return result < 0 ? -errno : result;
    }
    switch (command) {
        case F_GETFL:
            return O_RDWR | (socket->non_blocking ? O_NONBLOCK : 0);
        case F_SETFL:
            socket->non_blocking = (argument & O_NONBLOCK) != 0;
            return 0;
        default:
            return -EINVAL;
    }
}

int Sockets::device_control(int fd, unsigned long request, void* argument) {
    const SocketPtr socket = find(fd);
    if (socket == nullptr) return -ENOTTY;
    int answer = 0;
    switch (request) {
        case SIOCINQ:
            if (socket->phase == Phase::listening) return -EINVAL;
            answer = static_cast<int>(unread(*socket));
            break;
        case SIOCOUTQ:
        case SIOCOUTQNSD: {
            if (socket->phase == Phase::listening) return -EINVAL;
            const auto s = snapshot(*socket);
            const std::uint32_t from = request == SIOCOUTQ ? s.snd_una : s.snd_nxt;
            answer = socket->phase == Phase::connected ? std::max(0, static_cast<int>(s.app_nxt - from)) : 0;
            break;
        }
        case FIONBIO:
            std::memcpy(&answer, argument, sizeof answer);
            socket->non_blocking = answer != 0;
            return 0;
        default:
            return -ENOTTY;
    }
    std::memcpy(argument, &answer, sizeof answer);
    return 0;
}

// The socket has no descriptor any more: what becomes of its connection.
void Sockets::release(const SocketPtr& socket) {
    if (socket->phase == Phase::listening) {
        for (const Endpoint& endpoint : listening_endpoints(*socket))
            world_.stack().unlisten(endpoint);
        socket->phase = Phase::closed;
        for (const SocketPtr& child : std::exchange(socket->waiting, {}))
            if (child->id) world_.stack().abort(*child->id, world_.now());
        return;
    }
    if (!socket->id) return;
    const ConnectionId id = *socket->id;
    socket->read_shut = true;
    if (socket->phase == Phase::connecting)
        world_.stack().abort(id, world_.now());
    else
        world_.stack().close(id, world_.now());
}

int Sockets::close(int fd, Lock& lock) {
    if (epolls_.erase(fd) != 0) return ::close(fd) == 0 ? 0 : -errno;
    const SocketPtr socket = find(fd);
    if (socket == nullptr) return ::close(fd) == 0 ? 0 : -errno;
    sockets_.erase(fd);
    for (auto& [epoll_fd, epoll] : epolls_)
        epoll.erase(fd);
    ::close(fd);
    const auto id = socket->id;
    release(socket);
    world_.wake_ready(lock);
    const auto linger_option = socket->options.find({SOL_SOCKET, SO_LINGER});
    if (linger_option == socket->options.end() || socket->non_blocking || !id) return 0;
    struct linger linger {};
    std::memcpy(&linger, linger_option->second.data(), std::min(sizeof linger, linger_option->second.size()));
    if (linger.l_onoff == 0 || linger.l_linger == 0) return 0;
    const auto is_acknowledged = [&] {
        const auto s = world_.stack().snapshot(*id);
        return !s || s->state == stack::State::fin_wait_2 || s->state == stack::State::time_wait;
    };
    world_.wait(lock, is_acknowledged, world_.now() + std::chrono::seconds(linger.l_linger));
    return 0;
}

int Sockets::shutdown(int fd, int how, Lock& lock) {
    const SocketPtr socket = find(fd);
    if (socket == nullptr) return -ENOTSOCK;
    if (how < SHUT_RD || how > SHUT_RDWR) return -EINVAL;
    if (socket->phase == Phase::listening && how != SHUT_WR) {
        release(socket);
        world_.wake_ready(lock);
        return 0;
    }
    if (socket->phase == Phase::closed || socket->phase == Phase::listening) return -ENOTCONN;
    if (how != SHUT_WR) socket->read_shut = true;
    if (how != SHUT_RD && socket->id) {
        if (socket->phase == Phase::connecting) {
            world_.stack().abort(*socket->id, world_.now());
        } else {
            socket->write_shut = true;
            world_.stack().shutdown_send(*socket->id, world_.now());
        }
    }
    ++socket->input_edges;
    ++socket->output_edges;
    world_.wake_ready(lock);
    return 0;
}

void Sockets::tell_progress() {
    for (const auto& [id, socket] : by_id_) {
        if (socket->errors.update(snapshot(*socket), false, world_.now())) ++socket->input_edges;
        if (socket->phase == Phase::connected)
            socket->limits.update(snapshot(*socket), socket->lacks_room, world_.now());
        // The stack offers bytes once; later ones only add to what waits.
        const auto received = snapshot(*socket).bytes_received;
        if (std::exchange(socket->seen_received, received) != received) ++socket->input_edges;
        if (!socket->lacks_room || socket->phase != Phase::connected) continue;
        const auto s = snapshot(*socket);
        socket->ledger.expand(
            s, world_.settings().tcp.initial_window_segments,
            static_cast<std::uint32_t>(world_.sysctls().number("net.ipv4.tcp_wmem", 4 << 20, 2)));
        if (!socket->ledger.is_writable(s)) continue;
        socket->lacks_room = false;
        ++socket->output_edges;
    }
}

void Sockets::accepted(ConnectionId id, const Endpoint& client, const Endpoint& service) {
    for (const auto& [fd, listener] : sockets_) {
        if (listener->phase != Phase::listening || listener->local.port != service.port) continue;
        if (listener->has_address && listener->local.address != service.address) continue;
        auto child = std::make_shared<Socket>();
        child->domain = listener->domain;
        child->phase = Phase::connected;
        child->had_connection = true;
        child->local = service;
        child->is_bound = child->has_address = true;
        child->remote = client;
        child->options = listener->options;
        child->ledger = listener->ledger;
        attach(child, id);
        listener->waiting.push_back(std::move(child));
        ++listener->input_edges;
        return;
    }
    world_.stack().abort(id, world_.now());
}

void Sockets::connected(ConnectionId id) {
    if (Socket* socket = find(id)) {
        socket->phase = Phase::connected;
        ++socket->output_edges;
    }
}

std::size_t Sockets::received(ConnectionId id, std::span<const std::byte> bytes) {
    Socket* socket = find(id);
    if (socket == nullptr) return bytes.size();
    if (socket->reader == nullptr) {
        ++socket->input_edges;
        return 0;
    }
    Socket::Reader& reader = *socket->reader;
    std::size_t passed = 0, most = bytes.size();
    if (socket->urgent_byte && !socket->options.contains({SOL_SOCKET, SO_OOBINLINE})) {
        const std::uint64_t at = socket->read_bytes, urgent = *socket->urgent_byte;
        if (at == urgent) {
            reader.met_urgent = reader.stops_at_urgent || !reader.bytes.empty();
            if (reader.met_urgent) return 0;
            passed = 1;
        } else if (at < urgent) {
            most = static_cast<std::size_t>(std::min<std::uint64_t>(most, urgent - at));
        }
    }
    const auto readable = bytes.first(most).subspan(passed);
    const auto taken = readable.first(std::min(readable.size(), reader.wanted - reader.bytes.size()));
    reader.bytes.insert(reader.bytes.end(), taken.begin(), taken.end());
    if (reader.peek) return 0;
    socket->read_bytes += passed + taken.size();
    return passed + taken.size();
}

void Sockets::urgent(ConnectionId id, std::uint64_t end) {
    Socket* socket = find(id);
    if (socket != nullptr && end != 0) socket->urgent_byte = end - 1;
}

void Sockets::peer_closed(ConnectionId id) {
    if (Socket* socket = find(id)) {
        socket->peer_closed = true;
        ++socket->input_edges;
    }
}

void Sockets::writable(ConnectionId id) {
    if (Socket* socket = find(id)) ++socket->output_edges;
}

void Sockets::closed(ConnectionId id, CloseReason reason) {
    const auto found = by_id_.find(id);
    if (found == by_id_.end()) return;
    const SocketPtr socket = found->second;
    socket->last = world_.stack().snapshot(id);
    if (socket->last) (void)socket->errors.update(*socket->last, true, world_.now());
    by_id_.erase(found);
    socket->id.reset();
    socket->error = errno_of(reason);
    // A reset that answers our end after the peer's own (RFC 9293 3.10.7.4, second).
    if (socket->error == ECONNRESET && socket->peer_closed) socket->error = EPIPE;
    socket->phase = Phase::closed;
    ++socket->input_edges;
    ++socket->output_edges;
}

}  // namespace understudy::packetdrill
