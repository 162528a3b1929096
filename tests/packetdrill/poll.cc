// poll(2) and epoll(7): what is ready, and for edges, what has become so since it was last told.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>

#include "tests/packetdrill/sockets.hh"

namespace understudy::packetdrill {
namespace {

using Phase = Socket::Phase;

bool has_peer_fin(const stack::ConnectionSnapshot& s) {
    using stack::State;
    return s.state == State::close_wait || s.state == State::closing || s.state == State::last_ack ||
           s.state == State::time_wait;
}

std::optional<Instant> deadline_of(Instant now, int timeout_ms) {
    if (timeout_ms < 0) return std::nullopt;
    return now + std::chrono::milliseconds(timeout_ms);
}

}  // namespace

std::uint32_t Sockets::poll_events(Socket& socket) const {
    if (socket.phase == Phase::listening) return socket.waiting.empty() ? 0 : POLLIN | POLLRDNORM;
    std::uint32_t events = socket.error != 0 || !socket.errors.empty() ? POLLERR : 0;
    const bool gone = socket.phase == Phase::closed;
    const auto s = snapshot(socket);
    const bool peer_fin = socket.peer_closed || (socket.id && has_peer_fin(s));
    const bool read_shut = socket.read_shut || peer_fin || (gone && socket.had_connection);
    const bool write_shut = socket.write_shut || (gone && socket.had_connection);
    if ((read_shut && write_shut) || gone) events |= POLLHUP;
    if (read_shut) events |= POLLIN | POLLRDNORM | POLLRDHUP;
    if (socket.phase == Phase::connecting) return events;
    if (socket.id && s.unread_bytes != 0) events |= POLLIN | POLLRDNORM;
    if (write_shut || gone) return events | POLLOUT | POLLWRNORM;
    if (socket.ledger.is_writable(s))
        events |= POLLOUT | POLLWRNORM;
    else
        socket.lacks_room = true;
    return events;
}

int Sockets::poll(pollfd* fds, nfds_t count, int timeout_ms, Lock& lock) {
    const auto look = [&] {
        int found = 0;
        for (nfds_t i = 0; i < count; ++i) {
            fds[i].revents = 0;
            if (fds[i].fd < 0) continue;
            const SocketPtr socket = find(fds[i].fd);
            const std::uint32_t always = POLLERR | POLLHUP;
            const std::uint32_t events =
                socket == nullptr
                    ? std::uint32_t{POLLNVAL}
                    : poll_events(*socket) & (static_cast<std::uint32_t>(fds[i].events) | always);
            fds[i].revents = static_cast<short>(events);
            if (events != 0) ++found;
        }
        return found;
    };
    int found = look();
    if (found != 0 || timeout_ms == 0) return found;
    const auto ready = [&] { return (found = look()) != 0; };
    world_.wait(lock, ready, deadline_of(world_.now(), timeout_ms));
    return found;
}

int Sockets::epoll_create(int size) {
    if (size <= 0) return -EINVAL;
    const int fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0) return -errno;
    epolls_[fd];
    return fd;
}

int Sockets::epoll_control(int epoll, int operation, int fd, const epoll_event* event) {
    const auto found = epolls_.find(epoll);
    if (found == epolls_.end()) return -EINVAL;
    if (find(fd) == nullptr) return -EBADF;
    Epoll& interests = found->second;
    const bool known = interests.contains(fd);
    switch (operation) {
        case EPOLL_CTL_ADD:
            if (known) return -EEXIST;
            break;
        case EPOLL_CTL_MOD:
            if (!known) return -ENOENT;
            break;
        case EPOLL_CTL_DEL:
            return interests.erase(fd) != 0 ? 0 : -ENOENT;
        default:
            return -EINVAL;
    }
    if (event == nullptr) return -EFAULT;
    Interest interest;
    interest.events = event->events;
    interest.data = event->data;
    interests[fd] = interest;
    return 0;
}

int Sockets::collect_epoll(Epoll& epoll, epoll_event* events, int max_events) {
    int count = 0;
    for (auto& [fd, interest] : epoll) {
        if (count == max_events) break;
        const SocketPtr socket = find(fd);
        if (socket == nullptr || interest.events == 0) continue;
        const std::uint32_t wanted = (interest.events & 0xffffu) | EPOLLERR | EPOLLHUP;
        const std::uint32_t ready = poll_events(*socket) & wanted;
        const bool edge = interest.is_new || interest.seen_input != socket->input_edges ||
                          interest.seen_output != socket->output_edges;
        if (ready == 0 || ((interest.events & EPOLLET) != 0 && !edge)) continue;
        interest.is_new = false;
        interest.seen_input = socket->input_edges;
        interest.seen_output = socket->output_edges;
        if ((interest.events & EPOLLONESHOT) != 0) interest.events = 0;
        events[count].events = ready;
        events[count].data = interest.data;
        ++count;
    }
    return count;
}

int Sockets::epoll_wait(int epoll, epoll_event* events, int max_events, int timeout_ms, Lock& lock) {
    if (!epolls_.contains(epoll) || max_events <= 0) return -EINVAL;
    int count = collect_epoll(epolls_[epoll], events, max_events);
    if (count != 0 || timeout_ms == 0) return count;
    const auto ready = [&] {
        if (count == 0) count = collect_epoll(epolls_[epoll], events, max_events);
        return count != 0;
    };
    world_.wait(lock, ready, deadline_of(world_.now(), timeout_ms));
    return count;
}

}  // namespace understudy::packetdrill
