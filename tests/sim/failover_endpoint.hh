// One end of the heartbeat links in virtual time: the session of failover/ and the sockets in front of it.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "failover/session.hh"
#include "tests/sim/failover_process.hh"
#include "tests/sim/random.hh"

namespace understudy::sim {

class FailoverEndpoint {
  public:
    struct Handlers {
        std::function<void(std::size_t link, const std::string&)> send;
        std::function<void(std::size_t link, failover::Instant at)> sign_of_life = [](auto, auto) {};
        std::function<void(const failover::PeerWords&, failover::Instant at)> words;
        // The peer's kernel answered a probe.
        std::function<void(failover::Instant at)> probe_answered = [](auto) {};
    };
    FailoverEndpoint(FailoverProcess& process, const failover::Links::Settings& settings, failover::Role role,
                     Random random, Handlers handlers);

    void start();
    // Something waits in the socket; an empty one is an answer to a probe.
    void arrived(std::size_t link, std::string bytes);
    void read_all();
    template <typename Word>
    void say(const Word& word) {
        session_.say(word);
        process_.act([this] { greet(); });
    }
    const failover::Session& session() const { return session_; }

  private:
    void push();
    void greet();

    FailoverProcess& process_;
    Duration interval_;
    failover::Session session_;
    Handlers handlers_;
    std::vector<std::deque<std::string>> waiting_;  // by link
    failover::Instant next_hello_{};
};

}  // namespace understudy::sim
