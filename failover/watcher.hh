// Drives the decision machine: feeds it what it asks for when it is due, and hands its actions on. It has no
// thread of its own and polls nothing.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/io_context.hpp>

#include "failover/decision.hh"

namespace understudy::failover {

class Watcher {
  public:
    // The time of the newest frame of the primary on the tap, as the data plane left it; nothing: none so
    // far. It may be in the past.
    using NewestOnTap = std::function<std::optional<Instant>()>;
    // Called on the io_context's thread, once for each action, in order.
    using OnAction = std::function<void(const Action&)>;

    // `io` must outlive the watcher. Throws std::invalid_argument as DecisionMachine does.
    Watcher(boost::asio::io_context& io, const DecisionSettings& settings, NewestOnTap newest_on_tap,
            OnAction on_action);
    // Handlers that are still queued on the io_context do nothing.
    ~Watcher();
    Watcher(const Watcher&) = delete;
    Watcher& operator=(const Watcher&) = delete;

    // Counting starts now.
    void start();
    void stop();

    // A sign of life: HeartbeatService's callback.
    void heartbeat(std::size_t link, Instant at);
    // An operator's word. On success on_action was called with the action before this returns. Empty: done;
    // else why not.
    std::optional<std::string> promote(bool force);

    const DecisionMachine& machine() const;

  private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace understudy::failover
