// The agent's guard by itself, for guard_test.py: understudy-guard-watch IFACE=ADDR:PORT TARGET.
//
// It says "guarded N", and for each death "death PID STATUS" (as wait(2) gives it). A line "open" on standard input lets
// frames out again, "watched" asks how many processes are watched; both are answered. After "hold" it hears of no death
// until it has obeyed the next line. It ends with its input.
#include <iostream>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/streambuf.hpp>

#include "tools/agent/guard.hh"
#include "tools/agent/guard_target.hh"
#include "tools/common/program.hh"

namespace understudy::tools {
namespace {

class Session {
  public:
    Session(const std::string& service, const std::string& target)
        : guard_(io_, {parse_service_on_port("SERVICE", service)},
                 [](pid_t process, int status) {
                     say("death " + std::to_string(process) + " " + std::to_string(status));
                 }),
          input_(io_, 0) {
        const GuardTarget guarded(target);
        guard_.watch(guarded.processes(), guarded.main());
        say("guarded " + std::to_string(guard_.watched()));
    }

    void run() {
        obey_next();
        io_.run();
    }

  private:
    static void say(const std::string& what) { std::cout << what << std::endl; }

    std::string next_line() {
        std::istream lines(&words_);
        std::string line;
        std::getline(lines, line);
        return line;
    }

    void obey_next() {
        boost::asio::async_read_until(input_, words_, '\n', [this](boost::system::error_code error, std::size_t) {
            if (error) return io_.stop();
            std::string line = next_line();
            if (line == "hold") {
                say("holding");
                boost::asio::read_until(input_, words_, '\n');
                line = next_line();
            }
            if (line == "open") guard_.open();
            say(line == "watched" ? "watched " + std::to_string(guard_.watched()) : line);
            obey_next();
        });
    }

    boost::asio::io_context io_;
    Guard guard_;
    boost::asio::posix::stream_descriptor input_;
    boost::asio::streambuf words_;
};

}  // namespace
}  // namespace understudy::tools

int main(int argc, char** argv) {
    using namespace understudy::tools;
    return run_program("understudy-guard-watch", [&] {
        if (argc != 3) throw UsageError("usage: understudy-guard-watch IFACE=ADDR:PORT PID|UNIT|CGROUP");
        Session(argv[1], argv[2]).run();
        return exit_success;
    });
}
