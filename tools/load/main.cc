// understudy-load: drives connections to a server over kernel sockets and checks every byte that comes back.
#include <sys/resource.h>
#include <sys/signalfd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <string>
#include <system_error>

#include "shadow_app/ticker.hh"
#include "tools/common/program.hh"
#include "tools/load/datagram_client.hh"
#include "tools/load/load.hh"
#include "tools/load/report.hh"
#include "tools/load/stream_client.hh"

namespace understudy::load {
namespace {

constexpr const char* program = "understudy-load";
constexpr std::size_t default_message_bytes = 75;

struct Options {
    std::string connect;
    App app = App::echo;
    std::uint32_t clients = 20;
    double duration_s = 10;
    std::optional<std::size_t> message_bytes;
    double rate = 50;
    double connect_timeout_s = 5;
    double stall_after_s = 0;
    double retransmit_ms = 200;
    std::string json;
    std::string fault_file;
    int progress_descriptor = -1;
};

Duration seconds(double value) {
    return Duration(static_cast<Duration::rep>(std::llround(value * 1e9)));
}

void add_options(CLI::App& cli, Options& options) {
    const std::map<std::string, App> apps = {
        {"echo", App::echo},
        {"discard", App::discard},
        {"source", App::source},
        {"ticker", App::ticker},
        {"udp-echo", App::udp_echo}};
    cli.add_option("--connect", options.connect, "the server, such as 10.77.0.1:7000")
        ->required()
        ->type_name("ADDR:PORT");
    cli.add_option("--app", options.app, "what the server is: echo, discard, source, ticker or udp-echo")
        ->required()
        ->transform(CLI::CheckedTransformer(apps).description(""))
        ->type_name("APP");
    cli.add_option("--clients", options.clients, "connections")
        ->check(CLI::Range(1, 1'000'000))
        ->capture_default_str();
    cli.add_option("--duration", options.duration_s, "seconds of traffic once every connection is open")
        ->check(CLI::Range(0.1, 86'400.0))
        ->capture_default_str();
    cli.add_option("--message-bytes", options.message_bytes,
                   "bytes of a message, 75 unless told otherwise; of a line of the ticker (at least its bare "
                   "form), up to 65536; of a datagram, 8 to 65507; of a block that is asked of the source, at "
                   "least 65536, which is its default")
        ->check(CLI::Range(1, 16 << 20));
    cli.add_option("--rate", options.rate,
                   "messages a second and connection, one outstanding at most; the source sends as fast as it "
                   "can; 0: open and idle, with one exchange at the end")
        ->check(CLI::Range(0.0, 100'000.0))
        ->capture_default_str();
    cli.add_option("--connect-timeout", options.connect_timeout_s, "seconds")
        ->check(CLI::Range(0.1, 300.0))
        ->capture_default_str();
    cli.add_option(
           "--stall-after", options.stall_after_s,
           "a connection that was owed something for its last so many seconds is stalled; default: the "
           "shorter of 5 and half the time from the failure to the end")
        ->check(CLI::Range(0.001, 3600.0));
    cli.add_option("--retransmit-ms", options.retransmit_ms,
                   "a datagram that is not answered is sent again after this long, then after twice as long "
                   "each time, up to 2 s")
        ->check(CLI::Range(1.0, 2000.0))
        ->capture_default_str();
    cli.add_option("--json", options.json, "write the result to this file as well")->type_name("FILE");
    cli.add_option("--fault-file", options.fault_file,
                   "where whoever makes the failure tells when: {\"fault_ns\": N}, CLOCK_MONOTONIC; from N "
                   "on nothing of "
                   "the failed server arrives")
        ->type_name("FILE");
    cli.add_option("--progress-fd", options.progress_descriptor,
                   "inherited descriptor that gets a JSON line ten times a second")
        ->check(CLI::NonNegativeNumber);
}

LoadSettings make_settings(const Options& options) {
    const auto server = stack::parse_endpoint(options.connect);
    if (!server || server->port == 0)
        throw tools::UsageError("--connect " + options.connect + ": not ADDR:PORT, such as 10.77.0.1:7000");
    const bool is_source = options.app == App::source;
    const std::size_t message_bytes =
        options.message_bytes.value_or(is_source ? StreamClient::least_block_bytes : default_message_bytes);
    if (options.app == App::ticker && message_bytes > shadow_app::TickerSubscription::max_line_length)
        throw tools::UsageError("--message-bytes: a line of the ticker has 65536 bytes at most");
    if (is_source && message_bytes < StreamClient::least_block_bytes)
        throw tools::UsageError("--message-bytes: a block of the source has 65536 bytes at least");
    if (options.app == App::udp_echo && (message_bytes < DatagramClient::least_message_bytes ||
                                         message_bytes > DatagramClient::most_message_bytes))
        throw tools::UsageError("--message-bytes: a datagram has 8 to 65507 bytes");
    LoadSettings settings;
    settings.client.retransmit_after = seconds(options.retransmit_ms / 1e3);
    settings.client.server = *server;
    settings.client.app = options.app;
    settings.client.message_bytes = message_bytes;
    settings.client.interval.reset();
    if (options.rate > 0) settings.client.interval = seconds(1 / options.rate);
    settings.clients = options.clients;
    settings.duration = seconds(options.duration_s);
    settings.connect_timeout = seconds(options.connect_timeout_s);
    if (options.stall_after_s > 0) settings.stall_after = seconds(options.stall_after_s);
    settings.fault_file = options.fault_file;
    settings.progress_descriptor = options.progress_descriptor;
    return settings;
}

// Each connection needs a descriptor, and the program a few of its own.
void raise_descriptor_limit(std::size_t connections) {
    const rlim_t wanted = connections + 64;
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return;
    limit.rlim_cur = wanted;
    limit.rlim_max = std::max(limit.rlim_max, wanted);
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0)
        throw std::runtime_error("too few open files are allowed for " + std::to_string(connections) +
                                 " connections; raise it with 'ulimit -n'");
}

twin::Descriptor open_stop_signals() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, nullptr);
    // Whoever reads the progress may go away.
    std::signal(SIGPIPE, SIG_IGN);
    twin::Descriptor descriptor(::signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC));
    if (!descriptor) throw std::system_error(errno, std::generic_category(), "cannot wait for signals");
    return descriptor;
}

int drive(const Options& options) {
    const LoadSettings settings = make_settings(options);
    std::ofstream json;
    if (!options.json.empty()) {
        json.open(options.json);
        if (!json) throw std::runtime_error("cannot write " + options.json);
    }
    raise_descriptor_limit(settings.clients);
    const twin::Descriptor stop = open_stop_signals();
    Load load(settings, stop.get());
    load.run();
    const Report report = make_report(load, settings);
    print_report(std::cout, report);
    if (json.is_open() && !(json << report.json.dump(1) << std::endl))
        throw std::runtime_error("cannot write " + options.json);
    return report.all_right ? tools::exit_success : tools::exit_failure;
}

}  // namespace
}  // namespace understudy::load

int main(int argc, char** argv) {
    using namespace understudy;
    load::Options options;
    CLI::App cli("Drives connections to a server over kernel sockets and checks every byte that comes back.");
    tools::set_up_app(cli, load::program);
    load::add_options(cli, options);
    if (const auto status = tools::parse_command_line(cli, argc, argv)) return *status;
    return tools::run_program(load::program, [&options] { return load::drive(options); });
}
