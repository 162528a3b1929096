#include "tools/daemon/shim_channel.hh"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <utility>

#include "proto/shim_channel.hh"
#include "shadow_app/shim/service.hh"

namespace understudy::tools {
namespace {

using proto::shim::Kind;
using proto::shim::Message;
using shadow_app::shim::Descriptor;

constexpr std::size_t max_newcomers = 256;
constexpr std::chrono::seconds first_message_timeout{5};

[[noreturn]] void fail(const std::filesystem::path& path, const char* what) {
    throw std::runtime_error("cannot listen at " + path.string() + ": " + what + ": " + std::strerror(errno));
}

int listen_at(const std::filesystem::path& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.native().size() >= sizeof address.sun_path)
        throw std::runtime_error("cannot listen at " + path.string() + ": the path is too long for a socket");
    std::memcpy(address.sun_path, path.c_str(), path.native().size());
    Descriptor socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) fail(path, "socket");
    // The control socket, which is beside it, proves that no other process of ours lives.
    ::unlink(path.c_str());
    if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fail(path, "bind");
    if (::chmod(path.c_str(), 0660) != 0) fail(path, "chmod");
    if (::listen(socket.get(), SOMAXCONN) != 0) fail(path, "listen");
    return socket.release();
}

stack::Endpoint to_endpoint(const proto::shim::Address& address) {
    stack::Endpoint endpoint;
    std::copy(std::begin(address.octets), std::end(address.octets), endpoint.address.octets.begin());
    endpoint.port = address.port;
    return endpoint;
}

}  // namespace

struct ShimChannel::Newcomer {
    explicit Newcomer(boost::asio::io_context& io, int number) : socket(io, number), timer(io) {}
    boost::asio::posix::stream_descriptor socket;
    boost::asio::steady_timer timer;
};

ShimChannel::ShimChannel(boost::asio::io_context& io, std::filesystem::path path,
                         std::vector<stack::Endpoint> services, DataPlane& plane)
    : io_(io),
      path_(std::move(path)),
      services_(std::move(services)),
      plane_(plane),
      listener_(io, listen_at(path_)) {
    accept();
}

ShimChannel::~ShimChannel() {
    ::unlink(path_.c_str());
}

void ShimChannel::accept() {
    listener_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                         [this](const boost::system::error_code& error) {
                             if (error) return;
                             Descriptor socket(::accept4(listener_.native_handle(), nullptr, nullptr,
                                                         SOCK_CLOEXEC | SOCK_NONBLOCK));
                             if (socket && newcomers_.size() < max_newcomers)
                                 hear(newcomers_.emplace(newcomers_.end(), io_, socket.release()));
                             else if (socket)
                                 ++counters_.refused_busy;
                             accept();
                         });
}

void ShimChannel::hear(std::list<Newcomer>::iterator newcomer) {
    newcomer->timer.expires_after(first_message_timeout);
    newcomer->timer.async_wait([this, newcomer](const boost::system::error_code& error) {
        if (error) return;
        ++counters_.refused_first;
        newcomer->socket.cancel();
    });
    newcomer->socket.async_wait(
        boost::asio::posix::stream_descriptor::wait_read,
        [this, newcomer](const boost::system::error_code& error) {
            if (error == boost::asio::error::operation_aborted) {
                newcomers_.erase(newcomer);
                return;
            }
            newcomer->timer.cancel();
            Message message;
            const ssize_t got = ::recv(newcomer->socket.native_handle(), &message, sizeof message, MSG_DONTWAIT);
            if (got != static_cast<ssize_t>(sizeof message) || message.magic_number != proto::shim::magic ||
                (message.kind != Kind::bind && message.kind != Kind::attach)) {
                ++counters_.refused_first;
                return refuse(newcomer, EPROTO);
            }
            const stack::Endpoint service = to_endpoint(message.local);
            if (std::find(services_.begin(), services_.end(), service) == services_.end()) {
                ++counters_.refused_service;
                return refuse(newcomer, EADDRNOTAVAIL);
            }
            const auto socket = std::make_shared<Descriptor>(newcomer->socket.release());
            newcomers_.erase(newcomer);
            const bool taken = plane_.run(plane_.core_of(service), [socket, message, service](Core& core) {
                static_cast<shadow_app::shim::Service*>(core.application(service))->adopt(std::move(*socket), message);
            });
            ++(taken ? counters_.attached : counters_.refused_busy);
        });
}

void ShimChannel::refuse(std::list<Newcomer>::iterator newcomer, int error) {
    Message answer;
    answer.error = error;
    (void)::send(newcomer->socket.native_handle(), &answer, sizeof answer, MSG_DONTWAIT | MSG_NOSIGNAL);
    newcomers_.erase(newcomer);
}

}  // namespace understudy::tools
