// The heartbeat links on a command line and in a status: alike for the replica and the agent.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include "failover/heartbeat_service.hh"
#include "proto/control.pb.h"
#include "tools/common/event_log.hh"

namespace understudy::tools {

struct HeartbeatOptions {
    std::vector<std::string> links;
    unsigned interval_ms = 1000;
    unsigned misses = 3;
    std::string key_file;
    double key_overlap_s = 60;

    // Adds the options that fill this object.
    void add_to(CLI::App& app);
    // Reads the key file. Throws UsageError with one clear line for what is not understood or not permitted.
    failover::HeartbeatSettings settings(failover::Role role) const;
};

// Rereads the key file on SIGHUP, for as long as it lives. A file that cannot be used changes nothing.
class HeartbeatKeyReload {
  public:
    // Without a key file it does nothing, but keeps SIGHUP from ending the process. All must outlive it.
    HeartbeatKeyReload(boost::asio::io_context& io, const HeartbeatOptions& options,
                       failover::HeartbeatService& service, EventLog& events);
    void stop();

  private:
    void wait();
    void reload();

    boost::asio::signal_set signals_;
    std::string key_file_;
    failover::HeartbeatService& service_;
    EventLog& events_;
};

// Says in the log, once, that the links are not authenticated, if there are links and that is so.
void warn_without_key(const failover::HeartbeatSettings& settings);

// Fills in interval, misses and links.
void report_heartbeats(const failover::HeartbeatService& service, proto::v1::StatusResponse& status);

}  // namespace understudy::tools
