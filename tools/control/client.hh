// Asks a running program over its control socket, and waits for the answer.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>

#include "proto/control.pb.h"
#include "tools/control/server.hh"

namespace understudy::tools {

class ControlClient {
  public:
    // Connects. Throws ControlError with what to do when nobody listens, or without permission. `timeout`
    // bounds connecting, and each call.
    ControlClient(const std::filesystem::path& path, std::chrono::milliseconds timeout);
    ~ControlClient();
    ControlClient(const ControlClient&) = delete;
    ControlClient& operator=(const ControlClient&) = delete;

    // Sends one request and waits for its response, which may be an error of the server; `id` is filled in.
    // Throws ControlError when there is no valid response in time.
    proto::v1::ControlResponse call(proto::v1::ControlRequest request);

  private:
    // All three throw ControlError at the deadline.
    void send_all(const char* data, std::size_t length, std::chrono::steady_clock::time_point deadline);
    void receive_all(char* data, std::size_t length, std::chrono::steady_clock::time_point deadline);
    void wait(short events, std::chrono::steady_clock::time_point deadline);

    std::filesystem::path path_;
    std::chrono::milliseconds timeout_;
    int socket_ = -1;
    std::uint64_t last_id_ = 0;
};

}  // namespace understudy::tools
