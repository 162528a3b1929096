#include "tools/control/client.hh"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "proto/framing.hh"

namespace understudy::tools {
namespace {

using Clock = std::chrono::steady_clock;

std::string advice(int error) {
    switch (error) {
        case ENOENT:
        case ECONNREFUSED:
            return "; is understudyd running, with the same --control PATH?";
        case EACCES:
            return "; run this as root or in the socket's group";
        default:
            return {};
    }
}

}  // namespace

ControlClient::ControlClient(const std::filesystem::path& path, std::chrono::milliseconds timeout)
    : path_(path), timeout_(timeout) {
    const std::string where = "control socket " + path.string();
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.native().size() >= sizeof address.sun_path)
        throw ControlError(where + ": the path is longer than a socket's may be");
    std::memcpy(address.sun_path, path.c_str(), path.native().size() + 1);

    socket_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (socket_ < 0) throw ControlError(where + ": " + std::strerror(errno));
    // A Unix socket connects at once, or fails with EAGAIN when the listener's queue is full.
    const Clock::time_point deadline = Clock::now() + timeout_;
    while (::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        const int error = errno;
        if (error == EINTR) continue;
        if (error == EAGAIN && Clock::now() < deadline) {
            ::poll(nullptr, 0, 10);
            continue;
        }
        ::close(socket_);
        throw ControlError(where + ": cannot connect: " + std::strerror(error) + advice(error));
    }
}

ControlClient::~ControlClient() {
    ::close(socket_);
}

proto::v1::ControlResponse ControlClient::call(proto::v1::ControlRequest request) {
    const Clock::time_point deadline = Clock::now() + timeout_;
    request.set_id(++last_id_);
    const auto frame = proto::encode_frame(request);
    if (!frame) throw ControlError("the request is too long");
    send_all(frame->data(), frame->size(), deadline);

    proto::FrameHeader header{};
    receive_all(reinterpret_cast<char*>(header.data()), header.size(), deadline);
    const auto length = proto::decode_frame_length(header);
    if (!length) throw ControlError("control socket " + path_.string() + ": the answer is too long");
    std::string bytes(*length, '\0');
    receive_all(bytes.data(), bytes.size(), deadline);
    proto::v1::ControlResponse response;
    if (!response.ParseFromString(bytes) || response.id() != request.id() ||
        response.body_case() == proto::v1::ControlResponse::BODY_NOT_SET)
        throw ControlError("control socket " + path_.string() +
                           ": the answer is not understood; do both programs have the same version?");
    return response;
}

void ControlClient::wait(short events, Clock::time_point deadline) {
    for (;;) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
        pollfd entry{.fd = socket_, .events = events, .revents = 0};
        const int ready = left.count() > 0 ? ::poll(&entry, 1, static_cast<int>(left.count())) : 0;
        if (ready > 0) return;
        if (ready == 0)
            throw ControlError("control socket " + path_.string() + ": no answer within " +
                               std::to_string(timeout_.count()) + " ms");
        if (errno != EINTR)
            throw ControlError("control socket " + path_.string() + ": " + std::strerror(errno));
    }
}

void ControlClient::send_all(const char* data, std::size_t length, Clock::time_point deadline) {
    while (length > 0) {
        wait(POLLOUT, deadline);
        const ssize_t sent = ::send(socket_, data, length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            throw ControlError("control socket " + path_.string() + ": " + std::strerror(errno));
        if (sent <= 0) continue;
        data += sent;
        length -= static_cast<std::size_t>(sent);
    }
}

void ControlClient::receive_all(char* data, std::size_t length, Clock::time_point deadline) {
    while (length > 0) {
        wait(POLLIN, deadline);
        const ssize_t got = ::recv(socket_, data, length, 0);
        if (got == 0) throw ControlError("control socket " + path_.string() + ": the program closed it");
        if (got < 0 && errno != EAGAIN && errno != EINTR)
            throw ControlError("control socket " + path_.string() + ": " + std::strerror(errno));
        if (got <= 0) continue;
        data += got;
        length -= static_cast<std::size_t>(got);
    }
}

}  // namespace understudy::tools
