// shim-conformance: what a server program sees of its sockets, as a transcript that two runs can be compared by.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "tests/shim/check.hh"
#include "tests/shim/inherited.hh"
#include "tests/shim/sockets.hh"

namespace understudy::conformance {
namespace {

constexpr const char* usage =
    "usage: shim-conformance server ADDR:PORT CONTROL    answers clients until it is told to stop\n"
    "       shim-conformance client ADDR:PORT CONTROL [CHECK...]    runs the checks and prints both transcripts\n"
    "       shim-conformance list\n"
    "\n"
    "CONTROL is the path of a local socket that the server makes. Exit status: 0 all checks ran, 1 one did not, 2 usage.\n";
constexpr unsigned longest_check_s = 120;
constexpr const char* end_of_transcript = "\x04";

std::vector<Check> all_checks() {
    std::vector<Check> checks;
    for (const auto& group : {data_checks(), readiness_checks(), ending_checks(), transfer_checks(), process_checks(),
                              name_checks(), many_checks()})
        checks.insert(checks.end(), group.begin(), group.end());
    return checks;
}

const Check* find_check(const std::vector<Check>& checks, std::string_view name) {
    for (const Check& check : checks)
        if (check.name == name) return &check;
    return nullptr;
}

bool parse_endpoint(const std::string& text, sockaddr_in& endpoint) {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string::npos) return false;
    endpoint.sin_family = AF_INET;
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(text.data() + colon + 1, text.data() + text.size(), port);
    endpoint.sin_port = htons(port);
    return error == std::errc{} && end == text.data() + text.size() && port != 0 &&
           ::inet_pton(AF_INET, text.substr(0, colon).c_str(), &endpoint.sin_addr) == 1;
}

Descriptor control_socket(const char* path, sockaddr_un& address) {
    address.sun_family = AF_UNIX;
    if (std::strlen(path) >= sizeof address.sun_path) throw Broken("the control path is too long for a socket");
    std::strcpy(address.sun_path, path);
    Descriptor socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    if (!socket) throw Broken("no socket for control: " + name_of_error(errno));
    return socket;
}

// What stops a check is part of its transcript, so that the two runs differ.
void run(void (*function)(Side&), Side& side) {
    try {
        function(side);
    } catch (const Broken& broken) {
        side.say(std::string("broken: ") + broken.what());
    }
}

// A process per check: what one does to its descriptors, signals and limits is gone with it.
[[noreturn]] void serve_one(int control, const sockaddr_in& service, const std::vector<Check>& checks) {
    ::alarm(longest_check_s);
    try {
        const std::string name = receive_message(control);
        Side side(control, service);
        if (const Check* check = find_check(checks, name)) run(check->server, side);
        for (const std::string& line : side.lines())
            send_message(control, line);
        send_message(control, end_of_transcript);
    } catch (const Broken&) {
        ::_exit(1);
    }
    ::_exit(0);
}

int server(const sockaddr_in& service, const char* path) {
    const std::vector<Check> checks = all_checks();
    sockaddr_un address{};
    Descriptor listener = control_socket(path, address);
    if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener.get(), 1) != 0)
        throw Broken(std::string("cannot listen at ") + path + ": " + name_of_error(errno));
    std::puts("ready");
    std::fflush(stdout);
    for (;;) {
        Descriptor control(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!control) throw Broken("cannot accept at " + std::string(path) + ": " + name_of_error(errno));
        const pid_t child = ::fork();
        if (child < 0) throw Broken("cannot fork: " + name_of_error(errno));
        if (child == 0) {
            listener = Descriptor();
            serve_one(control.get(), service, checks);
        }
        control = Descriptor();
        while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
        }
    }
}

// True: both sides went through it.
bool run_check(const Check& check, const sockaddr_in& service, const char* path) {
    sockaddr_un address{};
    Descriptor control = control_socket(path, address);
    if (::connect(control.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        throw Broken(std::string("no server at ") + path + ": " + name_of_error(errno));
    send_message(control.get(), check.name);
    Side side(control.get(), service);
    run(check.client, side);
    bool whole = true;
    std::printf("== %s\n", check.name);
    for (const std::string& line : side.lines()) {
        whole = whole && line.rfind("broken: ", 0) != 0;
        std::printf("client: %s\n", line.c_str());
    }
    // A check that broke on this side may leave the server waiting for it.
    if (!whole) ::shutdown(control.get(), SHUT_WR);
    try {
        for (std::string line; (line = receive_message(control.get())) != end_of_transcript;) {
            whole = whole && line.rfind("broken: ", 0) != 0;
            std::printf("server: %s\n", line.c_str());
        }
    } catch (const Broken& broken) {
        std::printf("server: broken: %s\n", broken.what());
        whole = false;
    }
    std::fflush(stdout);
    return whole;
}

int client(const sockaddr_in& service, const char* path, const std::vector<std::string>& names) {
    const std::vector<Check> checks = all_checks();
    std::vector<const Check*> chosen;
    for (const std::string& name : names) {
        chosen.push_back(find_check(checks, name));
        if (chosen.back() == nullptr) {
            std::fprintf(stderr, "shim-conformance: no check is named \"%s\"; see shim-conformance list\n", name.c_str());
            return 2;
        }
    }
    if (names.empty())
        for (const Check& check : checks)
            chosen.push_back(&check);
    bool whole = true;
    for (const Check* check : chosen)
        whole = run_check(*check, service, path) && whole;
    return whole ? 0 : 1;
}

int run_command(const std::vector<std::string>& words) {
    // Inherited from whoever starts a server; the checks expect the defaults.
    ::signal(SIGPIPE, SIG_DFL);
    if (words.size() == 2 && words[0] == inherited_command) return serve_inherited(words[1].c_str());
    if (words.size() == 1 && words[0] == "list") {
        for (const Check& check : all_checks())
            std::puts(check.name);
        return 0;
    }
    if (words.size() == 1 && words[0] == "--help") {
        std::fputs(usage, stdout);
        return 0;
    }
    sockaddr_in service{};
    if (words.size() >= 3 && parse_endpoint(words[1], service)) {
        if (words[0] == "server" && words.size() == 3) return server(service, words[2].c_str());
        if (words[0] == "client") return client(service, words[2].c_str(), {words.begin() + 3, words.end()});
    }
    std::fputs(usage, stderr);
    return 2;
}

}  // namespace
}  // namespace understudy::conformance

int main(int argc, char** argv) {
    try {
        return understudy::conformance::run_command({argv + 1, argv + argc});
    } catch (const std::exception& error) {
        std::fprintf(stderr, "shim-conformance: %s\n", error.what());
        return 1;
    }
}
