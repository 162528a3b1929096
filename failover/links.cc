#include "failover/links.hh"

#include <algorithm>
#include <utility>

namespace understudy::failover {
namespace {

constexpr std::array link_counters{
    LinkCounterInfo{&LinkCounters::hellos_sent, "hellos_sent", "Hello messages sent"},
    LinkCounterInfo{&LinkCounters::acks_sent, "acks_sent", "HelloAck messages sent"},
    LinkCounterInfo{&LinkCounters::send_failures, "send_failures", "messages that the kernel did not take"},
    LinkCounterInfo{&LinkCounters::hellos_received, "hellos_received",
                    "well-formed Hello messages of the peer"},
    LinkCounterInfo{&LinkCounters::acks_received, "acks_received",
                    "well-formed HelloAck messages of the peer"},
    LinkCounterInfo{&LinkCounters::unknown_kinds_received, "unknown_kinds_received",
                    "messages of a kind that only a later version knows"},
    LinkCounterInfo{&LinkCounters::signs_of_life, "signs_of_life",
                    "messages that proved that the peer lives"},
    LinkCounterInfo{&LinkCounters::repairs_sent, "repairs_sent", "repair messages sent"},
    LinkCounterInfo{&LinkCounters::repairs_received, "repairs_received", "repair messages of the peer"},
    LinkCounterInfo{&LinkCounters::receive_errors, "receive_errors", "errors that the socket reported"},
    LinkCounterInfo{&LinkCounters::refused_not_from_peer, "refused_not_from_peer",
                    "datagrams from another address than the peer's"},
    LinkCounterInfo{&LinkCounters::refused_oversized, "refused_oversized",
                    "datagrams longer than any heartbeat"},
    LinkCounterInfo{&LinkCounters::refused_malformed, "refused_malformed", "datagrams that are no heartbeat"},
    LinkCounterInfo{&LinkCounters::refused_unknown_version, "refused_unknown_version",
                    "heartbeats of a version that this program does not know"},
    LinkCounterInfo{&LinkCounters::refused_unauthenticated, "refused_unauthenticated",
                    "datagrams without an authentication code"},
    LinkCounterInfo{&LinkCounters::refused_unknown_key, "refused_unknown_key",
                    "datagrams authenticated by a key that is not held, or not any more"},
    LinkCounterInfo{&LinkCounters::refused_forged, "refused_forged",
                    "datagrams whose authentication code is wrong"},
    LinkCounterInfo{&LinkCounters::refused_unconfirmed, "refused_unconfirmed",
                    "messages of a peer that has not heard us yet"},
    LinkCounterInfo{&LinkCounters::refused_stale_nonce, "refused_stale_nonce",
                    "messages that answer an earlier nonce of ours"},
    LinkCounterInfo{&LinkCounters::refused_replayed, "refused_replayed", "messages that were seen before"},
    LinkCounterInfo{&LinkCounters::unanswered_unproven, "unanswered_unproven",
                    "Hello messages that proved nothing and came too soon after another to be answered"},
    LinkCounterInfo{&LinkCounters::words_not_believed, "words_not_believed",
                    "messages whose word of the service counts for nothing, for the link has no key"},
};
static_assert(link_counters.size() * sizeof(std::uint64_t) == sizeof(LinkCounters));

// A Hello that proves nothing may be a recorded one: a flood of them draws no flood of answers. Whoever lives
// and was not answered learns our nonce from our next Hello.
constexpr Duration unproven_spacing = std::chrono::milliseconds(10);

std::uint64_t& received_counter(LinkCounters& counters, const proto::v1::Heartbeat& message) {
    if (message.has_hello()) return counters.hellos_received;
    return message.has_hello_ack() ? counters.acks_received : counters.unknown_kinds_received;
}

}  // namespace

std::span<const LinkCounterInfo> link_counter_table() {
    return link_counters;
}

bool ReplayWindow::accept(std::uint64_t counter) {
    if (counter > newest_) {
        const std::uint64_t ahead = counter - newest_;
        if (ahead >= width)
            seen_.reset();
        else
            seen_ <<= static_cast<std::size_t>(ahead);
        newest_ = counter;
        seen_.set(0);
        return true;
    }
    const std::uint64_t behind = newest_ - counter;
    if (counter == 0 || behind >= width || seen_.test(static_cast<std::size_t>(behind))) return false;
    seen_.set(static_cast<std::size_t>(behind));
    return true;
}

Links::Links(const Settings& settings, std::function<std::uint64_t()> random)
    : settings_(settings),
      random_(std::move(random)),
      incarnation_(draw()),
      nonce_(draw()),
      links_(settings.links) {}

// 0 stands for "none" in every field that is drawn.
std::uint64_t Links::draw() {
    std::uint64_t value = random_();
    return value != 0 ? value : 1;
}

proto::v1::Heartbeat Links::compose(std::uint64_t echoed_nonce) {
    proto::v1::Heartbeat message;
    message.set_incarnation(incarnation_);
    message.set_counter(++counter_);
    message.set_nonce(nonce_);
    message.set_echoed_nonce(echoed_nonce);
    if (agent_state_) *message.mutable_agent() = *agent_state_;
    if (replica_state_) *message.mutable_replica() = *replica_state_;
    return message;
}

void Links::say(const proto::v1::AgentState& state) {
    agent_state_ = state;
}

void Links::say(const proto::v1::ReplicaState& state) {
    replica_state_ = state;
}

proto::v1::Heartbeat Links::hello(std::size_t index, Instant now) {
    Link& link = links_.at(index);
    proto::v1::Heartbeat message = compose(peer_nonce_);
    const auto interval = std::chrono::duration_cast<std::chrono::microseconds>(settings_.interval);
    message.mutable_hello()->set_interval_us(static_cast<std::uint32_t>(interval.count()));
    link.sent[link.sent_count++ % remembered_hellos] = {message.counter(), now, false};
    return message;
}

Links::Received Links::receive(std::size_t index, const proto::v1::Heartbeat& message, Instant now) {
    Link& link = links_.at(index);
    ++received_counter(link.counters, message);
    Received received{.acceptance = judge(message), .reply = {}, .newest = false};
    switch (received.acceptance) {
        case Acceptance::sign_of_life:
            ++link.counters.signs_of_life;
            link.heard = now;
            received.newest = message.counter() == peer_counters_.newest();
            if (message.has_hello())
                peer_interval_ = std::chrono::microseconds(message.hello().interval_us());
            else if (message.has_hello_ack())
                sample_round_trip(link, message.hello_ack().acknowledged_counter(), now);
            break;
        case Acceptance::unconfirmed:
            ++link.counters.refused_unconfirmed;
            break;
        case Acceptance::stale_nonce:
            ++link.counters.refused_stale_nonce;
            break;
        case Acceptance::replayed:
            ++link.counters.refused_replayed;
            return received;
    }
    // A Hello that proves nothing is answered as well: the answer is how its sender learns our nonce. The
    // nonce echoed is that of the very Hello, so that a recorded one cannot displace what a live peer said.
    if (message.has_hello() && answers(link, received.acceptance, now)) {
        received.reply = compose(message.nonce());
        received.reply->mutable_hello_ack()->set_acknowledged_counter(message.counter());
    }
    return received;
}

bool Links::answers(Link& link, Acceptance acceptance, Instant now) const {
    if (acceptance == Acceptance::sign_of_life) return true;
    if (link.answered_unproven &&
        now - *link.answered_unproven < std::min(unproven_spacing, settings_.interval / 2)) {
        ++link.counters.unanswered_unproven;
        return false;
    }
    link.answered_unproven = now;
    return true;
}

Acceptance Links::judge(const proto::v1::Heartbeat& message) {
    if (message.echoed_nonce() == 0) return Acceptance::unconfirmed;
    if (message.echoed_nonce() != nonce_) return Acceptance::stale_nonce;
    if (peer_incarnation_ != message.incarnation()) meet_incarnation(message.incarnation());
    if (!peer_counters_.accept(message.counter())) return Acceptance::replayed;
    peer_nonce_ = message.nonce();
    return Acceptance::sign_of_life;
}

void Links::stamp(proto::v1::Repair& message) {
    message.set_incarnation(incarnation_);
    message.set_counter(++repair_counter_);
    message.set_echoed_nonce(peer_nonce_);
}

bool Links::accepts(std::size_t index, const proto::v1::Repair& message) {
    LinkCounters& counters = links_.at(index).counters;
    if (message.echoed_nonce() != nonce_ || message.incarnation() != peer_incarnation_) {
        ++counters.refused_stale_nonce;
        return false;
    }
    if (!peer_repair_counters_.accept(message.counter())) {
        ++counters.refused_replayed;
        return false;
    }
    ++counters.repairs_received;
    return true;
}

void Links::meet_incarnation(std::uint64_t incarnation) {
    // What the peer's earlier life answered to must not count any more; the first peer had none.
    if (peer_incarnation_) nonce_ = draw();
    peer_incarnation_ = incarnation;
    peer_counters_ = ReplayWindow{};
    peer_repair_counters_ = ReplayWindow{};
}

void Links::sample_round_trip(Link& link, std::uint64_t counter, Instant now) {
    const auto sent = std::ranges::find_if(
        link.sent, [counter](const SentHello& hello) { return hello.counter == counter && !hello.answered; });
    if (sent == link.sent.end() || counter == 0) return;
    sent->answered = true;
    const Duration sample = now - sent->at;
    link.rtt = link.rtt ? *link.rtt + (sample - *link.rtt) / 8 : sample;
    if (link.last_rtt) link.jitter += (std::chrono::abs(sample - *link.last_rtt) - link.jitter) / 16;
    link.last_rtt = sample;
}

LinkStatus Links::status(std::size_t index, Instant now) const {
    const Link& link = links_.at(index);
    LinkStatus status;
    status.heard = link.heard;
    status.alive = link.heard && now - *link.heard < settings_.deadline;
    status.rtt = link.rtt;
    if (link.rtt) status.jitter = link.jitter;
    status.counters = link.counters;
    std::size_t old_enough = 0;
    std::size_t lost = 0;
    for (const SentHello& hello : link.sent) {
        if (hello.counter == 0 || now - hello.at < settings_.deadline) continue;
        ++old_enough;
        if (!hello.answered) ++lost;
    }
    if (old_enough > 0) status.loss = static_cast<double>(lost) / static_cast<double>(old_enough);
    return status;
}

}  // namespace understudy::failover
