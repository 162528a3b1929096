// One side of a check: what it saw, and its line to the other side, which no shim and no network under test touches.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace understudy::conformance {

// No wait of a check is longer.
inline constexpr int patience_ms = 20'000;

// What stands in the way of a check, as opposed to what the check finds.
class Broken : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// "EAGAIN".
std::string name_of_error(int error);

class Side {
  public:
    // `control`: a SOCK_SEQPACKET socket to the other side, kept by the caller. Throws Broken when the other side
    // has gone or is silent for too long, as all of these do.
    Side(int control, const sockaddr_in& service) : control_(control), service_(service) {}

    const sockaddr_in& service() const { return service_; }

    // A line of the transcript: the same on every machine and in every run, so never a port, a time, or a size that
    // is the kernel's choice.
    void say(const std::string& line) { lines_.push_back(line); }
    void say(const std::string& what, const std::string& value) { say(what + ": " + value); }
    // "what: 5", or "what: -1 EAGAIN" by errno. Returns the result.
    long note(const std::string& what, long result);
    // "what: ok" for any result that is no failure: a descriptor.
    int note_ok(const std::string& what, int result);
    void truth(const std::string& what, bool value) { say(what, value ? "yes" : "no"); }

    // Returns when the other side meets too.
    void meet();
    void tell(const std::string& text);
    std::string hear();

    const std::vector<std::string>& lines() const { return lines_; }

  private:
    int control_;
    sockaddr_in service_;
    std::vector<std::string> lines_;
};

// Messages of a control connection. receive_message throws Broken as Side does.
void send_message(int control, const std::string& text);
std::string receive_message(int control);

}  // namespace understudy::conformance
