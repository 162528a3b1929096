#include "tests/sim/failover_world.hh"

namespace understudy::sim {
namespace {

using std::chrono::milliseconds;

constexpr Duration judging_interval = milliseconds(2);
// The numbers of questions for an address tell who asked.
constexpr std::uint64_t asked_by_replica = 1;

}  // namespace

FailoverWorld::FailoverWorld(FailoverScenario scenario, std::uint64_t seed, std::ostream* text)
    : scenario_(std::move(scenario)),
      trace_(queue_, text),
      random_(Random(seed).stream("failover world")),
      net_random_(random_.stream("net")) {
    wire_primary();
    wire_replica();
    wire_clients();
    judge_ = std::make_unique<FailoverJudge>(
        queue_, scenario_, *primary_, *replica_, [this](const std::string& oracle, const std::string& what) {
            if (result_.violation) return;
            trace_.event("judge", oracle + ": " + what);
            result_.violation = {trace_.milliseconds(), oracle, what};
        });
}

void FailoverWorld::wire_primary() {
    const auto to_replica = [this](std::size_t link, std::string bytes) {
        ++result_.heartbeats;
        const auto delay = scenario_.net.links[link].to_replica.transit(net_random_);
        if (!delay) return;
        queue_.after(*delay, [this, link, bytes = std::move(bytes)] {
            if (!replica_->is_on()) return;
            judge_->heard_on_link(link, bytes.empty());
            replica_->datagram(link, bytes);
        });
    };
    primary_ = std::make_unique<FailoverPrimary>(
        queue_, scenario_, random_.stream("primary"),
        FailoverPrimary::Wires{
            .datagram = to_replica,
            .probe_answer = [to_replica](std::size_t link) { to_replica(link, {}); },
            .frame = [this](const FailoverFrame& frame) { cross(FailoverHost::primary, frame); },
            .note = [this](const std::string& what) { trace_.event("primary", what); }});
}

void FailoverWorld::wire_replica() {
    const auto to_primary = [this](std::size_t link, std::string bytes) {
        ++result_.heartbeats;
        const auto delay = scenario_.net.links[link].to_primary.transit(net_random_);
        if (!delay) return;
        queue_.after(*delay, [this, link, bytes = std::move(bytes)] {
            if (bytes.empty())
                primary_->probed(link);
            else
                primary_->datagram(link, bytes);
        });
    };
    replica_ = std::make_unique<FailoverReplica>(
        queue_, scenario_, random_.stream("replica"),
        FailoverReplica::Wires{
            .datagram = to_primary,
            .probe = [to_primary](std::size_t link) { to_primary(link, {}); },
            .frame = [this](const FailoverFrame& frame) { cross(FailoverHost::replica, frame); },
            .fence = [this](auto done) { fence(std::move(done)); },
            .looks = [this] { judge_->looks(); },
            .acted =
                [this](const failover::Action& action) {
                    using Kind = failover::Action::Kind;
                    if (action.kind == Kind::begin_takeover) ++result_.takeovers;
                    if (action.kind == Kind::begin_fence) ++result_.fences;
                    if (action.kind == Kind::mute && action.evidence.cause == failover::Cause::veto)
                        ++result_.vetoes;
                    judge_->acted(action);
                },
            .note = [this](const std::string& what) { trace_.event("replica", what); }});
}

void FailoverWorld::wire_clients() {
    clients_ = std::make_unique<FailoverClients>(
        queue_, scenario_.client_pauses, random_.stream("clients"),
        FailoverClients::Wires{
            .frame =
                [this](FailoverHost to, const FailoverFrame& frame) {
                    const auto to_switch = scenario_.net.clients[frame.client].out.transit(net_random_);
                    if (!to_switch) return;
                    const bool to_primary = to == FailoverHost::primary;
                    const auto mirrored = scenario_.net.mirror.transit(net_random_);
                    if (to_primary && mirrored && frame.kind == FailoverFrame::Kind::request)
                        queue_.after(*to_switch + *mirrored, [this, frame] { replica_->tapped(frame); });
                    auto& port = to_primary ? scenario_.net.primary : scenario_.net.replica;
                    const auto from_switch = port.in.transit(net_random_);
                    if (!from_switch) return;
                    queue_.after(*to_switch + *from_switch, [this, to_primary, frame] {
                        to_primary ? primary_->frame(frame) : replica_->frame(frame);
                    });
                },
            .heard =
                [this](std::size_t client, FailoverHost host, Instant sent) {
                    ++result_.replies;
                    judge_->client_heard(client, host, sent);
                }});
}

// From a host's port over the switch.
void FailoverWorld::cross(FailoverHost from, const FailoverFrame& frame) {
    using Kind = FailoverFrame::Kind;
    FailoverNet& net = scenario_.net;
    const bool of_primary = from == FailoverHost::primary;
    const auto to_switch = (of_primary ? net.primary : net.replica).out.transit(net_random_);
    if (!to_switch) return;
    if (of_primary)
        if (const auto mirrored = net.mirror.transit(net_random_))
            queue_.after(*to_switch + *mirrored, [this, frame] {
                if (!replica_->is_on()) return;
                judge_->heard_on_tap(frame);
                replica_->tapped(frame);
            });
    const auto to_other_host = [&] {
        const auto from_switch = (of_primary ? net.replica : net.primary).in.transit(net_random_);
        if (!from_switch) return;
        queue_.after(*to_switch + *from_switch, [this, of_primary, frame] {
            if (!of_primary) return primary_->frame(frame);
            if (frame.kind == Kind::address_answer) judge_->heard_on_lan();
            replica_->frame(frame);
        });
    };
    switch (frame.kind) {
        case Kind::witness_question: {
            const auto there = net.witness.in.transit(net_random_);
            const auto back = net.witness.out.transit(net_random_);
            const auto home = net.replica.in.transit(net_random_);
            if (!there || !back || !home) return;
            FailoverFrame answer = frame;
            answer.kind = Kind::witness_answer;
            queue_.after(*to_switch + *there + *back + *home, [this, answer] { replica_->frame(answer); });
            break;
        }
        case Kind::address_question:
            to_other_host();
            break;
        case Kind::address_answer:
            if (of_primary && frame.number == asked_by_replica)
                to_other_host();
            else
                deliver(from, frame.client, frame, *to_switch);
            break;
        case Kind::announcement:
            to_other_host();
            for (std::size_t client = 0; client < net.clients.size(); ++client)
                deliver(from, client, frame, *to_switch);
            break;
        default:
            deliver(from, frame.client, frame, *to_switch);
            break;
    }
}

void FailoverWorld::deliver(FailoverHost from, std::size_t client, const FailoverFrame& frame, Duration delay) {
    const auto transit = scenario_.net.clients[client].in.transit(net_random_);
    if (!transit) return;
    queue_.after(delay + *transit, [this, from, client, frame, sent = queue_.now()] {
        clients_->arrived(client, from, frame, sent);
    });
}

void FailoverWorld::fence(std::function<void(bool)> done) {
    trace_.event("fence", "begins");
    queue_.after(scenario_.fence_time, [this, done = std::move(done)] {
        trace_.event("fence", scenario_.fence_works ? "done" : "failed");
        if (scenario_.fence_works) primary_->power_off();
        done(scenario_.fence_works);
    });
}

void FailoverWorld::primary_port(bool up, bool with_carrier) {
    scenario_.net.primary.set(up, now());
    if (with_carrier) primary_->set_carrier(up);
}

void FailoverWorld::replica_port(bool up) {
    scenario_.net.replica.set(up, now());
}

FailoverResult FailoverWorld::run() {
    const Instant start = queue_.now();
    primary_->boot();
    queue_.after(milliseconds(random_.between(0, 30)), [this] { replica_->start(); });
    clients_->start();
    for (const FailoverFault& fault : scenario_.faults)
        queue_.at(start + fault.after, [this, &fault] {
            trace_.event("fault", fault.what);
            fault.happen(*this);
        });
    for (Instant at = start + judging_interval; at < start + scenario_.length; at += judging_interval)
        queue_.at(at, [this] { judge_->check(); });
    while (!result_.violation && queue_.run_next(start + scenario_.length)) {
    }
    if (!result_.violation) judge_->end(result_.takeovers, result_.fences);
    result_.excused = judge_->excused();
    result_.trace_hash = trace_.hash();
    return result_;
}

}  // namespace understudy::sim
