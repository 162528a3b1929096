#include "tools/cli/run.hh"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iostream>

#include "proto/shim_channel.hh"
#include "stack/address.hh"
#include "tools/cli/find_program.hh"
#include "tools/common/program.hh"
#include "tools/control/client.hh"

namespace understudy::tools {
namespace {

namespace fs = std::filesystem;

constexpr const char* application = "shim";

// Beside the program in a build folder, or where `meson install` puts it.
fs::path find_library() {
    const fs::path folder = fs::read_symlink("/proc/self/exe").parent_path();
    for (const char* place : {"../shim/libunderstudy_shim.so", "../lib/understudy/libunderstudy_shim.so",
                              "../lib/x86_64-linux-gnu/understudy/libunderstudy_shim.so"}) {
        std::error_code none;
        const fs::path library = fs::weakly_canonical(folder / place, none);
        if (!none && fs::exists(library)) return library;
    }
    throw std::runtime_error("libunderstudy_shim.so is neither beside this program nor installed; build or install it");
}

// In the words in which the replica tells it.
std::string service_name(const std::string& text) {
    const auto endpoint = stack::parse_endpoint(text);
    if (!endpoint || endpoint->port == 0)
        throw UsageError("--service \"" + text + "\" is not ADDR:PORT, for example 10.77.0.1:6379");
    return stack::to_string(*endpoint);
}

void check_services(const std::vector<std::string>& wanted, const fs::path& control,
                    std::chrono::milliseconds timeout) {
    proto::v1::ControlResponse response;
    try {
        ControlClient client(control, timeout);
        proto::v1::ControlRequest request;
        request.mutable_status();
        response = client.call(request);
    } catch (const ControlError& error) {
        throw UsageError(error.what());
    }
    std::string offered;
    for (const auto& service : response.status().services())
        if (service.application() == application)
            offered += (offered.empty() ? "" : ", ") + service.endpoint();
    for (const std::string& name : wanted)
        if ((", " + offered + ", ").find(", " + name + ", ") == std::string::npos)
            throw UsageError("--service " + name + ": the replica at " + control.string() +
                             " replicates no program there; " +
                             (offered.empty() ? "start understudyd with --service " + name
                                              : "its services of programs are " + offered));
}

// A connection that ends with understudyd.
int connect_channel(const fs::path& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    const int channel = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (channel < 0 || ::connect(channel, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        throw UsageError("cannot reach the replica's socket for programs, " + path.string() + ": " +
                         std::strerror(errno));
    return channel;
}

void attach(int channel, const stack::Endpoint& service) {
    proto::shim::Message message;
    message.kind = proto::shim::Kind::attach;
    std::copy(service.address.octets.begin(), service.address.octets.end(), message.local.octets);
    message.local.port = service.port;
    if (::send(channel, &message, sizeof message, MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof message) ||
        ::recv(channel, &message, sizeof message, 0) != static_cast<ssize_t>(sizeof message) || message.error != 0)
        throw UsageError("the replica does not take this program: restart it with the version of this command");
}

constexpr std::array forwarded_signals{SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH};

// Until the program has ended.
int attend(pid_t child, int channel, int signals) {
    std::array<pollfd, 2> waiting{{{signals, POLLIN, 0}, {channel, POLLIN, 0}}};
    int status = 0;
    while (::waitpid(child, &status, WNOHANG) == 0) {
        if (::poll(waiting.data(), waiting.size(), -1) < 0) continue;
        if (waiting[1].revents != 0) {
            std::cerr << "understudy: understudyd has ended, and with it the program's sockets: ending the program\n";
            ::kill(child, SIGTERM);
            waiting[1].fd = -1;
        }
        signalfd_siginfo got{};
        if (waiting[0].revents != 0 && ::read(signals, &got, sizeof got) == sizeof got && got.ssi_signo != SIGCHLD)
            ::kill(child, static_cast<int>(got.ssi_signo));
    }
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

int run_program_of_service(const RunOptions& options, const fs::path& control, std::chrono::milliseconds timeout) {
    if (options.services.size() > proto::shim::max_services)
        throw UsageError("--service: a program has at most " + std::to_string(proto::shim::max_services));
    const fs::path executable = find_program(options.command.front(), "run");
    std::vector<std::string> names;
    std::string list;
    for (const std::string& service : options.services) {
        names.push_back(service_name(service));
        list += (list.empty() ? "" : ",") + names.back();
    }
    check_services(names, control, timeout);
    const char* others = std::getenv("LD_PRELOAD");
    const std::string preload =
        find_library().string() + (others == nullptr ? "" : std::string(":") + others);
    ::setenv("LD_PRELOAD", preload.c_str(), 1);
    ::setenv(proto::shim::channel_variable, channel_path(fs::absolute(control)).c_str(), 1);
    ::setenv(proto::shim::services_variable, list.c_str(), 1);
    std::vector<char*> words;
    for (const std::string& word : options.command)
        words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);

    const int channel = connect_channel(channel_path(control));
    attach(channel, *stack::parse_endpoint(names.front()));
    sigset_t watched, before;
    ::sigemptyset(&watched);
    ::sigaddset(&watched, SIGCHLD);
    for (const int number : forwarded_signals)
        ::sigaddset(&watched, number);
    ::sigprocmask(SIG_BLOCK, &watched, &before);
    const int signals = ::signalfd(-1, &watched, SFD_CLOEXEC);
    const pid_t parent = ::getpid();
    const pid_t child = ::fork();
    if (child < 0 || signals < 0) throw std::runtime_error(std::string("cannot start a process: ") + std::strerror(errno));
    if (child == 0) {
        ::sigprocmask(SIG_SETMASK, &before, nullptr);
        ::prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (::getppid() != parent) ::_exit(exit_failure);
        ::execv(executable.c_str(), words.data());
        std::cerr << "understudy: cannot run " << executable.string() << ": " << std::strerror(errno) << '\n';
        ::_exit(exit_usage);
    }
    return attend(child, channel, signals);
}

}  // namespace understudy::tools
