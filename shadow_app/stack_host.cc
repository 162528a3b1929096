#include "shadow_app/stack_host.hh"

#include <algorithm>
#include <cassert>
#include <utility>

#include "shadow_app/stack_connection.hh"

namespace understudy::shadow_app {
namespace {

// Resumed input may be left again and resumed again. After so many rounds the rest waits for the next call,
// so that no application holds the core.
constexpr int max_resume_rounds = 64;

}  // namespace

class StackHost::Hosted final : public StackConnection {
  public:
    Hosted(StackHost& owner, ConnectionId name, const Endpoint& client, Application& served_by)
        : application(served_by), id(name), host_(owner), client_(client) {}

    std::size_t write(std::span<const std::byte> bytes) override {
        const std::size_t taken = host_.stack_->send(id, bytes, host_.now_);
        host_.counters_.bytes_written += taken;
        return taken;
    }
    std::size_t writable_bytes() const override { return host_.stack_->send_room(id); }
    void shutdown_write() override { host_.stack_->shutdown_send(id, host_.now_); }
    void abort() override { host_.stack_->abort(id, host_.now_); }
    void resume_receive() override { host_.request_resume(*this); }
    void set_timer(Duration delay) override { host_.timers_.arm(id.index, host_.timer_base_ + delay); }
    void cancel_timer() override { host_.timers_.cancel(id.index); }
    const Endpoint& client() const override { return client_; }
    void close() override { host_.stack_->close(id, host_.now_); }
    bool silent() const override { return host_.stack_->mode() == stack::Mode::silent; }
    void set_options(const stack::ConnectionOptions& options) override {
        host_.stack_->set_options(id, options, host_.now_);
    }
    std::optional<stack::ConnectionOptions> options() const override { return host_.stack_->options(id); }
    std::optional<stack::ConnectionSnapshot> snapshot() const override { return host_.stack_->snapshot(id); }

    Application& application;
    const ConnectionId id;
    bool resume_waits = false;

  private:
    StackHost& host_;
    const Endpoint client_;
};

class StackHost::HostedDatagrams final : public DatagramService {
  public:
    HostedDatagrams(StackHost& owner, const Endpoint& endpoint, DatagramApplication& served_by)
        : application(served_by), host_(owner), endpoint_(endpoint) {}

    bool send(const Endpoint& client, std::span<const std::byte> bytes) override {
        const bool taken = host_.stack_->send_datagram(endpoint_, client, bytes, host_.now_);
        ++(taken ? host_.counters_.datagrams_sent : host_.counters_.datagrams_refused);
        return taken;
    }
    const Endpoint& endpoint() const override { return endpoint_; }

    DatagramApplication& application;

  private:
    StackHost& host_;
    const Endpoint endpoint_;
};

StackHost::StackHost() = default;
StackHost::~StackHost() = default;

void StackHost::serve(const Endpoint& service, Application& application) {
    assert(stack_ == nullptr);
    services_[service] = &application;
}

void StackHost::serve_datagrams(const Endpoint& service, DatagramApplication& application) {
    assert(stack_ == nullptr);
    datagram_services_[service] = std::make_unique<HostedDatagrams>(*this, service, application);
}

void StackHost::attach(stack::Stack& stack) {
    assert(stack_ == nullptr);
    stack_ = &stack;
}

void StackHost::observe_seeds(SeedObserver observer) {
    seed_observer_ = std::move(observer);
}

void StackHost::observe_conflicts(ConflictObserver observer) {
    conflict_observer_ = std::move(observer);
}

void StackHost::observe_state_losses(StateLossObserver observer) {
    state_loss_observer_ = std::move(observer);
}

void StackHost::receive(std::span<const stack::ReceivedFrame> burst, Instant now) {
    now_ = timer_base_ = now;
    stack_->receive(burst, now);
    run_waiting_resumes();
}

bool StackHost::repair(const stack::RepairBytes& answer, Instant now) {
    now_ = timer_base_ = now;
    const bool filled = stack_->repair(answer, now);
    run_waiting_resumes();
    return filled;
}

void StackHost::advance(Instant now) {
    now_ = timer_base_ = now;
    stack_->advance(now);
    run_timers();
    run_waiting_resumes();
}

std::optional<Instant> StackHost::next_deadline() const {
    if (!waiting_resumes_.empty()) return now_;
    const auto of_stack = stack_->next_deadline();
    const auto of_timers = timers_.next();
    if (!of_stack || !of_timers) return of_stack ? of_stack : of_timers;
    return std::min(*of_stack, *of_timers);
}

std::size_t StackHost::poll_applications(Instant now) {
    now_ = timer_base_ = now;
    std::size_t work = 0;
    for (const auto& [service, application] : services_) {
        if (application->descriptor() < 0) continue;
        in_application_ = true;
        work += application->poll();
        in_application_ = false;
        run_waiting_events();
    }
    run_waiting_resumes();
    return work;
}

void StackHost::open_gate(Instant now) {
    now_ = timer_base_ = now;
    stack_->open_gate(now);
}

stack::PromotionReport StackHost::promote(Instant now) {
    now_ = timer_base_ = now;
    const stack::PromotionReport report = stack_->promote(now);
    run_waiting_resumes();
    return report;
}

void StackHost::mute(Instant now) {
    now_ = timer_base_ = now;
    stack_->mute(now);
    run_waiting_events();
}

std::optional<ConnectionId> StackHost::connect(const Endpoint& local, const Endpoint& remote,
                                               const stack::LinkAddress& remote_link,
                                               Application& application, Instant now) {
    now_ = timer_base_ = now;
    const auto id = stack_->connect(local, remote, remote_link, now);
    if (id) create(*id, local, application);
    return id;
}

void StackHost::accepted(ConnectionId id, const Endpoint& client, const Endpoint& service) {
    assert(!in_application_);  // connections begin with a segment, never inside a call of an application
    const auto application = services_.find(service);
    if (application == services_.end()) {
        ++counters_.refused_no_application;
        stack_->abort(id, now_);
        return;
    }
    ++counters_.accepted;
    run(create(id, client, *application->second),
        [](Application& app, Connection& connection) { app.accepted(connection); });
}

void StackHost::connected(ConnectionId id) {
    assert(!in_application_);
    Hosted* connection = find(id);
    assert(connection != nullptr);  // the handshake's answer cannot arrive inside Stack::connect
    run(*connection, [](Application& app, Connection& c) { app.accepted(c); });
}

std::size_t StackHost::received(ConnectionId id, std::span<const std::byte> bytes) {
    Hosted* connection = find(id);
    if (connection == nullptr) return bytes.size();
    if (in_application_) {
        request_resume(*connection);
        return 0;
    }
    std::size_t taken = 0;
    run(*connection, [&](Application& app, Connection& c) { taken = app.received(c, bytes); });
    assert(taken <= bytes.size());
    counters_.bytes_received += taken;
    return taken;
}

void StackHost::peer_closed(ConnectionId id) {
    raise({EventKind::peer_closed, id});
}

void StackHost::writable(ConnectionId id) {
    raise({EventKind::writable, id});
}

void StackHost::closed(ConnectionId id, CloseReason reason) {
    raise({EventKind::closed, id, reason});
}

void StackHost::datagram(const Endpoint& service, const Endpoint& client, std::span<const std::byte> bytes) {
    assert(!in_application_);  // datagrams come with frames, never inside a call of an application
    const auto found = datagram_services_.find(service);
    if (found == datagram_services_.end()) {
        ++counters_.datagrams_no_application;
        return;
    }
    ++counters_.datagrams_received;
    in_application_ = true;
    found->second->application.received(*found->second, client, bytes);
    in_application_ = false;
    run_waiting_events();
}

void StackHost::seeded(const stack::SeedRecord& record) {
    if (seed_observer_) seed_observer_(record);
}

void StackHost::address_conflict(const stack::IpAddress& address, const stack::LinkAddress& link) {
    if (conflict_observer_) conflict_observer_(address, link);
}

void StackHost::state_lost(const Endpoint& service) {
    if (state_loss_observer_) state_loss_observer_(service);
}

StackHost::Hosted* StackHost::find(ConnectionId id) const {
    if (id.index >= slots_.size()) return nullptr;
    Hosted* connection = slots_[id.index].get();
    return connection != nullptr && connection->id == id ? connection : nullptr;
}

StackHost::Hosted& StackHost::create(ConnectionId id, const Endpoint& client, Application& application) {
    if (id.index >= slots_.size()) slots_.resize(id.index + 1);
    assert(slots_[id.index] == nullptr);  // closed() comes before an index is used again
    slots_[id.index] = std::make_unique<Hosted>(*this, id, client, application);
    ++connection_count_;
    return *slots_[id.index];
}

void StackHost::release(const Hosted& connection) {
    const std::uint32_t index = connection.id.index;
    timers_.cancel(index);
    slots_[index].reset();
    --connection_count_;
    ++counters_.closed;
}

template <typename Call>
void StackHost::run(Hosted& connection, Call call) {
    in_application_ = true;
    call(connection.application, static_cast<Connection&>(connection));
    in_application_ = false;
    run_waiting_events();
}

void StackHost::raise(const Event& event) {
    waiting_events_.push_back(event);
    if (!in_application_) run_waiting_events();
}

void StackHost::run_waiting_events() {
    // By index: an application may cause further events.
    for (std::size_t i = 0; i < waiting_events_.size(); ++i) {
        const Event event = waiting_events_[i];
        in_application_ = true;
        dispatch(event);
        in_application_ = false;
    }
    waiting_events_.clear();
}

void StackHost::dispatch(const Event& event) {
    Hosted* connection = find(event.id);
    if (connection == nullptr) return;
    Application& application = connection->application;
    switch (event.kind) {
        case EventKind::peer_closed:
            return application.peer_closed(*connection);
        case EventKind::writable:
            return application.writable(*connection);
        case EventKind::closed:
            application.closed(*connection, event.reason);
            return release(*connection);
    }
}

void StackHost::request_resume(Hosted& connection) {
    if (std::exchange(connection.resume_waits, true)) return;
    waiting_resumes_.push_back(connection.id);
}

void StackHost::run_waiting_resumes() {
    std::vector<ConnectionId> round;
    for (int i = 0; i < max_resume_rounds && !waiting_resumes_.empty(); ++i) {
        round.clear();
        std::swap(round, waiting_resumes_);
        for (const ConnectionId id : round) {
            Hosted* connection = find(id);
            if (connection == nullptr) continue;
            connection->resume_waits = false;
            stack_->resume_receive(id, now_);
        }
    }
}

void StackHost::run_timers() {
    for (std::size_t called = 0; called < max_timers_per_advance; ++called) {
        const auto due = timers_.take_due(now_);
        if (!due) break;
        timer_base_ = due->at;
        run(*slots_[due->slot], [](Application& app, Connection& connection) { app.timer(connection); });
    }
    timer_base_ = now_;
}

}  // namespace understudy::shadow_app
