// Drives the decision machine in real time: runs the watch when it is due. It has no thread of its own and polls
// nothing.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/io_context.hpp>

#include "failover/watch.hh"

namespace understudy::failover {

class Watcher {
  public:
    using Tap = Watch::Tap;
    // `now` is the watcher's own.
    using Senses = Watch::Senses;
    // On the io_context's thread.
    using OnAction = Watch::OnAction;
    using OnWord = Watch::OnWord;

    // `io` must outlive the watcher. Throws std::invalid_argument as DecisionMachine does.
    Watcher(boost::asio::io_context& io, const DecisionSettings& settings, Senses senses, OnAction on_action,
            OnWord on_word = [](const ReplicaWord&) {});
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
    // What the agent says: HeartbeatService's callback.
    void agent_says(const AgentWord& word, Instant at);
    // A witness answered a probe.
    void witness_answered(Instant at);
    // The answer to ask_settled: until when the mirror had been read; nothing: something is left to follow.
    void settled(std::optional<Instant> read_until);
    // The fence command of begin_fence ended.
    void fence_ended(bool confirmed);
    // An operator's words. On success on_action was called with the action, if there is one, before they return.
    // Nothing: done, or begun; else why not.
    std::optional<std::string> promote(bool force);
    std::optional<std::string> switchover();
    std::optional<std::string> demote();
    std::optional<std::string> set_maintenance(bool on);

    const DecisionMachine& machine() const;

  private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace understudy::failover
