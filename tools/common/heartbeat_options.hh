// The heartbeat links on a command line and in a status: alike for the replica and the agent.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "failover/heartbeat_service.hh"
#include "proto/control.pb.h"

namespace understudy::tools {

struct HeartbeatOptions {
    std::vector<std::string> links;
    unsigned interval_ms = 1000;
    unsigned misses = 3;

    // Adds --heartbeat, --heartbeat-interval-ms and --heartbeat-misses, which fill this object.
    void add_to(CLI::App& app);
    // Throws UsageError with one clear line for a link that is not understood.
    failover::HeartbeatSettings settings() const;
};

// Fills in interval, misses and links.
void report_heartbeats(const failover::HeartbeatService& service, proto::v1::StatusResponse& status);

}  // namespace understudy::tools
