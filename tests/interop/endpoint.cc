// interop_endpoint: the stack as master on a TAP interface, in real time, against a kernel's sockets.
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "shadow_app/stack_host.hh"
#include "stack/counters.hh"
#include "stack/stack.hh"
#include "tests/interop/real_time.hh"
#include "tests/interop/tap_device.hh"
#include "tests/interop/transfer.hh"
#include "tools/common/program.hh"

namespace understudy::interop {
namespace {

using namespace std::chrono_literals;

struct Options {
    std::string tap;
    std::string link_address = "02:75:69:00:00:02";
    std::string address;
    std::string remote;  // client: whom to call
    std::string remote_link;
    std::uint16_t port = 7000;  // server: the service; client: the first local port
    std::size_t connections = 1;
    Request request;
    Pace pace;
    std::uint32_t receive_buffer_bytes = 0;
    double timeout_s = 60;
};

class SystemRandom final : public stack::RandomSource {
  public:
    std::uint64_t next() override { return std::uint64_t{device_()} << 32 | device_(); }

  private:
    std::random_device device_;
};

// What became of all connections.
struct Tally {
    std::uint64_t finished = 0;
    std::uint64_t faulty = 0;
    std::uint64_t received = 0;
    std::uint64_t sent = 0;
    std::map<std::string, std::uint64_t> faults;

    void add(const Outcome& outcome) {
        ++finished;
        received += outcome.received;
        sent += outcome.sent;
        if (outcome.fault.empty()) return;
        ++faulty;
        if (faults.size() < 10 || faults.contains(outcome.fault)) ++faults[outcome.fault];
    }
};

nlohmann::ordered_json counters_of(const stack::Counters& counters) {
    nlohmann::ordered_json values;
#define COUNTER(name, severity, help) \
    if (counters.name != 0) values[#name] = counters.name;
#include "stack/counters.def"
#undef COUNTER
    return values;
}

class Endpoint {
  public:
    explicit Endpoint(const Options& options)
        : options_(options),
          tap_(options.tap),
          stop_(open_stop_signals()),
          server_([this](const Outcome& outcome) { tally_.add(outcome); }),
          client_(options.request, options.pace, [this](const Outcome& outcome) { tally_.add(outcome); }) {
        const auto address = stack::parse_ip_address(options.address);
        if (!address) throw tools::UsageError("--address " + options.address + ": no IP address");
        local_ = {*address, options.port};
        stack::Settings settings;
        settings.initial_mode = stack::Mode::master;
        settings.link_address = link_address("--link-address", options.link_address);
        settings.addresses = {*address};
        if (options.remote.empty()) settings.services = {local_};
        if (options.receive_buffer_bytes != 0)
            settings.tcp.receive_buffer_bytes = options.receive_buffer_bytes;
        host_.serve(local_, server_);
        stack_ = std::make_unique<stack::Stack>(settings, tap_, host_, random_);
        host_.attach(*stack_);
    }

    int run() {
        const stack::Instant start = read_clock();
        if (!options_.remote.empty()) open_connections();
        std::printf("ready\n");
        std::fflush(stdout);
        const stack::Instant limit = start + std::chrono::duration_cast<stack::Duration>(
                                                 std::chrono::duration<double>(options_.timeout_s));
        while (!is_done() && read_clock() < limit)
            turn(limit);
        print(std::chrono::duration<double>(read_clock() - start).count());
        return tally_.faulty == 0 && host_.connection_count() == 0 ? tools::exit_success
                                                                   : tools::exit_failure;
    }

  private:
    static stack::LinkAddress link_address(const std::string& option, const std::string& text) {
        const auto address = stack::parse_link_address(text);
        if (!address) throw tools::UsageError(option + " " + text + ": no link-level address");
        return *address;
    }

    void open_connections() {
        const auto remote = stack::parse_endpoint(options_.remote);
        if (!remote) throw tools::UsageError("--remote " + options_.remote + ": not ADDRESS:PORT");
        const auto link = link_address("--remote-link", options_.remote_link);
        for (std::size_t i = 0; i < options_.connections; ++i) {
            const stack::Endpoint local{local_.address, static_cast<std::uint16_t>(local_.port + i)};
            if (!host_.connect(local, *remote, link, client_, read_clock()))
                throw std::runtime_error("the stack refused to connect from " + stack::to_string(local));
        }
    }

    // A client ends with its connections; a server is told to, and sees them to their end.
    bool is_done() const {
        if (!options_.remote.empty()) return tally_.finished == options_.connections;
        return stopping_ && host_.connection_count() == 0;
    }

    void turn(stack::Instant limit) {
        std::array<pollfd, 2> descriptors{
            {{tap_.descriptor(), POLLIN, 0}, {stopping_ ? -1 : stop_.get(), POLLIN, 0}}};
        wait(descriptors, std::min(host_.next_deadline().value_or(limit), limit));
        stopping_ = stopping_ || (descriptors[1].revents & POLLIN) != 0;
        if (const auto frames = tap_.receive(); !frames.empty()) host_.receive(frames, read_clock());
        host_.advance(read_clock());
    }

    void print(double elapsed_s) const {
        const nlohmann::ordered_json result = {
            {"finished", tally_.finished},
            {"faulty", tally_.faulty},
            {"open", host_.connection_count()},
            {"received", tally_.received},
            {"sent", tally_.sent},
            {"elapsed_s", elapsed_s},
            {"faults", tally_.faults},
            {"send_failures", tap_.send_failures()},
            {"counters", counters_of(stack_->counters())},
        };
        std::printf("%s\n", result.dump().c_str());
    }

    const Options options_;
    TapDevice tap_;
    Descriptor stop_;
    SystemRandom random_;
    Tally tally_;
    TransferServer server_;
    TransferClient client_;
    stack::Endpoint local_;
    shadow_app::StackHost host_;
    std::unique_ptr<stack::Stack> stack_;
    bool stopping_ = false;
};

int main(int argc, char** argv) {
    Options options;
    CLI::App cli(
        "Serves transfers on a TAP interface until SIGTERM, or with --remote makes them. Prints the result "
        "as JSON.");
    tools::set_up_app(cli, "interop_endpoint");
    cli.add_option("--tap", options.tap, "interface")->required();
    cli.add_option("--link-address", options.link_address, "of the stack")->capture_default_str();
    cli.add_option("--address", options.address, "of the stack")->required();
    cli.add_option("--port", options.port, "of the service, or the first local port")->capture_default_str();
    cli.add_option("--remote", options.remote, "ADDRESS:PORT to call");
    cli.add_option("--remote-link", options.remote_link, "its link-level address");
    cli.add_option("--connections", options.connections)->check(CLI::Range(1, 40'000));
    cli.add_option("--up", options.request.up_bytes, "bytes to send on each");
    cli.add_option("--down", options.request.down_bytes, "bytes to ask for on each");
    cli.add_option("--flags", options.request.flags, "of the request, see transfer.hh");
    cli.add_option("--key", options.request.key, "of the pattern");
    cli.add_option("--server-reads", options.request.server_reads_bytes, "bytes at a time");
    cli.add_option("--server-pause-us", options.request.server_pause_us, "after each");
    cli.add_option("--reads", options.pace.reads_bytes, "bytes that the client reads at a time");
    cli.add_option("--pause-us", options.pace.pause_us, "after each");
    cli.add_option("--receive-buffer", options.receive_buffer_bytes, "bytes");
    cli.add_option("--timeout", options.timeout_s, "seconds after which it gives up")->capture_default_str();
    if (const auto status = tools::parse_command_line(cli, argc, argv)) return *status;
    return tools::run_program(cli.get_name(), [&options] { return Endpoint(options).run(); });
}

}  // namespace
}  // namespace understudy::interop

int main(int argc, char** argv) {
    return understudy::interop::main(argc, argv);
}
