// libunderstudy_shim.so: preloaded into a program by `understudy run`. Gives it, in place of the kernel sockets of the
// replicated service, descriptors whose other ends understudyd holds (design.md 7).
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "tools/shim/options.hh"
#include "tools/shim/socket.hh"

namespace {

using understudy::proto::shim::Address;
using understudy::proto::shim::Kind;
using understudy::proto::shim::Message;
using understudy::proto::shim::SocketName;
using namespace understudy::shim;

int fail(int error) {
    errno = error;
    return -1;
}

int kernel_option(int descriptor, int level, int name) {
    int value = 0;
    socklen_t length = sizeof value;
    return real().getsockopt(descriptor, level, name, &value, &length) == 0 ? value : -1;
}

bool is_stream(int descriptor) {
    const int domain = kernel_option(descriptor, SOL_SOCKET, SO_DOMAIN);
    return (domain == AF_INET || domain == AF_INET6) && kernel_option(descriptor, SOL_SOCKET, SO_TYPE) == SOCK_STREAM;
}

bool bind_name(int channel, const SocketName& name) {
    sockaddr_storage address{};
    address.ss_family = AF_UNIX;
    char* path = reinterpret_cast<char*>(&address) + sizeof address.ss_family + 1;
    understudy::proto::shim::format_name(name, path);
    const auto length = static_cast<socklen_t>(sizeof address.ss_family + 1 + understudy::proto::shim::name_bytes);
    return real().bind(channel, reinterpret_cast<const sockaddr*>(&address), length) == 0;
}

// Asks for the service's queue, and puts it in the place of the program's socket.
int become_listener(int descriptor, const sockaddr* address, socklen_t length, const Address& service) {
    const int channel = connect_channel();
    if (channel < 0) {
        tell("understudyd is not there, or this user may not use it: the service cannot be bound");
        return fail(EADDRNOTAVAIL);
    }
    const auto give_up = [channel](int error) {
        ::close(channel);
        return fail(error);
    };
    Message question, answer;
    question.kind = Kind::bind;
    question.family = static_cast<std::uint8_t>(address->sa_family == AF_INET6 ? AF_INET6 : AF_INET);
    question.shares_port = kernel_option(descriptor, SOL_SOCKET, SO_REUSEPORT) == 1;
    question.local = service;
    if (!ask(channel, question, answer)) return give_up(errno);
    SocketName name;
    name.role = 'l';
    name.family = address->sa_family == AF_INET6 ? 6 : 4;
    name.id = answer.id;
    from_sockaddr(address, length, name.address);
    if (!bind_name(channel, name)) return give_up(errno);
    carry_options(descriptor, channel, answer.id);
    // While the program still may: a worker that has dropped its privileges inherits it.
    (void)attached_channel(service);
    const int status_flags = ::fcntl(descriptor, F_GETFL);
    const int descriptor_flags = ::fcntl(descriptor, F_GETFD);
    if (::fcntl(channel, F_SETFL, status_flags & O_NONBLOCK) != 0 ||
        ::dup3(channel, descriptor, (descriptor_flags & FD_CLOEXEC) != 0 ? O_CLOEXEC : 0) < 0)
        return give_up(errno);
    ::close(channel);
    return 0;
}

// What an accepted socket has of its listener, where it is not zero.
void inherit(int listener, int descriptor, int option) {
    timeval value{};
    socklen_t length = sizeof value;
    if (real().getsockopt(listener, SOL_SOCKET, option, &value, &length) == 0 &&
        (value.tv_sec != 0 || value.tv_usec != 0))
        real().setsockopt(descriptor, SOL_SOCKET, option, &value, length);
}

int accept_from(int listener, sockaddr* address, socklen_t* length, int flags) {
    if ((flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != 0) return fail(EINVAL);
    // The message must not be taken without room for its descriptor: the connection would be lost.
    const int room = ::fcntl(listener, F_DUPFD_CLOEXEC, 0);
    if (room < 0) return -1;
    ::close(room);
    Message message;
    iovec part{&message, sizeof message};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    const ssize_t got = real().recvmsg(listener, &header, (flags & SOCK_CLOEXEC) != 0 ? MSG_CMSG_CLOEXEC : 0);
    if (got < 0) return -1;
    // Shut down, or understudyd has ended.
    if (got == 0) return fail(EINVAL);
    const cmsghdr* first = CMSG_FIRSTHDR(&header);
    if (got != static_cast<ssize_t>(sizeof message) || message.kind != Kind::accepted || first == nullptr)
        return fail(ECONNABORTED);
    int descriptor = -1;
    std::memcpy(&descriptor, CMSG_DATA(first), sizeof descriptor);
    if ((flags & SOCK_NONBLOCK) != 0) ::fcntl(descriptor, F_SETFL, O_NONBLOCK);
    inherit(listener, descriptor, SO_REUSEADDR);
    inherit(listener, descriptor, SO_RCVTIMEO);
    inherit(listener, descriptor, SO_SNDTIMEO);
    if (address == nullptr || to_sockaddr(message.remote, message.family == AF_INET6 ? 6 : 4, address, length) == 0)
        return descriptor;
    const int error = errno;
    ::close(descriptor);
    return fail(error);
}

// As a TCP socket in the state CLOSE: reset, or ended both ways.
bool has_ended(int connection) {
    pollfd state{.fd = connection, .events = 0, .revents = 0};
    return ::poll(&state, 1, 0) == 1 && (state.revents & POLLHUP) != 0;
}

bool is_urgent(int descriptor, int flags) {
    SocketName name;
    return (flags & MSG_OOB) != 0 && find_socket(descriptor, name);
}

// A stream pair gives its peer's name with every message; TCP none.
void hide_name(const void* address, socklen_t* length) {
    SocketName name;
    sockaddr_storage copy{};
    if (address == nullptr || length == nullptr || *length < sizeof copy.ss_family) return;
    std::memcpy(&copy, address, *length < sizeof copy ? *length : sizeof copy);
    if (copy.ss_family == AF_UNIX && read_name(copy, *length, name)) *length = 0;
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

int bind(int descriptor, const sockaddr* address, socklen_t length) {
    SocketName name;
    if (find_socket(descriptor, name)) return fail(EINVAL);
    const Address* service = find_service(address, length, true);
    if (service == nullptr && address != nullptr && address->sa_family == AF_INET6 &&
        kernel_option(descriptor, IPPROTO_IPV6, IPV6_V6ONLY) == 0)
        service = find_service(address, length, false);
    if (service == nullptr || !is_stream(descriptor)) return real().bind(descriptor, address, length);
    return become_listener(descriptor, address, length, *service);
}

int listen(int descriptor, int backlog) {
    SocketName name;
    if (!find_socket(descriptor, name)) return real().listen(descriptor, backlog);
    if (name.role != 'l') return fail(EINVAL);
    Message message;
    message.kind = Kind::listen;
    message.id = name.id;
    message.length = static_cast<std::uint32_t>(backlog);
    return send_message(descriptor, message) ? 0 : -1;
}

int accept4(int descriptor, sockaddr* address, socklen_t* length, int flags) {
    SocketName name;
    if (!find_socket(descriptor, name)) return real().accept4(descriptor, address, length, flags);
    return name.role == 'l' ? accept_from(descriptor, address, length, flags) : fail(EINVAL);
}

int accept(int descriptor, sockaddr* address, socklen_t* length) {
    SocketName name;
    if (!find_socket(descriptor, name)) return real().accept(descriptor, address, length);
    return name.role == 'l' ? accept_from(descriptor, address, length, 0) : fail(EINVAL);
}

int connect(int descriptor, const sockaddr* address, socklen_t length) {
    SocketName name;
    return find_socket(descriptor, name) ? fail(EISCONN) : real().connect(descriptor, address, length);
}

int getsockname(int descriptor, sockaddr* address, socklen_t* length) {
    SocketName name;
    if (!find_socket(descriptor, name)) return real().getsockname(descriptor, address, length);
    return to_sockaddr(name.address, name.family, address, length);
}

int getpeername(int descriptor, sockaddr* address, socklen_t* length) {
    SocketName name;
    if (!find_socket(descriptor, name)) return real().getpeername(descriptor, address, length);
    if (name.role == 'l' || has_ended(descriptor)) return fail(ENOTCONN);
    sockaddr_storage given{};
    socklen_t given_length = sizeof given;
    SocketName peer;
    if (real().getpeername(descriptor, reinterpret_cast<sockaddr*>(&given), &given_length) != 0 ||
        !read_name(given, given_length, peer))
        return fail(ENOTCONN);
    return to_sockaddr(peer.address, peer.family, address, length);
}

int shutdown(int descriptor, int how) {
    SocketName name;
    if (find_socket(descriptor, name) && name.role == 'p' && has_ended(descriptor)) return fail(ENOTCONN);
    return real().shutdown(descriptor, how);
}

int ioctl(int descriptor, unsigned long request, ...) {
    va_list arguments;
    va_start(arguments, request);
    void* argument = va_arg(arguments, void*);
    va_end(arguments);
    SocketName name;
    if (request == SIOCOUTQ && find_socket(descriptor, name) && name.role == 'p')
        return get_unacknowledged(name, static_cast<int*>(argument));
    return real().ioctl(descriptor, request, argument);
}

int getsockopt(int descriptor, int level, int option, void* value, socklen_t* length) {
    SocketName name;
    return find_socket(descriptor, name) ? get_option(descriptor, name, level, option, value, length)
                                         : real().getsockopt(descriptor, level, option, value, length);
}

int setsockopt(int descriptor, int level, int option, const void* value, socklen_t length) {
    SocketName name;
    return find_socket(descriptor, name) ? set_option(descriptor, name, level, option, value, length)
                                         : real().setsockopt(descriptor, level, option, value, length);
}

ssize_t send(int descriptor, const void* bytes, size_t size, int flags) {
    return is_urgent(descriptor, flags) ? fail(EOPNOTSUPP) : real().send(descriptor, bytes, size, flags);
}

ssize_t sendto(int descriptor, const void* bytes, size_t size, int flags, const sockaddr* to, socklen_t length) {
    SocketName name;
    if (is_urgent(descriptor, flags)) return fail(EOPNOTSUPP);
    if (to != nullptr && find_socket(descriptor, name)) return real().send(descriptor, bytes, size, flags);
    return real().sendto(descriptor, bytes, size, flags, to, length);
}

ssize_t sendmsg(int descriptor, const msghdr* message, int flags) {
    SocketName name;
    if (is_urgent(descriptor, flags)) return fail(EOPNOTSUPP);
    if (message == nullptr || message->msg_name == nullptr || !find_socket(descriptor, name))
        return real().sendmsg(descriptor, message, flags);
    msghdr unnamed = *message;
    unnamed.msg_name = nullptr;
    unnamed.msg_namelen = 0;
    return real().sendmsg(descriptor, &unnamed, flags);
}

ssize_t recvfrom(int descriptor, void* bytes, size_t size, int flags, sockaddr* from, socklen_t* length) {
    const ssize_t got = real().recvfrom(descriptor, bytes, size, flags, from, length);
    if (got >= 0) hide_name(from, length);
    return got;
}

ssize_t __recvfrom_chk(int descriptor, void* bytes, size_t size, size_t room, int flags, sockaddr* from,
                       socklen_t* length) {
    const ssize_t got = real().__recvfrom_chk(descriptor, bytes, size, room, flags, from, length);
    if (got >= 0) hide_name(from, length);
    return got;
}

ssize_t recvmsg(int descriptor, msghdr* message, int flags) {
    const ssize_t got = real().recvmsg(descriptor, message, flags);
    if (got >= 0) hide_name(message->msg_name, &message->msg_namelen);
    return got;
}

}  // extern "C"
#pragma GCC visibility pop
