#include "tools/twin/kernel_datagram_server.hh"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <string>
#include <system_error>

#include "tools/twin/socket_address.hh"

namespace understudy::twin {
namespace {

constexpr std::size_t largest_datagram = 65'535;
constexpr int max_datagrams_per_wake = 256;

[[noreturn]] void fail(const std::string& what) {
    throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

KernelDatagramServer::KernelDatagramServer(const stack::Endpoint& listen,
                                           shadow_app::DatagramApplication& application)
    : application_(application), input_(largest_datagram) {
    SocketAddress address = to_socket_address(listen);
    socket_ = Descriptor(::socket(address.storage.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket_) fail("cannot make a socket");
    if (::bind(socket_.get(), address.get(), address.length) != 0)
        fail("cannot bind " + stack::to_string(listen));
    SocketAddress bound;
    if (::getsockname(socket_.get(), bound.get(), &bound.length) != 0) fail("cannot read the bound address");
    local_ = to_endpoint(bound);
}

KernelDatagramServer::~KernelDatagramServer() = default;

void KernelDatagramServer::run(int stop_descriptor) {
    for (;;) {
        std::array<pollfd, 2> waiting{{{.fd = socket_.get(), .events = POLLIN, .revents = 0},
                                       {.fd = stop_descriptor, .events = POLLIN, .revents = 0}}};
        if (::poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) fail("cannot wait for events");
        if (waiting[1].revents != 0) return;
        if (waiting[0].revents != 0) receive_waiting();
    }
}

void KernelDatagramServer::receive_waiting() {
    for (int i = 0; i < max_datagrams_per_wake; ++i) {
        SocketAddress client;
        const ssize_t length =
            ::recvfrom(socket_.get(), input_.data(), input_.size(), 0, client.get(), &client.length);
        if (length < 0) {
            if (errno != EAGAIN && errno != EINTR) ++counters_.receive_errors;
            return;
        }
        ++counters_.received;
        application_.received(*this, to_endpoint(client),
                              std::span(input_).first(static_cast<std::size_t>(length)));
    }
}

bool KernelDatagramServer::send(const stack::Endpoint& client, std::span<const std::byte> bytes) {
    SocketAddress address = to_socket_address(client);
    const ssize_t length =
        ::sendto(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL, address.get(), address.length);
    const bool taken = length == static_cast<ssize_t>(bytes.size());
    ++(taken ? counters_.sent : counters_.send_errors);
    return taken;
}

}  // namespace understudy::twin
