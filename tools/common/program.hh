// What every program does alike: version, command line, configuration file, exit status, signals, logs.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

namespace understudy::tools {

// Exit status.
inline constexpr int exit_success = 0;
inline constexpr int exit_failure = 1;
inline constexpr int exit_usage = 2;

// The version of the project: "0.1.0".
const char* version();

// A wrong command line or configuration: exit status 2.
class UsageError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// Adds --version, and the name that error lines begin with.
void set_up_app(CLI::App& app, const std::string& name);
// Adds --config FILE: a TOML file whose keys are the long option names (toml_config.hh).
void add_config_option(CLI::App& app);
// Adds --log-level.
void add_log_option(CLI::App& app);

// Parses. Nothing: go on. Else the program ends with this status: --help and --version have been printed, or
// a usage error has been told in one line.
std::optional<int> parse_command_line(CLI::App& app, int argc, const char* const* argv);

// Runs the program's body and returns its exit status. An exception becomes one line "NAME: what" on standard
// error and status 1; UsageError and std::invalid_argument, status 2.
int run_program(const std::string& name, const std::function<int()>& body);

// Logs go to standard error, one line each: time, level, program, then what happened as key=value. `name`
// begins the lines.
void set_up_logging(const std::string& name);

// Asks for the lowest real-time priority (SCHED_RR 1) for the calling thread, not for threads that it starts
// later, so that heartbeats are not late because the machine is busy. False: without the privilege
// (CAP_SYS_NICE or RLIMIT_RTPRIO); nothing has changed then. Only for threads that sleep most of the time.
bool raise_scheduling_priority();

// Calls back once on SIGTERM or SIGINT, on the io_context's thread.
class StopSignal {
  public:
    StopSignal(boost::asio::io_context& io, std::function<void(int signal)> on_stop);

  private:
    boost::asio::signal_set signals_;
};

}  // namespace understudy::tools
