#include "tests/sim/failover_clients.hh"

namespace understudy::sim {
namespace {

using std::chrono::milliseconds;

constexpr Duration retransmission = milliseconds(60);
constexpr std::uint64_t tries_before_resolving = 3;
constexpr Duration cache_expiry_min = milliseconds(300);
constexpr Duration cache_expiry_max = milliseconds(2000);

}  // namespace

FailoverClients::FailoverClients(EventQueue& queue, std::vector<Duration> pauses, Random random, Wires wires)
    : queue_(queue), random_(random), wires_(std::move(wires)) {
    for (const Duration pause : pauses)
        clients_.push_back({.pause = pause});
}

void FailoverClients::start() {
    for (std::size_t i = 0; i < clients_.size(); ++i) {
        if (clients_[i].pause == Duration::zero()) continue;
        queue_.after(random_.between(Duration::zero(), clients_[i].pause), [this, i] { ask(i); });
        queue_.after(random_.between(cache_expiry_min, cache_expiry_max), [this, i] { expire(i); });
    }
}

void FailoverClients::ask(std::size_t client) {
    ++clients_[client].asked;
    clients_[client].unanswered_tries = 0;
    send(client);
}

void FailoverClients::send(std::size_t client) {
    Client& one = clients_[client];
    wires_.frame(one.owner, {.kind = FailoverFrame::Kind::request, .client = client, .number = one.asked});
    queue_.after(retransmission, [this, client, number = one.asked] {
        Client& self = clients_[client];
        if (self.answered >= number) return;
        if (++self.unanswered_tries % tries_before_resolving == 0) resolve(client);
        send(client);
    });
}

// By broadcast: whoever claims the address last is believed.
void FailoverClients::resolve(std::size_t client) {
    const FailoverFrame question{.kind = FailoverFrame::Kind::address_question, .client = client, .number = 0};
    wires_.frame(FailoverHost::primary, question);
    wires_.frame(FailoverHost::replica, question);
}

void FailoverClients::expire(std::size_t client) {
    resolve(client);
    queue_.after(random_.between(cache_expiry_min, cache_expiry_max), [this, client] { expire(client); });
}

void FailoverClients::arrived(std::size_t client, FailoverHost from, const FailoverFrame& frame, Instant sent) {
    Client& one = clients_[client];
    if (frame.kind == FailoverFrame::Kind::announcement || frame.kind == FailoverFrame::Kind::address_answer) {
        one.owner = from;
        return;
    }
    if (frame.kind != FailoverFrame::Kind::reply) return;
    wires_.heard(client, from, sent);
    wires_.frame(one.owner,
                 {.kind = FailoverFrame::Kind::acknowledged, .client = client, .number = frame.number});
    if (frame.number <= one.answered) return;
    one.answered = frame.number;
    queue_.after(one.pause, [this, client] { ask(client); });
}

}  // namespace understudy::sim
