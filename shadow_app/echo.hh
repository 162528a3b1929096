// RFC 862 over TCP: every byte comes back.
#pragma once

#include "shadow_app/application.hh"

namespace understudy::shadow_app {

class Echo final : public Application {
  public:
    // Takes only what it could write: what is left waits in the host, and closes the client's window.
    std::size_t received(Connection& connection, std::span<const std::byte> bytes) override {
        return connection.write(bytes);
    }
    bool is_stateless() const override { return true; }
    void writable(Connection& connection) override { connection.resume_receive(); }
};

}  // namespace understudy::shadow_app
