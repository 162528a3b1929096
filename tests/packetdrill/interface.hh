// The shared-object interface of packetdrill: the layout is the interface, so it is declared here member by
// member, in order.
#pragma once

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstddef>

namespace understudy::packetdrill {

// Every entry takes `userdata` first, and then what its libc namesake takes. Errors are -1 with errno.
struct Interface {
    void* userdata;
    void (*free)(void*);
    int (*socket)(void*, int, int, int);
    int (*bind)(void*, int, const sockaddr*, socklen_t);
    int (*listen)(void*, int, int);
    int (*accept)(void*, int, sockaddr*, socklen_t*);
    int (*connect)(void*, int, const sockaddr*, socklen_t);
    ssize_t (*read)(void*, int, void*, std::size_t);
    ssize_t (*readv)(void*, int, const iovec*, int);
    ssize_t (*recv)(void*, int, void*, std::size_t, int);
    ssize_t (*recvfrom)(void*, int, void*, std::size_t, int, sockaddr*, socklen_t*);
    ssize_t (*recvmsg)(void*, int, msghdr*, int);
    ssize_t (*write)(void*, int, const void*, std::size_t);
    ssize_t (*writev)(void*, int, const iovec*, int);
    ssize_t (*send)(void*, int, const void*, std::size_t, int);
    ssize_t (*sendto)(void*, int, const void*, std::size_t, int, const sockaddr*, socklen_t);
    ssize_t (*sendmsg)(void*, int, const msghdr*, int);
    int (*fcntl)(void*, int, int, ...);
    int (*ioctl)(void*, int, unsigned long, ...);
    int (*close)(void*, int);
    int (*shutdown)(void*, int, int);
    int (*getsockopt)(void*, int, int, int, void*, socklen_t*);
    int (*setsockopt)(void*, int, int, int, const void*, socklen_t);
    int (*poll)(void*, pollfd*, nfds_t, int);
    // An IP packet for the stack, up to 64 KiB.
    int (*netdev_send)(void*, const void*, std::size_t);
    // The next IP packet of the stack and when it was sent; a count of 0 means that none will ever come.
    int (*netdev_receive)(void*, void*, std::size_t*, long long* time_usecs);
    int (*usleep)(void*, useconds_t);
    int (*gettimeofday)(void*, timeval*, struct timezone*);
    int (*epoll_create)(void*, int);
    int (*epoll_ctl)(void*, int, int, int, epoll_event*);
    int (*epoll_wait)(void*, int, epoll_event*, int, int);
    int (*pipe)(void*, int[2]);
    int (*splice)(void*, int, loff_t*, int, loff_t*, std::size_t, unsigned);
};

}  // namespace understudy::packetdrill
