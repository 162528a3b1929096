// understudy-twin: the applications of the replica, served over kernel sockets.
#include <sys/resource.h>
#include <sys/signalfd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>

#include "shadow_app/registry.hh"
#include "tools/common/program.hh"
#include "tools/twin/kernel_datagram_server.hh"
#include "tools/twin/kernel_server.hh"

namespace understudy::twin {
namespace {

struct Options {
    std::string listen;
    std::string application;
    std::size_t max_connections = 10'000;
    bool json = false;
};

// Each connection needs a descriptor, and the program a few of its own.
void raise_descriptor_limit(std::size_t connections) {
    const rlim_t wanted = connections + 64;
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return;
    const rlim_t allowed = limit.rlim_max;
    limit.rlim_cur = wanted;
    limit.rlim_max = std::max(allowed, wanted);
    if (::setrlimit(RLIMIT_NOFILE, &limit) == 0) return;
    limit.rlim_cur = limit.rlim_max = allowed;
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0 || allowed < wanted)
        std::fprintf(
            stderr,
            "understudy-twin: the limit of open files is %llu: fewer than %zu connections fit; raise it "
            "with 'ulimit -n'\n",
            static_cast<unsigned long long>(allowed), connections);
}

Descriptor open_stop_signals() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, nullptr);
    Descriptor descriptor(::signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC));
    if (!descriptor) throw std::system_error(errno, std::generic_category(), "cannot wait for signals");
    return descriptor;
}

using Values = nlohmann::ordered_json;

Values values_of(const ServerCounters& c) {
    return {{"accepted", c.accepted},
            {"finished", c.finished},
            {"reset", c.reset},
            {"aborted", c.aborted},
            {"refused_full", c.refused_full},
            {"accept_errors", c.accept_errors},
            {"bytes_received", c.bytes_received},
            {"bytes_sent", c.bytes_sent}};
}

Values values_of(const DatagramServerCounters& c) {
    return {{"received", c.received},
            {"sent", c.sent},
            {"receive_errors", c.receive_errors},
            {"send_errors", c.send_errors}};
}

void print_counters(const Values& values, bool json) {
    if (json) {
        std::printf("%s\n", values.dump().c_str());
        return;
    }
    std::string line = "understudy-twin: stopped";
    for (const auto& [name, value] : values.items())
        line.append(line.ends_with("stopped") ? ": " : ", ").append(name).append(" ").append(value.dump());
    std::printf("%s\n", line.c_str());
}

void print_ready(const Options& options, const stack::Endpoint& local) {
    const std::string listen = stack::to_string(local);
    if (options.json) {
        const Values ready = {{"event", "ready"}, {"app", options.application}, {"listen", listen}};
        std::printf("%s\n", ready.dump().c_str());
    } else {
        std::printf("understudy-twin: ready, %s on %s\n", options.application.c_str(), listen.c_str());
    }
    std::fflush(stdout);
}

template <typename Server>
int run(Server& server, const Options& options, const Descriptor& stop) {
    print_ready(options, server.local());
    server.run(stop.get());
    print_counters(values_of(server.counters()), options.json);
    return tools::exit_success;
}

std::string all_names() {
    return shadow_app::application_names() + ", " + shadow_app::datagram_application_names();
}

int serve(const Options& options) {
    const auto listen = stack::parse_endpoint(options.listen);
    if (!listen)
        throw tools::UsageError("--listen " + options.listen + ": not ADDRESS:PORT, such as 10.77.0.1:7000");
    if (const auto application = shadow_app::make_datagram_application(options.application)) {
        const Descriptor stop = open_stop_signals();
        KernelDatagramServer server(*listen, *application);
        return run(server, options, stop);
    }
    const auto application = shadow_app::make_application(options.application);
    if (application == nullptr)
        throw tools::UsageError("--app " + options.application +
                                ": no such application; there are: " + all_names());
    raise_descriptor_limit(options.max_connections);
    const Descriptor stop = open_stop_signals();
    KernelServer server(*listen, options.max_connections, *application);
    return run(server, options, stop);
}

int main(int argc, char** argv) {
    Options options;
    CLI::App cli("Serves one of Understudy's applications over kernel sockets, until SIGTERM.");
    tools::set_up_app(cli, "understudy-twin");
    cli.add_option("--listen", options.listen, "ADDRESS:PORT to serve on; port 0 lets the kernel choose")
        ->required();
    cli.add_option("--app", options.application, "one of: " + all_names())->required();
    cli.add_option("--max-connections", options.max_connections, "further ones are closed at once")
        ->check(CLI::Range(1, 1'000'000))
        ->capture_default_str();
    cli.add_flag("--json", options.json, "print the ready line and the counters as JSON");
    if (const auto status = tools::parse_command_line(cli, argc, argv)) return *status;
    return tools::run_program(cli.get_name(), [&options] { return serve(options); });
}

}  // namespace
}  // namespace understudy::twin

int main(int argc, char** argv) {
    return understudy::twin::main(argc, argv);
}
