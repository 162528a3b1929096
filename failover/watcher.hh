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
        // Tap and service port have their links.
        bool carrier = true;
        // The oldest request that the shadow application has answered and the primary has not.
        std::optional<Instant> unanswered_since{};
        // Once master: a client has acknowledged a byte that only we sent; how much of what the primary sent was
        // news. Both begin anew with each takeover.
        bool client_knows_us = false;
        std::uint64_t primary_news = 0;
    };
    // Where the watcher looks before each conclusion.
    struct Senses {
        // Reads what waits on the links, and reports it to heartbeat() and probe_answered() before it returns
        // until when all that arrived was read.
        std::function<Instant()> read_links;
        std::function<Tap()> tap;
        // Sends a direct probe.
        std::function<void()> send_probe;
        // Asks whether nothing of the mirror is left to be followed; the answer comes by settled().
        std::function<void()> ask_settled = [] {};
    };
    // Called on the io_context's thread, once for each action but probe, in order.
    using OnAction = std::function<void(const Action&)>;
    // What the agent is to know of us has changed.
    using OnWord = std::function<void(const ReplicaWord&)>;

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
