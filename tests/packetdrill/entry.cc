// The library's entries: what packetdrill calls, and the getsockopt(2) of its code blocks when it is
// preloaded.
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstring>

#include "tests/packetdrill/interface.hh"
#include "tests/packetdrill/sockets.hh"

namespace understudy::packetdrill {
namespace {

using namespace std::chrono_literals;

constexpr Duration patience = 200s;
constexpr Duration call_cost = 20us;  // what usleep(2) oversleeps at least

// Never freed: packetdrill may exit while its second thread sleeps in a call.
Sockets* sockets = nullptr;

template <typename Result>
Result answer(Result result) {
    if (result >= 0) return result;
    errno = static_cast<int>(-result);
    return -1;
}

// Runs one call under the lock; its result is a value or a negative errno.
template <typename Call>
auto locked(Call call) {
    Lock lock(sockets->world().mutex);
    return answer(call(lock));
}

msghdr message_of(iovec* vectors, std::size_t count) {
    msghdr message{};
    message.msg_iov = vectors;
    message.msg_iovlen = count;
    return message;
}

ssize_t receive_message(int fd, msghdr& message, int flags) {
    return locked([&](Lock& lock) { return sockets->receive(fd, message, flags, lock); });
}

ssize_t send_message(int fd, const msghdr& message, int flags) {
    return locked([&](Lock& lock) { return sockets->send(fd, message, flags, lock); });
}

bool is_ours(int fd) {
    const Lock lock(sockets->world().mutex);
    return sockets->owns(fd);
}

void do_free(void*) {}

int do_socket(void*, int domain, int type, int protocol) {
    return locked([&](Lock&) { return sockets->socket(domain, type, protocol); });
}

int do_bind(void*, int fd, const sockaddr* address, socklen_t length) {
    return locked([&](Lock&) { return sockets->bind(fd, address, length); });
}

int do_listen(void*, int fd, int backlog) {
    return locked([&](Lock&) { return sockets->listen(fd, backlog); });
}

int do_accept(void*, int fd, sockaddr* address, socklen_t* length) {
    return locked([&](Lock& lock) { return sockets->accept(fd, address, length, lock); });
}

int do_connect(void*, int fd, const sockaddr* address, socklen_t length) {
    return locked([&](Lock& lock) { return sockets->connect(fd, address, length, lock); });
}

ssize_t do_readv(void*, int fd, const iovec* vectors, int count) {
    if (!is_ours(fd)) return ::readv(fd, vectors, count);
    msghdr message = message_of(const_cast<iovec*>(vectors), static_cast<std::size_t>(count));
    return receive_message(fd, message, 0);
}

ssize_t do_recvfrom(void*, int fd, void* buffer, std::size_t size, int flags, sockaddr* address,
                    socklen_t* length) {
    if (buffer == nullptr && size != 0) return answer<ssize_t>(-EFAULT);
    iovec vector{buffer, size};
    msghdr message = message_of(&vector, 1);
    const ssize_t result = receive_message(fd, message, flags);
    if (result >= 0 && address != nullptr && length != nullptr) *length = 0;
    return result;
}

ssize_t do_recv(void* data, int fd, void* buffer, std::size_t size, int flags) {
    return do_recvfrom(data, fd, buffer, size, flags, nullptr, nullptr);
}

ssize_t do_read(void* data, int fd, void* buffer, std::size_t size) {
    if (!is_ours(fd)) return ::read(fd, buffer, size);
    return do_recv(data, fd, buffer, size, 0);
}

ssize_t do_recvmsg(void*, int fd, msghdr* message, int flags) {
    return receive_message(fd, *message, flags);
}

ssize_t do_writev(void*, int fd, const iovec* vectors, int count) {
    if (!is_ours(fd)) return ::writev(fd, vectors, count);
    return send_message(fd, message_of(const_cast<iovec*>(vectors), static_cast<std::size_t>(count)), 0);
}

ssize_t do_sendto(void*, int fd, const void* buffer, std::size_t size, int flags, const sockaddr* address,
                  socklen_t length) {
    if (buffer == nullptr && size != 0) return answer<ssize_t>(-EFAULT);
    iovec vector{const_cast<void*>(buffer), size};
    msghdr message = message_of(&vector, 1);
    message.msg_name = const_cast<sockaddr*>(address);
    message.msg_namelen = length;
    return send_message(fd, message, flags);
}

ssize_t do_send(void* data, int fd, const void* buffer, std::size_t size, int flags) {
    return do_sendto(data, fd, buffer, size, flags, nullptr, 0);
}

ssize_t do_write(void* data, int fd, const void* buffer, std::size_t size) {
    if (!is_ours(fd)) return ::write(fd, buffer, size);
    return do_send(data, fd, buffer, size, 0);
}

ssize_t do_sendmsg(void*, int fd, const msghdr* message, int flags) {
    return send_message(fd, *message, flags);
}

int do_fcntl(void*, int fd, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    const auto argument = va_arg(arguments, std::intptr_t);
    va_end(arguments);
    return locked([&](Lock&) { return sockets->control(fd, command, argument); });
}

int do_ioctl(void*, int fd, unsigned long request, ...) {
    va_list arguments;
    va_start(arguments, request);
    void* const argument = va_arg(arguments, void*);
    va_end(arguments);
    return locked([&](Lock&) { return sockets->device_control(fd, request, argument); });
}

int do_close(void*, int fd) {
    return locked([&](Lock& lock) { return sockets->close(fd, lock); });
}

int do_shutdown(void*, int fd, int how) {
    return locked([&](Lock& lock) { return sockets->shutdown(fd, how, lock); });
}

int do_getsockopt(void*, int fd, int level, int name, void* value, socklen_t* length) {
    return locked([&](Lock&) { return sockets->get_option(fd, level, name, value, length); });
}

int do_setsockopt(void*, int fd, int level, int name, const void* value, socklen_t length) {
    return locked([&](Lock&) { return sockets->set_option(fd, level, name, value, length); });
}

int do_poll(void*, pollfd* fds, nfds_t count, int timeout) {
    return locked([&](Lock& lock) { return sockets->poll(fds, count, timeout, lock); });
}

int do_netdev_send(void*, const void* buffer, std::size_t count) {
    Lock lock(sockets->world().mutex);
    sockets->world().inject(std::span(static_cast<const std::byte*>(buffer), count), lock);
    return 0;
}

int do_netdev_receive(void*, void* buffer, std::size_t* count, long long* time_usecs) {
    Lock lock(sockets->world().mutex);
    const auto packet = sockets->world().next_packet(patience, lock);
    *time_usecs = std::chrono::duration_cast<std::chrono::microseconds>(
                      (packet ? packet->at : sockets->world().now()).time_since_epoch())
                      .count();
    *count = packet ? std::min(*count, packet->bytes.size()) : 0;
    if (packet) std::memcpy(buffer, packet->bytes.data(), *count);
    return 0;
}

int do_usleep(void*, useconds_t time) {
    Lock lock(sockets->world().mutex);
    World& world = sockets->world();
    world.run_until(world.now() + std::chrono::microseconds(time) + call_cost, lock);
    return 0;
}

int do_gettimeofday(void*, timeval* value, struct timezone*) {
    Lock lock(sockets->world().mutex);
    const auto now =
        std::chrono::duration_cast<std::chrono::microseconds>(sockets->world().look(lock).time_since_epoch())
            .count();
    value->tv_sec = now / 1000000;
    value->tv_usec = now % 1000000;
    return 0;
}

int do_epoll_create(void*, int size) {
    return locked([&](Lock&) { return sockets->epoll_create(size); });
}

int do_epoll_ctl(void*, int epoll, int operation, int fd, epoll_event* event) {
    return locked([&](Lock&) { return sockets->epoll_control(epoll, operation, fd, event); });
}

int do_epoll_wait(void*, int epoll, epoll_event* events, int max_events, int timeout) {
    return locked([&](Lock& lock) { return sockets->epoll_wait(epoll, events, max_events, timeout, lock); });
}

int do_pipe(void*, int fds[2]) {
    return ::pipe(fds);
}

// Between one of our sockets and a real pipe.
ssize_t splice_bytes(int from, int to, std::size_t size, int flags) {
    std::array<std::byte, 65536> buffer;
    size = std::min(size, buffer.size());
    iovec vector{buffer.data(), size};
    msghdr message = message_of(&vector, 1);
    const ssize_t got =
        is_ours(from) ? receive_message(from, message, flags) : ::read(from, buffer.data(), size);
    if (got <= 0) return got;
    vector.iov_len = static_cast<std::size_t>(got);
    return is_ours(to) ? send_message(to, message, flags & ~stop_at_urgent)
                       : ::write(to, buffer.data(), static_cast<std::size_t>(got));
}

int do_splice(void*, int from, loff_t*, int to, loff_t*, std::size_t size, unsigned flags) {
    return static_cast<int>(
        splice_bytes(from, to, size, stop_at_urgent | ((flags & SPLICE_F_NONBLOCK) != 0 ? MSG_DONTWAIT : 0)));
}

}  // namespace
}  // namespace understudy::packetdrill

using understudy::packetdrill::Interface;

extern "C" __attribute__((visibility("default"))) void packetdrill_interface_init(const char* flags,
                                                                                  Interface* interface) {
    using namespace understudy::packetdrill;
    sockets = new Sockets(flags == nullptr ? "" : flags);
    *interface = {nullptr,           do_free,       do_socket,       do_bind,         do_listen,
                  do_accept,         do_connect,    do_read,         do_readv,        do_recv,
                  do_recvfrom,       do_recvmsg,    do_write,        do_writev,       do_send,
                  do_sendto,         do_sendmsg,    do_fcntl,        do_ioctl,        do_close,
                  do_shutdown,       do_getsockopt, do_setsockopt,   do_poll,         do_netdev_send,
                  do_netdev_receive, do_usleep,     do_gettimeofday, do_epoll_create, do_epoll_ctl,
                  do_epoll_wait,     do_pipe,       do_splice};
}

// For this call the interface has no entry. Its name is set, for <sys/sendfile.h> may give it another.
extern "C" __attribute__((visibility("default"))) ssize_t send_file(int, int, off_t*, std::size_t) noexcept
    asm("sendfile");
ssize_t send_file(int to, int from, off_t* offset, std::size_t count) noexcept {
    using namespace understudy::packetdrill;
    if (sockets == nullptr || !is_ours(to)) return ::syscall(SYS_sendfile, to, from, offset, count);
    std::array<std::byte, 65536> buffer;
    count = std::min(count, buffer.size());
    const ssize_t got =
        offset != nullptr ? ::pread(from, buffer.data(), count, *offset) : ::read(from, buffer.data(), count);
    if (got <= 0) return got;
    const ssize_t sent = do_send(nullptr, to, buffer.data(), static_cast<std::size_t>(got), 0);
    if (sent > 0 && offset != nullptr) *offset += sent;
    return sent;
}

// packetdrill's code blocks ask libc, which reaches this when the library is preloaded as well.
extern "C" __attribute__((visibility("default"))) int getsockopt(int fd, int level, int name, void* value,
                                                                 socklen_t* length) noexcept {
    using namespace understudy::packetdrill;
    if (sockets != nullptr && is_ours(fd)) return do_getsockopt(nullptr, fd, level, name, value, length);
    return static_cast<int>(::syscall(SYS_getsockopt, fd, level, name, value, length));
}
