// The control socket of a running program: a Unix stream socket on which the operator's command asks.
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <stdexcept>

#include <boost/asio/io_context.hpp>

#include "proto/control.pb.h"

namespace understudy::tools {

inline constexpr const char* default_control_path = "/run/understudy/control.sock";

// Where replicated programs reach the program whose control socket is `control` (proto/shim_channel.hh).
inline std::filesystem::path channel_path(std::filesystem::path control) {
    return control += ".programs";
}

// One clear line.
class ControlError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// Answers the requests.
class ControlHandler {
  public:
    // Takes the response; its id is filled in by the server. It may be called at once or later, from any
    // thread, and at most once has an effect. Dropping it without a call lets the request time out.
    using Completion = std::function<void(proto::v1::ControlResponse)>;

    virtual ~ControlHandler() = default;
    // Called on the io_context's thread. A body that the handler does not know is answered with
    // ControlError::UNKNOWN_REQUEST.
    virtual void handle(const proto::v1::ControlRequest& request, Completion done) = 0;
};

// An error response.
proto::v1::ControlResponse error_response(proto::v1::ControlError::Code code, const std::string& message);

struct ControlServerSettings {
    std::filesystem::path path = default_control_path;
    // Connections above this are closed at once.
    std::size_t max_clients = 16;
    // A request that the handler has not answered by then is answered with ControlError::TIMED_OUT.
    std::chrono::milliseconds answer_timeout{5000};
    // A client that neither sends a whole request nor takes its answer for this long is disconnected.
    std::chrono::milliseconds client_timeout{30000};
};

struct ControlServerCounters {
    std::uint64_t clients_accepted = 0;
    std::uint64_t clients_refused = 0;
    std::uint64_t requests = 0;
    std::uint64_t malformed = 0;
    std::uint64_t unanswered = 0;
    std::uint64_t clients_timed_out = 0;
};

// One request at a time on each connection, answered in order.
class ControlServer {
  public:
    // Creates the socket with mode 0660, and its folder if that is missing; the socket file of a dead process
    // is replaced. Throws ControlError when a living process answers on the path, or the path cannot be used.
    // `io` and `handler` must outlive the server.
    ControlServer(boost::asio::io_context& io, const ControlServerSettings& settings,
                  ControlHandler& handler);
    // Closes every connection and removes the socket file. Completions that come later have no effect.
    ~ControlServer();
    ControlServer(const ControlServer&) = delete;
    ControlServer& operator=(const ControlServer&) = delete;

    const ControlServerCounters& counters() const;

  private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace understudy::tools
