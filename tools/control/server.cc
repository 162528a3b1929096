#include "tools/control/server.hh"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>
#include <string>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>

#include "proto/framing.hh"

namespace understudy::tools {

namespace asio = boost::asio;
using asio::local::stream_protocol;
using boost::system::error_code;

namespace {

constexpr mode_t socket_mode = 0660;

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& what) {
    throw ControlError("control socket " + path.string() + ": " + what);
}

// Held by the one process that may own the socket file, for as long as it lives: so a socket file that is
// found while the lock is held is one of a dead process.
class PathLock {
  public:
    explicit PathLock(const std::filesystem::path& path)
        : descriptor_(::open((path.string() + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, socket_mode)) {
        if (descriptor_ < 0) fail(path, std::string("cannot create its lock file: ") + std::strerror(errno));
        if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return;
        const int error = errno;
        ::close(descriptor_);
        if (error == EWOULDBLOCK)
            fail(path, "a program is already running there; stop it or choose another path");
        fail(path, std::string("cannot lock it: ") + std::strerror(error));
    }
    ~PathLock() { ::close(descriptor_); }
    PathLock(const PathLock&) = delete;
    PathLock& operator=(const PathLock&) = delete;

  private:
    int descriptor_;
};

void prepare_path(const std::filesystem::path& path) {
    if (path.empty()) fail(path, "the path is empty");
    std::error_code error;
    if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), error);
    if (error) fail(path, "cannot create its folder: " + error.message());
}

void remove_stale(const std::filesystem::path& path) {
    std::error_code error;
    const auto status = std::filesystem::symlink_status(path, error);
    if (status.type() == std::filesystem::file_type::not_found) return;
    if (!std::filesystem::is_socket(status)) fail(path, "the path exists and is no socket; choose another");
    std::filesystem::remove(path, error);
    if (error) fail(path, "cannot remove the stale socket: " + error.message());
}

}  // namespace

proto::v1::ControlResponse error_response(proto::v1::ControlError::Code code, const std::string& message) {
    proto::v1::ControlResponse response;
    response.mutable_error()->set_code(code);
    response.mutable_error()->set_message(message);
    return response;
}

struct ControlServer::Impl : std::enable_shared_from_this<Impl> {
    class Session;

    ControlServerSettings settings;
    ControlHandler& handler;
    PathLock lock;
    asio::io_context& io;
    stream_protocol::acceptor acceptor;
    asio::steady_timer retry;
    std::set<std::shared_ptr<Session>> sessions;
    ControlServerCounters counters;

    Impl(asio::io_context& context, const ControlServerSettings& wanted, ControlHandler& answers)
        : settings(wanted), handler(answers), lock(wanted.path), io(context), acceptor(io), retry(io) {
        remove_stale(settings.path);
        error_code error;
        acceptor.open(stream_protocol(), error);
        if (error) fail(settings.path, error.message());
        try {
            acceptor.bind(stream_protocol::endpoint(settings.path.string()), error);
        } catch (const boost::system::system_error& too_long) {
            fail(settings.path, "the path is longer than a socket's may be");
        }
        if (error) fail(settings.path, "cannot bind: " + error.message());
        if (::chmod(settings.path.c_str(), socket_mode) != 0)
            fail(settings.path, std::string("cannot set its mode: ") + std::strerror(errno));
        acceptor.listen(asio::socket_base::max_listen_connections, error);
        if (error) fail(settings.path, "cannot listen: " + error.message());
    }

    void accept();
    void stop();
};

// One client: reads a request, has it answered, writes the answer, and again.
class ControlServer::Impl::Session : public std::enable_shared_from_this<Session> {
  public:
    Session(Impl& server, stream_protocol::socket socket)
        : server_(server.weak_from_this()), socket_(std::move(socket)), timer_(server.io) {}

    void read_request() {
        if (const auto server = server_.lock()) guard(server->settings.client_timeout);
        asio::async_read(socket_, asio::buffer(header_),
                         [self = shared_from_this()](error_code error, std::size_t) {
                             if (error) return self->close();
                             const auto length = proto::decode_frame_length(self->header_);
                             if (!length || *length > max_request_bytes) return self->refuse();
                             self->read_body(*length);
                         });
    }

    void close() {
        error_code ignored;
        timer_.cancel();
        socket_.close(ignored);
        pending_ = false;
        if (const auto server = server_.lock()) server->sessions.erase(shared_from_this());
    }

  private:
    // Requests are small; only answers need long frames.
    static constexpr std::size_t max_request_bytes = 64 << 10;

    void read_body(std::size_t length) {
        body_.resize(length);
        asio::async_read(socket_, asio::buffer(body_),
                         [self = shared_from_this()](error_code error, std::size_t) {
                             if (error) return self->close();
                             self->dispatch();
                         });
    }

    void dispatch() {
        const auto server = server_.lock();
        proto::v1::ControlRequest request;
        if (!server) return close();
        if (!request.ParseFromString(body_)) return refuse();
        ++server->counters.requests;
        pending_ = true;
        request_id_ = request.id();
        const std::uint64_t serial = ++serial_;
        timer_.expires_after(server->settings.answer_timeout);
        timer_.async_wait([self = shared_from_this(), serial](error_code error) {
            if (!error) self->give_up(serial);
        });
        if (request.body_case() == proto::v1::ControlRequest::BODY_NOT_SET)
            return answer(serial, error_response(proto::v1::ControlError::UNKNOWN_REQUEST,
                                                 "the request is not known to this version"));
        server->handler.handle(request, [weak = weak_from_this(), serial, executor = socket_.get_executor()](
                                            proto::v1::ControlResponse response) {
            asio::post(executor, [weak, serial, response = std::move(response)]() mutable {
                if (const auto self = weak.lock()) self->answer(serial, std::move(response));
            });
        });
    }

    void give_up(std::uint64_t serial) {
        const auto server = server_.lock();
        if (!server || !pending_ || serial != serial_) return;
        ++server->counters.unanswered;
        answer(serial,
               error_response(proto::v1::ControlError::TIMED_OUT, "the program did not answer in time"));
    }

    // An answer to anything but the request that is pending has no effect.
    void answer(std::uint64_t serial, proto::v1::ControlResponse response) {
        const auto server = server_.lock();
        if (!server || !pending_ || serial != serial_) return;
        pending_ = false;
        response.set_id(request_id_);
        auto frame = proto::encode_frame(response);
        if (!frame) {
            response =
                error_response(proto::v1::ControlError::INTERNAL, "the answer is too long for one message");
            response.set_id(request_id_);
            frame = proto::encode_frame(response);
        }
        frame_ = std::move(*frame);
        guard(server->settings.client_timeout);
        asio::async_write(socket_, asio::buffer(frame_),
                          [self = shared_from_this()](error_code error, std::size_t) {
                              if (error) return self->close();
                              self->read_request();
                          });
    }

    void refuse() {
        if (const auto server = server_.lock()) ++server->counters.malformed;
        close();
    }

    void guard(std::chrono::milliseconds timeout) {
        timer_.expires_after(timeout);
        timer_.async_wait([self = shared_from_this()](error_code error) {
            // One that was set again meanwhile may have been queued already.
            if (error || self->timer_.expiry() > std::chrono::steady_clock::now()) return;
            if (!self->socket_.is_open()) return;
            if (const auto server = self->server_.lock()) ++server->counters.clients_timed_out;
            self->close();
        });
    }

    std::weak_ptr<Impl> server_;
    stream_protocol::socket socket_;
    asio::steady_timer timer_;
    proto::FrameHeader header_{};
    std::string body_;
    std::string frame_;
    bool pending_ = false;
    std::uint64_t request_id_ = 0;
    std::uint64_t serial_ = 0;
};

void ControlServer::Impl::accept() {
    acceptor.async_accept([self = shared_from_this()](error_code error, stream_protocol::socket socket) {
        if (!self->acceptor.is_open()) return;
        if (error) {
            // Most likely no descriptor is left: trying again at once would only keep the loop busy.
            ++self->counters.clients_refused;
            self->retry.expires_after(std::chrono::milliseconds(100));
            self->retry.async_wait([self](error_code cancelled) {
                if (!cancelled) self->accept();
            });
            return;
        }
        if (self->sessions.size() >= self->settings.max_clients) {
            ++self->counters.clients_refused;
        } else {
            ++self->counters.clients_accepted;
            const auto session = std::make_shared<Session>(*self, std::move(socket));
            self->sessions.insert(session);
            session->read_request();
        }
        self->accept();
    });
}

void ControlServer::Impl::stop() {
    error_code ignored;
    acceptor.close(ignored);
    retry.cancel();
    for (const auto open = std::exchange(sessions, {}); const auto& session : open)
        session->close();
    std::error_code removed;
    std::filesystem::remove(settings.path, removed);
}

ControlServer::ControlServer(asio::io_context& io, const ControlServerSettings& settings,
                             ControlHandler& handler) {
    prepare_path(settings.path);
    impl_ = std::make_shared<Impl>(io, settings, handler);
    impl_->accept();
}

ControlServer::~ControlServer() {
    impl_->stop();
}

const ControlServerCounters& ControlServer::counters() const {
    return impl_->counters;
}

}  // namespace understudy::tools
