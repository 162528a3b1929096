// understudyd: the replica.
#include <linux/capability.h>
#include <sodium/core.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "tools/common/event_log.hh"
#include "tools/common/privileges.hh"
#include "tools/common/program.hh"
#include "tools/daemon/config.hh"
#include "tools/daemon/replica.hh"

namespace understudy::tools {
namespace {

int serve(const DaemonConfig& config) {
    if (sodium_init() < 0) throw std::runtime_error("cannot initialise libsodium");
    boost::asio::io_context io;
    std::unique_ptr<EventLog> events = config.event_log.empty()
                                           ? std::make_unique<EventLog>()
                                           : std::make_unique<EventLog>(config.event_log);
    events->add("start", {{"version", version()}, {"pid", getpid()}});
    Replica replica(io, config, *events);
    const StopSignal stop(io, [&](int signal) {
        events->add("stop", {{"signal", signal}});
        spdlog::info("stop signal={}", signal);
        replica.stop();
        io.stop();
    });
    replica.start();
    // After the data plane's thread began, which must not inherit it: a replica that waits for a busy machine
    // must not take its own delay for the primary's silence.
    const bool realtime = raise_scheduling_priority();
    // This thread's, which talks to the outside; the data plane's keep what their ports may need. Files are written
    // later too, in folders that need not be root's.
    keep_capabilities({CAP_NET_ADMIN, CAP_NET_RAW, CAP_IPC_LOCK, CAP_SYS_PTRACE, CAP_DAC_OVERRIDE});
    spdlog::info("start version={} realtime={}", version(), realtime);
    io.run();
    return exit_success;
}

}  // namespace
}  // namespace understudy::tools

int main(int argc, char** argv) {
    using namespace understudy::tools;
    CLI::App app(
        "Keeps a live spare of a TCP server: shadows its connections from a mirror port and takes them over "
        "when it dies.");
    set_up_app(app, "understudyd");
    add_config_option(app);
    add_log_option(app);
    DaemonOptions options;
    add_options(app, options);
    if (const auto status = parse_command_line(app, argc, argv)) return *status;
    return run_program("understudyd", [&] {
        const DaemonConfig config = make_config(options);
        set_up_logging("understudyd");
        return serve(config);
    });
}
