#include "tools/daemon/config.hh"

#include <algorithm>
#include <charconv>

#include "shadow_app/registry.hh"
#include "shadow_app/shim/service.hh"
#include "tap/flow_spread.hh"
#include "tap/frame_ring.hh"
#include "tools/common/program.hh"
#include "tools/control/server.hh"

namespace understudy::tools {
namespace {

std::chrono::nanoseconds from_ms(const char* option, double value) {
    if (!(value >= 0) || value > 1e9)
        throw UsageError(std::string(option) + " must be 0 to 1e9 milliseconds");
    return std::chrono::nanoseconds(static_cast<std::int64_t>(value * 1e6));
}

// One "name=value" of a service.
void set_replication(const std::string& service, const std::string& setting,
                     stack::Replication& replication) {
    using stack::DivergencePolicy;
    if (setting == "divergence=reset")
        replication.divergence = DivergencePolicy::reset;
    else if (setting == "divergence=uncover")
        replication.divergence = DivergencePolicy::uncover;
    else if (setting == "divergence=keep")
        replication.divergence = DivergencePolicy::keep;
    else if (setting == "align=request")
        replication.align_requests = true;
    else
        throw UsageError(
            "--service \"" + service + "\": \"" + setting +
            "\" is none of divergence=reset, divergence=uncover, divergence=keep, align=request");
}

failover::LinkAddressing parse_witness(const std::string& text) {
    boost::system::error_code error;
    const auto address = boost::asio::ip::make_address(text, error);
    if (error) throw UsageError("--witness \"" + text + "\" is no IP address");
    const auto any = address.is_v6() ? boost::asio::ip::udp::v6() : boost::asio::ip::udp::v4();
    return {boost::asio::ip::udp::endpoint(any, 0), boost::asio::ip::udp::endpoint(address, 0), {}};
}

DaemonConfig::Service parse_service(const std::string& text) {
    const std::size_t equals = text.find('=');
    std::string address = text.substr(0, equals);
    const std::size_t slash = address.find('/');
    const std::string transport = slash == std::string::npos ? "/tcp" : address.substr(slash);
    address.resize(std::min(slash, address.size()));
    const auto endpoint = stack::parse_endpoint(address);
    if (!endpoint || endpoint->port == 0 ||
        (transport != "/tcp" && transport != "/udp"))
        throw UsageError("--service \"" + text +
                         "\" is not ADDR:PORT[/udp]=APP, for example 10.77.0.1:7000=echo, or ADDR:PORT for a program of "
                         "its own");
    const bool udp = transport == "/udp";
    if (equals == std::string::npos && udp)
        throw UsageError("--service \"" + text + "\": a UDP service needs an application: programs of their own "
                         "serve TCP alone");
    const std::string rest =
        equals == std::string::npos ? shadow_app::shim::application_name : text.substr(equals + 1);
    const std::string application = rest.substr(0, rest.find(','));
    const bool known = udp ? shadow_app::make_datagram_application(application) != nullptr
                           : application == shadow_app::shim::application_name ||
                                 shadow_app::make_application(application) != nullptr;
    if (!known)
        throw UsageError("--service \"" + text + "\": no application for " + transport.substr(1) +
                         " is named \"" + application + "\"; there are " +
                         (udp ? shadow_app::datagram_application_names() : shadow_app::application_names()));
    stack::Replication replication;
    for (std::size_t at = application.size(); at < rest.size();) {
        if (udp) throw UsageError("--service \"" + text + "\": only TCP services have such settings");
        const std::size_t end = std::min(rest.find(',', at + 1), rest.size());
        set_replication(text, rest.substr(at + 1, end - at - 1), replication);
        at = end;
    }
    return {*endpoint, udp ? tap::Transport::udp : tap::Transport::tcp, application, replication};
}

stack::LinkAddress parse_link(const char* option, const std::string& text) {
    const auto address = stack::parse_link_address(text);
    if (!address || address->is_group() || address->is_zero())
        throw UsageError(std::string(option) + " \"" + text +
                         "\" is not a unicast link-level address like 02:00:00:00:00:01");
    return *address;
}

tap::Wrapping parse_tunnel(const std::string& name) {
    const auto wrapping = tap::parse_wrapping(name);
    if (!wrapping)
        throw UsageError("--decapsulate: \"" + name + "\" is none of " + std::string(tap::wrapping_names()));
    return *wrapping;
}

stack::IpAddress parse_gateway(const std::string& option, const std::string& text) {
    const auto address = stack::parse_ip_address(text);
    if (!address)
        throw UsageError(option + ": \"" + text + "\" is not an address like 10.77.0.254 or fd00:77::fe");
    return *address;
}

stack::Route parse_route(const std::string& text) {
    const std::size_t slash = text.find('/'), equals = text.find('=');
    const auto prefix = stack::parse_ip_address(text.substr(0, slash));
    const std::string digits =
        slash == std::string::npos
            ? ""
            : text.substr(slash + 1, equals == std::string::npos ? equals : equals - slash - 1);
    unsigned length = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
    if (!prefix || error != std::errc{} || end != digits.data() + digits.size() ||
        length > (prefix->is_v4() ? 32u : 128u))
        throw UsageError(
            "--route \"" + text +
            "\" is not PREFIX/LENGTH[=GATEWAY], for example 10.77.0.0/24 or 10.8.0.0/16=10.77.0.9");
    stack::Route route{*prefix, static_cast<std::uint8_t>(length), {}};
    if (equals != std::string::npos) route.gateway = parse_gateway("--route", text.substr(equals + 1));
    if (equals != std::string::npos && route.gateway.is_v4() != route.prefix.is_v4())
        throw UsageError("--route \"" + text + "\": prefix and gateway are of different families");
    return route;
}

}  // namespace

void add_options(CLI::App& app, DaemonOptions& o) {
    app.add_option("--tap", o.taps,
                   "mirror port: dpdk:DEVICE[,arguments], pcap:INTERFACE or file:PATH (repeatable)")
        ->required()
        ->type_name("SPEC");
    app.add_option("--service-port", o.service_port, "port on the service LAN, silent until the takeover")
        ->required()
        ->type_name("SPEC");
    app.add_option(
           "--service", o.services,
           "service and the application that replicates it, or without one for a program under `understudy run`; "
           "a UDP service is ADDR:PORT/udp=APP (repeatable). "
           "divergence=reset|uncover|keep: what a takeover does where outputs differ; align=request: answers "
           "may differ")
        ->required()
        ->type_name("ADDR:PORT[/udp][=APP][,divergence=POLICY][,align=request]");
    app.add_option("--primary-link-address", o.primary_link_address,
                   "by which the primary's frames are known")
        ->required()
        ->type_name("MAC");
    app.add_option("--link-address", o.link_address,
                   "our own on the service LAN; default: the service port's")
        ->type_name("MAC");
    app.add_option("--vlan", o.vlan, "IEEE 802.1Q tag of the service port's frames, both ways; default: none")
        ->check(CLI::Range(1, 4094));
    app.add_option(
           "--gateway", o.gateways,
           "default gateway on the service LAN, one of each family (repeatable); name the LAN by --route")
        ->type_name("ADDR");
    app.add_option("--route", o.routes,
                   "a prefix that is on the service LAN, or behind a gateway there (repeatable)")
        ->type_name("PREFIX/LENGTH[=GATEWAY]");
    app.add_option("--icmp-errors-per-second", o.icmp_errors_per_second,
                   "unreachable ports and protocols reported by ICMP once it serves, at most; 0: none")
        ->capture_default_str();
    app.add_option("--super-segment-bytes", o.super_segment_bytes,
                   "largest IP packet given to a service port that cuts TCP segments itself; 0: they are cut here")
        ->capture_default_str()
        ->check(CLI::Range(0, 65535));
    app.add_option("--conflict-probes", o.conflict_probes,
                   "once it serves: ask with each announcement whether another host holds the address")
        ->capture_default_str();
    app.add_option("--tap-skew-ms", o.tap_skew_ms,
                   "of several taps: copies of a UDP datagram within this time are one datagram")
        ->capture_default_str();
    app.add_option("--tap-filter", o.tap_filter, "BPF expression that service traffic must match as well");
    app.add_option(
           "--decapsulate", o.decapsulate,
           "tunnels that mirrored frames come in, beside VLAN tags: " + std::string(tap::wrapping_names()))
        ->delimiter(',')
        ->type_name("LIST");
    o.heartbeat.add_to(app);
    app.add_option("--tap-deadline-ms", o.tap_deadline_ms,
                   "the tap is silent after this long without a frame of the primary; default: as the links");
    app.add_option("--suspect-confirm-ms", o.suspect_confirm_ms,
                   "how long the silence must last after suspicion")
        ->capture_default_str();
    app.add_option(
           "--probe", o.probe,
           "ask the primary's kernel by ICMP echo on the heartbeat links before its silence is believed")
        ->capture_default_str();
    app.add_option("--witness", o.witnesses,
                   "a host, such as the gateway, that must answer an ICMP echo just before a takeover; repeatable: one "
                   "answer is enough")
        ->type_name("ADDR");
    app.add_option("--stall-bound-ms", o.stall_bound_ms,
                   "a replica that was itself stopped this long concludes nothing; default: the larger of 50 "
                   "and twice the deadline");
    app.add_option("--address-probe", o.address_probe,
                   "ask the primary's kernel on the service LAN, by unicast ARP or neighbour solicitation, once it is "
                   "suspected")
        ->capture_default_str();
    app.add_option("--address-probe-wait-ms", o.address_probe_wait_ms, "how long its answer may take")
        ->capture_default_str()
        ->check(CLI::NonNegativeNumber);
    app.add_option("--hold-down-ms", o.hold_down_ms, "no takeover but an operator's for so long after the start")
        ->capture_default_str()
        ->check(CLI::NonNegativeNumber);
    app.add_option("--service-hang-ms", o.service_hang_ms,
                   "requests unanswered for so long, with the agent silent, prove a hung service; needs "
                   "--fence-command; default: nothing does");
    app.add_option("--switchover-timeout-ms", o.switchover_timeout_ms,
                   "a switchover that has not come about by then is undone")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    app.add_option("--fence-command", o.fence_command,
                   "run by /bin/sh before a takeover; exit status 0 says that the primary is off")
        ->type_name("CMD");
    app.add_option("--fence-timeout-ms", o.fence_timeout_ms, "after which the fence command is killed")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    app.add_option("--fence-retries", o.fence_retries, "further tries of a fence command that failed")
        ->capture_default_str()
        ->check(CLI::Range(0, 100));
    app.add_option("--fence-failure", o.fence_failure,
                   "then: wait (and fence again while the primary stays silent), proceed unfenced, or leave it to "
                   "the operator")
        ->capture_default_str()
        ->check(CLI::IsMember({"wait", "proceed", "operator"}));
    app.add_option("--require-first-heartbeat", o.require_first_heartbeat,
                   "never take over from a primary that was never heard")
        ->capture_default_str();
    o.control = default_control_path;
    app.add_option("--control", o.control, "control socket")->capture_default_str()->type_name("PATH");
    app.add_option("--metrics-listen", o.metrics_listen,
                   "serve metrics for Prometheus at http://ADDR:PORT/metrics, to anybody who can reach it: prefer "
                   "127.0.0.1")
        ->type_name("ADDR:PORT");
    app.add_option("--event-log", o.event_log, "append events as JSON lines to this file")->type_name("FILE");
    app.add_option("--record", o.record, "write every connection sync to this file")->type_name("FILE");
    app.add_option("--poll", o.poll, "adaptive: sleep when idle, bounded; busy: never sleep")
        ->capture_default_str()
        ->check(CLI::IsMember({"adaptive", "busy"}));
    app.add_option("--poll-max-sleep-us", o.poll_max_sleep_us, "bound of the adaptive sleep")
        ->capture_default_str()
        ->check(CLI::Range(1, 100000));
    app.add_option("--cores", o.cores, "data-plane threads, each with its own share of the connections")
        ->capture_default_str()
        ->check(CLI::Range(std::size_t{1}, tap::FlowSpread::max_cores));
    app.add_option("--core-ring-kib", o.core_ring_kib,
                   "room of each ring for frames on their way from one core to another")
        ->capture_default_str()
        ->check(CLI::Range(tap::FrameRing::min_bytes >> 10, std::size_t{1} << 20));
    app.add_option("--dpdk-args", o.dpdk_args,
                   "arguments of DPDK's environment, instead of the built-in choice");
    app.add_option("--max-connections", o.max_connections, "most connections held at once")
        ->capture_default_str()
        ->check(CLI::Range(1, 16000000));
    app.add_option("--hole-grace-ms", o.hole_grace_ms,
                   "how long a gap on the mirror may be due to reordering")
        ->capture_default_str();
    app.add_flag("--repair", o.repair,
                 "ask the primary's agent, which runs with --repair, for what the mirror did not show");
    app.add_option("--repair-deadline-ms", o.repair_deadline_ms,
                   "how long that may take until the connection is given up")
        ->capture_default_str();
    app.add_option("--equal-bytes-to-cover", o.equal_bytes_to_cover,
                   "an equal-length difference is passed once so many equal bytes followed; 0: never")
        ->capture_default_str();
    app.add_option("--align-quiet-ms", o.align_quiet_ms,
                   "with align=request: an answer is over when nothing was written for so long")
        ->capture_default_str();
    app.add_option("--lag-budget-mib", o.lag_budget_mib,
                   "most that waits on one connection while its application lags")
        ->capture_default_str()
        ->check(CLI::Range(0.0625, 1024.0));
    app.add_flag("--accept-unfilled-checksums", o.accept_unfilled_checksums,
                 "believe mirrored segments whose checksum the sender left to its NIC");
    app.add_option("--warm-start", o.warm_start,
                   "go on with a congestion window as large as the primary's; false: as new connections begin")
        ->capture_default_str();
    app.add_flag("--cover-inferred", o.cover_inferred,
                 "carry on connections whose options were partly inferred");
}

std::vector<stack::IpAddress> DaemonConfig::service_addresses() const {
    std::vector<stack::IpAddress> addresses;
    for (const Service& service : services)
        if (std::find(addresses.begin(), addresses.end(), service.endpoint.address) == addresses.end())
            addresses.push_back(service.endpoint.address);
    return addresses;
}

std::vector<std::string> DaemonConfig::interfaces() const {
    std::vector<std::string> names;
    const auto add = [&names](const std::string& spec) {
        constexpr std::string_view live = "pcap:", of_device = "iface=";
        if (spec.starts_with(live)) names.push_back(spec.substr(live.size()));
        const auto at = spec.starts_with("dpdk:") ? spec.find(of_device) : std::string::npos;
        if (at == std::string::npos) return;
        const std::string name = spec.substr(at + of_device.size());
        names.push_back(name.substr(0, name.find(',')));
    };
    for (const std::string& tap : taps)
        add(tap);
    add(service_port);
    return names;
}

std::vector<stack::Endpoint> DaemonConfig::program_services() const {
    std::vector<stack::Endpoint> endpoints;
    for (const Service& service : services)
        if (service.transport == tap::Transport::tcp && service.application == shadow_app::shim::application_name)
            endpoints.push_back(service.endpoint);
    return endpoints;
}

DaemonConfig make_config(const DaemonOptions& o) {
    DaemonConfig config;
    config.taps = o.taps;
    config.service_port = o.service_port;
    for (const std::string& service : o.services) {
        const auto& parsed = config.services.emplace_back(parse_service(service));
        (parsed.transport == tap::Transport::udp ? config.stack.udp_services : config.stack.services)
            .push_back(parsed.endpoint);
        if (parsed.transport == tap::Transport::tcp)
            config.stack.replication[parsed.endpoint] = parsed.replication;
    }
    config.primary_link = parse_link("--primary-link-address", o.primary_link_address);
    if (!o.link_address.empty()) config.own_link = parse_link("--link-address", o.link_address);
    config.tap_filter = o.tap_filter;
    for (const std::string& name : o.decapsulate)
        config.wrappings = config.wrappings.with(parse_tunnel(name));
    config.stack.vlan = o.vlan;
    for (const std::string& route : o.routes)
        config.stack.routes.push_back(parse_route(route));
    for (const std::string& text : o.gateways) {
        const stack::IpAddress gateway = parse_gateway("--gateway", text);
        config.stack.routes.push_back(
            {gateway.is_v4() ? stack::IpAddress::from_v4(0) : stack::IpAddress{}, 0, gateway});
    }
    config.stack.icmp_errors_per_second = o.icmp_errors_per_second;
    config.stack.super_segment_bytes = o.super_segment_bytes;
    config.stack.conflict_probes = o.conflict_probes;
    config.stack.udp.tap_skew = from_ms("--tap-skew-ms", o.tap_skew_ms);
    config.heartbeat = o.heartbeat.settings(failover::Role::replica);
    config.heartbeat_options = o.heartbeat;
    config.decision.links = config.heartbeat.links.size();
    config.decision.heartbeat_interval = config.heartbeat.interval;
    config.decision.heartbeat_misses = config.heartbeat.misses;
    if (o.tap_deadline_ms) config.decision.tap_deadline = from_ms("--tap-deadline-ms", *o.tap_deadline_ms);
    if (o.stall_bound_ms) config.decision.stall_bound = from_ms("--stall-bound-ms", *o.stall_bound_ms);
    config.decision.suspect_confirm = from_ms("--suspect-confirm-ms", o.suspect_confirm_ms);
    config.decision.address_probe = o.address_probe;
    config.decision.address_probe_wait = from_ms("--address-probe-wait-ms", o.address_probe_wait_ms);
    config.decision.hold_down = from_ms("--hold-down-ms", o.hold_down_ms);
    if (o.service_hang_ms) config.decision.service_hang = from_ms("--service-hang-ms", *o.service_hang_ms);
    config.decision.switchover_timeout = from_ms("--switchover-timeout-ms", o.switchover_timeout_ms);
    config.decision.fence = !o.fence_command.empty();
    config.decision.fence_failure = o.fence_failure == "proceed"    ? failover::FencePolicy::proceed
                                    : o.fence_failure == "operator" ? failover::FencePolicy::operator_decides
                                                                    : failover::FencePolicy::wait;
    config.fence.command = o.fence_command;
    config.fence.timeout = from_ms("--fence-timeout-ms", o.fence_timeout_ms);
    config.fence.retries = o.fence_retries;
    config.fence.primary_link_address = o.primary_link_address;
    for (const DaemonConfig::Service& service : config.services)
        config.fence.services +=
            (config.fence.services.empty() ? "" : " ") + stack::to_string(service.endpoint);
    config.probe = o.probe;
    for (const std::string& witness : o.witnesses)
        config.witnesses.push_back(parse_witness(witness));
    config.decision.witness = !o.witnesses.empty();
    config.decision.require_first_heartbeat = o.require_first_heartbeat;
    config.stack.max_connections = o.max_connections;
    config.stack.shadow.hole_grace = from_ms("--hole-grace-ms", o.hole_grace_ms);
    config.repair = o.repair;
    if (o.repair) {
        if (config.heartbeat.links.empty() || !config.heartbeat.key)
            throw UsageError(
                "--repair needs --heartbeat and --heartbeat-key: it goes over authenticated links alone");
        config.stack.shadow.repair_deadline = from_ms("--repair-deadline-ms", o.repair_deadline_ms);
        if (config.stack.shadow.repair_deadline == stack::Duration::zero())
            throw UsageError("--repair-deadline-ms must be above 0");
    }
    config.stack.shadow.equal_bytes_to_cover = o.equal_bytes_to_cover;
    config.stack.shadow.align_quiet = from_ms("--align-quiet-ms", o.align_quiet_ms);
    config.stack.shadow.lag_budget_bytes = static_cast<std::uint32_t>(o.lag_budget_mib * (1 << 20));
    config.stack.shadow.accept_unfilled_checksums = o.accept_unfilled_checksums;
    config.stack.shadow.cover_inferred = o.cover_inferred;
    config.stack.shadow.warm_start = o.warm_start;
    config.poll = o.poll == "busy" ? PollMode::busy : PollMode::adaptive;
    config.poll_max_sleep = std::chrono::microseconds(o.poll_max_sleep_us);
    config.cores = o.cores;
    config.core_ring_bytes = o.core_ring_kib << 10;
    config.control = o.control;
    if (!o.metrics_listen.empty()) {
        config.metrics_listen = stack::parse_endpoint(o.metrics_listen);
        if (!config.metrics_listen || config.metrics_listen->port == 0)
            throw UsageError("--metrics-listen \"" + o.metrics_listen +
                             "\" is not ADDR:PORT, for example 127.0.0.1:9464");
    }
    config.event_log = o.event_log;
    config.record = o.record;
    config.dpdk_args = o.dpdk_args;
    return config;
}

}  // namespace understudy::tools
