#include "tests/shim/side.hh"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace understudy::conformance {
namespace {

constexpr std::size_t max_message_bytes = 64 * 1024;
constexpr const char* meeting = "=";

}  // namespace

std::string name_of_error(int error) {
    const char* name = ::strerrorname_np(error);
    return name != nullptr ? name : std::to_string(error);
}

void send_message(int control, const std::string& text) {
    ssize_t sent = 0;
    do
        sent = ::send(control, text.data(), text.size(), MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0) throw Broken("the other side cannot be told: " + name_of_error(errno));
}

std::string receive_message(int control) {
    pollfd waiting{control, POLLIN, 0};
    int ready = 0;
    do
        ready = ::poll(&waiting, 1, patience_ms);
    while (ready < 0 && errno == EINTR);
    if (ready == 0) throw Broken("the other side is silent");
    std::string text(max_message_bytes, '\0');
    const ssize_t got = ::recv(control, text.data(), text.size(), 0);
    if (got <= 0) throw Broken("the other side has gone");
    text.resize(static_cast<std::size_t>(got));
    return text;
}

long Side::note(const std::string& what, long result) {
    const int error = errno;
    say(what, result < 0 ? "-1 " + name_of_error(error) : std::to_string(result));
    return result;
}

int Side::note_ok(const std::string& what, int result) {
    const int error = errno;
    say(what, result < 0 ? "-1 " + name_of_error(error) : "ok");
    return result;
}

void Side::meet() {
    send_message(control_, meeting);
    if (hear() != meeting) throw Broken("the sides do not meet: they are at different places of the check");
}

void Side::tell(const std::string& text) { send_message(control_, text); }

std::string Side::hear() { return receive_message(control_); }

}  // namespace understudy::conformance
