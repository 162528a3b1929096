// An application that lags: it takes its input in small pieces, with pauses. For applications without timers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <set>

#include "shadow_app/application.hh"

namespace understudy::sim {

struct Slowness {
    std::uint32_t takes_at_most = 0;  // bytes; 0: not slow
    shadow_app::Duration pause{};     // after each piece
};

class SlowApplication final : public shadow_app::Application {
  public:
    SlowApplication(shadow_app::Application& inner, const Slowness& slowness)
        : inner_(inner), slowness_(slowness) {}

    void accepted(shadow_app::Connection& connection) override { inner_.accepted(connection); }
    std::size_t received(shadow_app::Connection& connection, std::span<const std::byte> bytes) override {
        if (slowness_.takes_at_most == 0) return inner_.received(connection, bytes);
        if (pausing_.contains(&connection)) return 0;
        const std::size_t count = std::min<std::size_t>(bytes.size(), slowness_.takes_at_most);
        pausing_.insert(&connection);
        connection.set_timer(slowness_.pause);
        return inner_.received(connection, bytes.first(count));
    }
    void peer_closed(shadow_app::Connection& connection) override { inner_.peer_closed(connection); }
    void writable(shadow_app::Connection& connection) override { inner_.writable(connection); }
    void timer(shadow_app::Connection& connection) override {
        if (slowness_.takes_at_most == 0) return inner_.timer(connection);
        pausing_.erase(&connection);
        connection.resume_receive();
    }
    void closed(shadow_app::Connection& connection, stack::CloseReason reason) override {
        pausing_.erase(&connection);
        inner_.closed(connection, reason);
    }

  private:
    shadow_app::Application& inner_;
    const Slowness slowness_;
    std::set<const shadow_app::Connection*> pausing_;
};

}  // namespace understudy::sim
