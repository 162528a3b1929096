// The replica's settings, from the command line and the configuration file.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "failover/decision.hh"
#include "failover/fence.hh"
#include "failover/heartbeat_service.hh"
#include "stack/settings.hh"
#include "tap/decapsulate.hh"
#include "tap/service_endpoint.hh"
#include "tools/common/heartbeat_options.hh"
#include "tools/daemon/idle.hh"

namespace understudy::tools {

// As given; every member is an option of the same name, which says what it means.
struct DaemonOptions {
    std::vector<std::string> taps;
    std::string service_port;
    std::vector<std::string> services;
    std::string primary_link_address;
    std::string link_address;
    std::optional<std::uint16_t> vlan;
    std::vector<std::string> gateways;
    std::vector<std::string> routes;
    std::uint32_t icmp_errors_per_second = 100;
    std::uint32_t super_segment_bytes = 65535;
    bool conflict_probes = true;
    double tap_skew_ms = 50;
    std::string tap_filter;
    std::vector<std::string> decapsulate;
    HeartbeatOptions heartbeat;
    std::optional<double> tap_deadline_ms;
    std::optional<double> stall_bound_ms;
    double suspect_confirm_ms = 1;
    bool address_probe = true;
    double address_probe_wait_ms = 5;
    double hold_down_ms = 0;
    std::optional<double> service_hang_ms;
    double switchover_timeout_ms = 2000;
    std::string fence_command;
    double fence_timeout_ms = 10'000;
    std::uint32_t fence_retries = 0;
    std::string fence_failure = "wait";
    bool probe = true;
    std::vector<std::string> witnesses;
    bool require_first_heartbeat = true;
    std::filesystem::path control;
    std::string metrics_listen;
    std::filesystem::path event_log;
    std::filesystem::path record;
    std::string poll = "adaptive";
    std::uint32_t poll_max_sleep_us = 500;
    std::size_t cores = 1;
    std::size_t core_ring_kib = 2048;
    std::string dpdk_args;
    std::uint32_t max_connections = 1 << 16;
    double hole_grace_ms = 50;
    std::uint32_t equal_bytes_to_cover = 64;
    double align_quiet_ms = 100;
    double lag_budget_mib = 8;
    bool accept_unfilled_checksums = false;
    bool cover_inferred = false;
    bool warm_start = true;
    bool repair = false;
    double repair_deadline_ms = 200;
};

void add_options(CLI::App& app, DaemonOptions& options);

// The same, checked and in the types of their users.
struct DaemonConfig {
    struct Service {
        stack::Endpoint endpoint;
        tap::Transport transport = tap::Transport::tcp;
        std::string application;
        stack::Replication replication;
    };

    std::vector<std::string> taps;
    std::string service_port;
    std::vector<Service> services;
    stack::LinkAddress primary_link;
    std::optional<stack::LinkAddress> own_link;  // nothing: the service port's
    std::string tap_filter;
    tap::Wrappings wrappings = tap::Wrappings::tags();
    failover::HeartbeatSettings heartbeat;
    HeartbeatOptions heartbeat_options;   // as given
    failover::DecisionSettings decision;  // but for `probe`: whether one can be had shows at run time
    failover::FenceSettings fence;
    bool probe = true;
    std::vector<failover::LinkAddressing> witnesses;
    bool repair = false;
    stack::Settings stack;  // link_address is set once the service port is open
    PollMode poll = PollMode::adaptive;
    std::chrono::microseconds poll_max_sleep{500};
    std::size_t cores = 1;
    std::size_t core_ring_bytes = 0;
    std::filesystem::path control;
    std::optional<stack::Endpoint> metrics_listen;
    std::filesystem::path event_log;  // empty: in memory only
    std::filesystem::path record;     // empty: none
    std::string dpdk_args;

    // Each address of a service once.
    std::vector<stack::IpAddress> service_addresses() const;
    // Interfaces of this host that a tap or the service port is.
    std::vector<std::string> interfaces() const;
    // Those that programs under `understudy run` serve.
    std::vector<stack::Endpoint> program_services() const;
};

// Throws UsageError with one line that names the option.
DaemonConfig make_config(const DaemonOptions& options);

}  // namespace understudy::tools
