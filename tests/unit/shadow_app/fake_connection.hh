// A Connection whose room and whose time the test sets.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "shadow_app/stack_connection.hh"

namespace understudy::shadow_app {

class FakeConnection final : public StackConnection {
  public:
    std::size_t write(std::span<const std::byte> bytes) override {
        const std::size_t taken = std::min(bytes.size(), room);
        written.append(reinterpret_cast<const char*>(bytes.data()), taken);
        room -= taken;
        return taken;
    }
    std::size_t writable_bytes() const override { return room; }
    void shutdown_write() override { ++shutdowns; }
    void abort() override { ++aborts; }
    void resume_receive() override { ++resumes; }
    void set_timer(Duration delay) override { timer = delay; }
    void cancel_timer() override { timer.reset(); }
    const Endpoint& client() const override { return client_; }
    void close() override { ++closes; }
    bool silent() const override { return is_silent; }
    void set_options(const stack::ConnectionOptions& options) override { set = options; }
    std::optional<stack::ConnectionOptions> options() const override { return set; }
    std::optional<stack::ConnectionSnapshot> snapshot() const override { return stack::ConnectionSnapshot{}; }

    std::size_t room = 1 << 20;
    std::string written;
    int shutdowns = 0;
    int aborts = 0;
    int resumes = 0;
    int closes = 0;
    bool is_silent = false;
    stack::ConnectionOptions set;
    std::optional<Duration> timer;

  private:
    Endpoint client_;
};

inline std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text));
}

}  // namespace understudy::shadow_app
