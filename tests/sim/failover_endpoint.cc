#include "tests/sim/failover_endpoint.hh"

#include <array>

namespace understudy::sim {
namespace {

failover::KeyRing shared_key() {
    std::array<std::uint8_t, failover::HeartbeatKey::bytes> secret;
    secret.fill(7);
    failover::KeyRing keys;
    keys.add(failover::HeartbeatKey(secret), failover::Instant{}, Duration::zero());
    return keys;
}

}  // namespace

FailoverEndpoint::FailoverEndpoint(FailoverProcess& process, const failover::Links::Settings& settings,
                                   failover::Role role, Random random, Handlers handlers)
    : process_(process),
      interval_(settings.interval),
      session_(settings, role, shared_key(), [random]() mutable { return random.next(); }),
      handlers_(std::move(handlers)),
      waiting_(settings.links) {}

void FailoverEndpoint::start() {
    next_hello_ = process_.clock();
    push();
}

void FailoverEndpoint::greet() {
    for (std::size_t link = 0; link < waiting_.size(); ++link)
        handlers_.send(link, session_.hello(link, process_.clock()));
}

// Intervals that were missed are skipped.
void FailoverEndpoint::push() {
    greet();
    const Duration late = process_.clock() - next_hello_;
    next_hello_ += interval_ * (1 + late / interval_);
    process_.at(process_.instant_of(next_hello_), [this] { push(); });
}

void FailoverEndpoint::arrived(std::size_t link, std::string bytes) {
    waiting_[link].push_back(std::move(bytes));
    process_.act([this] { read_all(); });
}

void FailoverEndpoint::read_all() {
    for (std::size_t link = 0; link < waiting_.size(); ++link)
        while (!waiting_[link].empty()) {
            const std::string bytes = std::move(waiting_[link].front());
            waiting_[link].pop_front();
            const failover::Instant now = process_.clock();
            if (bytes.empty()) {
                handlers_.probe_answered(now);
                continue;
            }
            const failover::Session::Taken taken = session_.take(link, bytes, now);
            if (!taken.reply.empty()) handlers_.send(link, taken.reply);
            if (!taken.sign_of_life) continue;
            handlers_.sign_of_life(link, now);
            if (taken.words) handlers_.words(*taken.words, now);
        }
}

}  // namespace understudy::sim
