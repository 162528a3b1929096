// Sockets over the stack, as Linux's calls show them: results and errno values are what scripts compare.
#pragma once

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "stack/stack.hh"
#include "tests/packetdrill/error_queue.hh"
#include "tests/packetdrill/send_ledger.hh"
#include "tests/packetdrill/send_limits.hh"
#include "tests/packetdrill/world.hh"

namespace understudy::packetdrill {

// What one descriptor stands for. The phases are those of a TCP socket's life; `closed` is both before
// connect() and after the connection's end.
struct Socket {
    enum class Phase : std::uint8_t { closed, listening, connecting, connected };

    int domain = AF_INET;
    int type = SOCK_STREAM;
    bool non_blocking = false;
    Phase phase = Phase::closed;
    stack::Endpoint local;
    stack::Endpoint remote;
    bool is_bound = false;
    bool has_address = false;  // bound to one address, not to all of them
    bool had_connection = false;
    std::optional<stack::ConnectionId> id;
    std::optional<stack::ConnectionSnapshot> last;  // of a connection that is gone
    int error = 0;                                  // SO_ERROR
    bool peer_closed = false;
    bool read_shut = false;
    bool write_shut = false;

    // A listener's.
    std::uint32_t backlog = 0;
    std::deque<std::shared_ptr<Socket>> waiting;

    // Options by (level, name), as they were set.
    std::map<std::pair<int, int>, std::vector<std::byte>> options;

    SendLedger ledger;
    ErrorQueue errors;
    SendLimits limits;
    bool lacks_room = false;  // somebody waits for room to write

    // Where received() puts bytes while read() asks for them.
    struct Reader {
        std::vector<std::byte> bytes;
        std::size_t wanted = 0;
        bool peek = false;
        bool stops_at_urgent = false;  // also where nothing was read before it
        bool met_urgent = false;
    };
    Reader* reader = nullptr;

    // Counts what wakes a waiter, for edge-triggered epoll: input and output apart.
    std::uint64_t input_edges = 0;
    std::uint64_t output_edges = 0;
    std::uint64_t seen_received = 0;  // bytes that input_edges knows of

    std::uint64_t read_bytes = 0;
    std::optional<std::uint64_t> urgent_byte;  // its offset in the input: reads pass over it, as Linux's do
};

// For Sockets::receive, beside those of recvmsg(2): as splice(2) reads.
inline constexpr int stop_at_urgent = 1 << 30;

class Sockets final : public stack::ConnectionEvents {
  public:
    explicit Sockets(std::string_view flags);

    World& world() { return world_; }
    // Whether a descriptor is one of ours; others belong to libc.
    bool owns(int fd) const { return sockets_.contains(fd) || epolls_.contains(fd); }

    // Each returns what its libc namesake returns, or a negative errno.
    int socket(int domain, int type, int protocol);
    int bind(int fd, const sockaddr* address, socklen_t length);
    int listen(int fd, int backlog);
    int accept(int fd, sockaddr* address, socklen_t* length, Lock& lock);
    int connect(int fd, const sockaddr* address, socklen_t length, Lock& lock);
    ssize_t receive(int fd, msghdr& message, int flags, Lock& lock);
    ssize_t send(int fd, const msghdr& message, int flags, Lock& lock);
    int control(int fd, int command, std::intptr_t argument);
    int device_control(int fd, unsigned long request, void* argument);
    int close(int fd, Lock& lock);
    int shutdown(int fd, int how, Lock& lock);
    int get_option(int fd, int level, int name, void* value, socklen_t* length);
    int set_option(int fd, int level, int name, const void* value, socklen_t length);
    int poll(pollfd* fds, nfds_t count, int timeout_ms, Lock& lock);
    int epoll_create(int size);
    int epoll_control(int epoll, int operation, int fd, const epoll_event* event);
    int epoll_wait(int epoll, epoll_event* events, int max_events, int timeout_ms, Lock& lock);

    // stack::ConnectionEvents
    void accepted(stack::ConnectionId id, const stack::Endpoint& client,
                  const stack::Endpoint& service) override;
    void connected(stack::ConnectionId id) override;
    std::size_t received(stack::ConnectionId id, std::span<const std::byte> bytes) override;
    void urgent(stack::ConnectionId id, std::uint64_t end) override;
    void peer_closed(stack::ConnectionId id) override;
    void writable(stack::ConnectionId id) override;
    void closed(stack::ConnectionId id, stack::CloseReason reason) override;

  private:
    using SocketPtr = std::shared_ptr<Socket>;
    struct Interest {
        std::uint32_t events = 0;
        epoll_data_t data{};
        std::uint64_t seen_input = 0;
        std::uint64_t seen_output = 0;
        bool is_new = true;
    };
    using Epoll = std::map<int, Interest>;

    SocketPtr find(int fd) const;
    Socket* find(stack::ConnectionId id) const;
    int add_descriptor(SocketPtr socket);
    void attach(const SocketPtr& socket, stack::ConnectionId id);
    std::vector<stack::Endpoint> listening_endpoints(const Socket& socket) const;
    std::uint16_t ephemeral_port();
    stack::ConnectionSnapshot snapshot(const Socket& socket) const;
    std::uint32_t unread(const Socket& socket) const;
    std::optional<Instant> call_deadline(const Socket& socket, int option) const;
    // Takes up to `wanted` bytes of the stack's queue.
    std::vector<std::byte> take(Socket& socket, std::size_t wanted, int flags, bool& met_urgent);
    std::uint32_t poll_events(Socket& socket) const;
    // After whatever the stack did: counts the edges of input, and of room for writers.
    void tell_progress();
    // A call has queued bytes up to the end of what the application wrote.
    void note_send(Socket& socket, bool zerocopy);
    int collect_epoll(Epoll& epoll, epoll_event* events, int max_events);
    void release(const SocketPtr& socket);
    int fill_tcp_info(const Socket& socket, void* value, socklen_t* length) const;
    // What the stack is asked for, from the options as they were set.
    stack::ConnectionOptions connection_options(const Socket& socket) const;
    // `is_nodelay`: TCP_NODELAY was set, which pushes what waits even when it was set before.
    void apply_options(const Socket& socket, bool is_nodelay = false);

    World world_;
    std::map<int, SocketPtr> sockets_;
    std::map<int, Epoll> epolls_;
    std::map<stack::ConnectionId, SocketPtr> by_id_;
    std::uint16_t next_port_ = 32768;
};

// sockaddr to endpoint and back; IPv4 is shown mapped on an AF_INET6 socket.
std::optional<stack::Endpoint> to_endpoint(const sockaddr* address, socklen_t length);
void from_endpoint(const stack::Endpoint& endpoint, int domain, sockaddr* address, socklen_t* length);

}  // namespace understudy::packetdrill
