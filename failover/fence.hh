// The operator's fence command: makes certain that the primary is off before the replica speaks (design.md 6).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/io_context.hpp>

#include "failover/command.hh"
#include "failover/evidence.hh"

namespace understudy::failover {

struct FenceSettings {
    std::string command;  // run by /bin/sh; exit status 0 says that the primary is off
    Duration timeout = std::chrono::seconds(10);
    std::uint32_t retries = 0;  // further tries after one that failed
    // What the command is told, beside the evidence: see fence_environment().
    std::string services;
    std::string primary_link_address;
};

// UNDERSTUDY_EVENT (fence), _CAUSE, _EVIDENCE, _ATTEMPT (from 1), _SERVICES, _PRIMARY_LINK_ADDRESS.
Command::Environment fence_environment(const FenceSettings& settings, const Evidence& evidence,
                                       std::uint32_t attempt);

class Fence {
  public:
    using Attempt = std::function<void(std::uint32_t attempt, const CommandResult&)>;
    using Done = std::function<void(bool confirmed)>;

    // `on_attempt` hears how each try ended. `io` must outlive the fence.
    Fence(boost::asio::io_context& io, const FenceSettings& settings, Attempt on_attempt);

    // Runs the command, again up to `retries` times while it fails; `done` is called once, on the io_context's
    // thread. A run that is under way is ended first, and its `done` not called.
    void run(const Evidence& evidence, Done done);
    // Ends a run that is under way; its `done` is not called.
    void stop();

  private:
    void attempt(const Evidence& evidence, std::uint32_t number);

    boost::asio::io_context& io_;
    FenceSettings settings_;
    Attempt on_attempt_;
    Done done_;
    std::optional<Command> command_;
    std::shared_ptr<char> run_;  // of this run; handlers that outlive it do nothing
};

}  // namespace understudy::failover
