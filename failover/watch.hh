// What the decision machine is told, in which order, and what becomes of its actions: the watcher without its clock
// and its timer. Pure: time and senses are arguments, so that a simulation runs the same code as the daemon.
//
// Whoever owns it calls run() when due() has come, and asks for due() again after every call.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "failover/decision.hh"

namespace understudy::failover {

class Watch {
  public:
    // What the tap shows, as the data plane left it.
    struct Tap {
        // The newest frame of the primary; nothing: none so far. It may be in the past.
        std::optional<Instant> newest;
        // Until when all that arrived was read.
        Instant read_until{};
        // When the primary was last asked on the service LAN; nothing: not so far.
        std::optional<Instant> address_asked{};
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
    // Where it looks before each conclusion.
    struct Senses {
        // Reads what waits on the links, and reports it to heartbeat() and probe_answered() before it returns
        // until when all that arrived was read.
        std::function<Instant()> read_links;
        std::function<Tap()> tap;
        // Sends a direct probe.
        std::function<void()> send_probe;
        // Asks whether nothing of the mirror is left to be followed; the answer comes by settled().
        std::function<void()> ask_settled = [] {};
        // A monotonic clock.
        std::function<Instant()> now = {};
    };
    // Called once for each action but probe, in order.
    using OnAction = std::function<void(const Action&)>;
    // What the agent is to know of us has changed.
    using OnWord = std::function<void(const ReplicaWord&)>;

    // Throws std::invalid_argument as DecisionMachine does.
    Watch(const DecisionSettings& settings, Senses senses, OnAction on_action, OnWord on_word);

    // Counting starts now, whatever was known; what the agent is to know is said at once.
    void restart();
    // Looks, concludes while there is something to conclude, and acts.
    void run();
    // Nothing: only events and an operator move it.
    std::optional<Instant> due() const;

    // As the watcher's of the same names (failover/watcher.hh).
    void heartbeat(std::size_t link, Instant at);
    void probe_answered(Instant at);
    void agent_says(const AgentWord& word, Instant at);
    void witness_answered(Instant at);
    void settled(std::optional<Instant> read_until);
    void fence_ended(bool confirmed);
    std::optional<std::string> promote(bool force);
    std::optional<std::string> switchover();
    std::optional<std::string> demote();
    std::optional<std::string> set_maintenance(bool on);

    const DecisionMachine& machine() const { return machine_; }

  private:
    bool act(const std::optional<Action>& action);
    Observed look();
    void look_for_veto(const Tap& tap);
    void conclude();
    std::optional<std::string> ask(const std::function<OperatorAnswer()>& question);

    DecisionSettings settings_;
    Senses senses_;
    OnAction on_action_;
    OnWord on_word_;
    DecisionMachine machine_;
    ReplicaWord said_;
    std::optional<Instant> address_answer_;  // the newest that the machine knows
    std::optional<Instant> settled_;
    bool settled_asked_ = false;
    bool client_knows_us_ = false;
    std::uint64_t primary_news_ = 0;
};

}  // namespace understudy::failover
