// Runs an operator's command: a fence, a hook. Bounded in time, ended with all that it started, never waited for.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "failover/time.hh"

namespace understudy::failover {

struct CommandResult {
    bool succeeded = false;  // exit status 0 within the time-out
    std::string outcome;     // "exit status 3", "no end after 10.0 s", "cannot start: ..."
};

class Command {
  public:
    // Called once, on the io_context's thread, unless the object ends first.
    using Done = std::function<void(const CommandResult&)>;
    using Environment = std::vector<std::pair<std::string, std::string>>;

    // Starts `line` with /bin/sh in a process group of its own, with `environment` beside this process's own
    // and no input. When `timeout` is over the whole group is killed. `io` must outlive the object.
    Command(boost::asio::io_context& io, const std::string& line, const Environment& environment,
            Duration timeout, Done done);
    // Kills what still runs.
    ~Command();
    Command(const Command&) = delete;
    Command& operator=(const Command&) = delete;

  private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace understudy::failover
