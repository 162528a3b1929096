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
    // What the tap shows, as the data plane left it.
    struct Tap {
        // The newest frame of the primary; nothing: none so far. It may be in the past.
        std::optional<Instant> newest;
        // Until when all that arrived was read.
        Instant read_until{};
        // The primary's newest answer to a probe on the service LAN; nothing: none so far.
        std::optional<Instant> address_answer{};
    };
    // Where the watcher looks before each conclusion.
    struct Senses {
        // Reads what waits on the links, and reports it to heartbeat() and probe_answered() before it returns
        // until when all that arrived was read.
        std::function<Instant()> read_links;
        std::function<Tap()> tap;
        // Sends a direct probe.
        std::function<void()> send_probe;
    };
    // Called on the io_context's thread, once for each action but probe, in order.
    using OnAction = std::function<void(const Action&)>;

    // `io` must outlive the watcher. Throws std::invalid_argument as DecisionMachine does.
    Watcher(boost::asio::io_context& io, const DecisionSettings& settings, Senses senses, OnAction on_action);
    // Handlers that are still queued on the io_context do nothing.
    ~Watcher();
    Watcher(const Watcher&) = delete;
    Watcher& operator=(const Watcher&) = delete;

    // Counting starts now.
    void start();
    void stop();

    // A sign of life: HeartbeatService's callback.
    void heartbeat(std::size_t link, Instant at);
    // The primary's kernel answered a probe.
    void probe_answered(Instant at);
    // The fence command of begin_fence ended.
    void fence_ended(bool confirmed);
    // An operator's word. On success on_action was called with the action before this returns. Empty: done;
    // else why not.
    std::optional<std::string> promote(bool force);

    const DecisionMachine& machine() const;

  private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace understudy::failover
