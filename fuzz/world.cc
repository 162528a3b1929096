#include "fuzz/world.hh"

#include <algorithm>

#include "fuzz/require.hh"

namespace understudy::fuzz {
namespace {

using stack::ConnectionId;
using stack::ConnectionSnapshot;

constexpr std::uint8_t syn = 2, rst = 4, ack = 16;
// More would be an endless loop: nothing here sends or waits that often.
constexpr int max_timers_per_pass = 100000;

std::byte mixed(std::uint32_t seq) {
    return static_cast<std::byte>((seq * 0x9e3779b1u) >> 24);
}

std::uint32_t length_of(std::span<const std::byte> bytes) {
    return static_cast<std::uint32_t>(bytes.size());
}

}  // namespace

std::byte client_byte(std::uint32_t seq) {
    return mixed(seq);
}

std::byte service_byte(std::uint32_t seq) {
    return mixed(~seq);
}

bool is_before(std::uint32_t a, std::uint32_t b) {
    return static_cast<std::int32_t>(a - b) < 0;
}

World::World(const stack::Settings& settings)
    : settings_(settings),
      may_speak_(settings.initial_mode == stack::Mode::master),
      stack_(settings, *this, *this, *this) {}

void World::receive(stack::Source source, std::span<const std::byte> frame) {
    const stack::ReceivedFrame received{source, frame, length_of(frame)};
    stack_.receive(std::span(&received, 1), now_);
}

void World::pass(stack::Duration time) {
    const stack::Instant end = now_ + time;
    int timers = 0;
    for (auto due = stack_.next_deadline(); due && *due <= end; due = stack_.next_deadline()) {
        now_ = std::max(now_, *due);
        stack_.advance(now_);
        require(++timers < max_timers_per_pass, "timers make progress");
        frames_.resize(std::min<std::size_t>(frames_.size(), 64));
    }
    now_ = end;
    stack_.advance(now_);
}

void World::promote() {
    may_speak_ = true;
    stack_.promote(now_);
    require(stack_.mode() == stack::Mode::master, "promotion makes a master");
}

void World::connect(const Endpoint& local, const Endpoint& remote, const LinkAddress& link) {
    advertised_edge_.reset();
    acknowledged_.reset();
    stack_.connect(local, remote, link, now_);
}

void World::send(std::uint32_t length) {
    if (!open_) return;
    const auto snapshot = stack_.snapshot(open_->id);
    require(snapshot.has_value(), "a connection lives until closed() says that it is gone");
    std::vector<std::byte> bytes(length);
    for (std::uint32_t i = 0; i < length; ++i)
        bytes[i] = service_byte(snapshot->app_nxt + i);
    const std::size_t room = stack_.send_room(open_->id);
    const ConnectionId id = open_->id;
    const std::size_t taken = stack_.send(id, bytes, now_);
    require(taken <= length, "send takes no more than it is given");
    require(taken >= std::min<std::size_t>(room, length), "send takes what send_room tells");
}

void World::shutdown_send() {
    if (open_) stack_.shutdown_send(open_->id, now_);
}

void World::abort() {
    if (!open_) return;
    stack_.abort(open_->id, now_);
    require(!open_, "abort closes at once");
}

void World::resume_receive(std::size_t appetite) {
    appetite_ = appetite;
    if (open_) stack_.resume_receive(open_->id, now_);
}

std::vector<SentTcp> World::take_sent() {
    taken_.assign(std::make_move_iterator(frames_.begin()), std::make_move_iterator(frames_.end()));
    frames_.clear();
    std::vector<SentTcp> result;
    for (const auto& frame : taken_)
        if (auto sent = read_sent(frame)) result.push_back(*sent);
    return result;
}

std::span<std::byte> World::reserve(std::size_t length) {
    require(may_speak_, "nothing leaves a silent replica");
    require(length <= settings_.mtu + 18, "no frame is longer than the link takes");
    if (refused_ != 0) {
        --refused_;
        return {};
    }
    pending_.assign(length, std::byte{0xee});
    return pending_;
}

void World::commit() {
    require(may_speak_, "nothing leaves a silent replica");
    if (const auto sent = read_sent(pending_)) check_sent(*sent);
    frames_.push_back(std::move(pending_));
}

void World::check_sent(const SentTcp& sent) {
    if ((sent.flags & rst) != 0) return;
    if ((sent.flags & syn) != 0) {
        advertised_edge_.reset();
        acknowledged_.reset();
        return;
    }
    require((sent.flags & ack) != 0, "every segment of a connection acknowledges (RFC 9293 3.10.7.4)");
    if (!own_scale_) return;
    // RFC 9293 3.8.6: what was once advertised is not taken back.
    const std::uint32_t edge = sent.ack + (std::uint32_t{sent.window} << *own_scale_);
    // After the peer's end, as in TIME-WAIT, there is nothing left that a window could admit.
    require(peer_ended_ || !advertised_edge_ || !is_before(edge, *advertised_edge_),
            "the advertised edge never shrinks");
    require(!acknowledged_ || !is_before(sent.ack, *acknowledged_), "an acknowledgement is never taken back");
    advertised_edge_ = edge;
    acknowledged_ = sent.ack;
    if (tainted_) return;
    for (std::uint32_t i = 0; i < sent.payload.size(); ++i)
        require(sent.payload[i] == service_byte(sent.seq + i), "a byte is sent at its own sequence number");
}

void World::begin(ConnectionId id) {
    const auto snapshot = stack_.snapshot(id);
    require(snapshot.has_value(), "an announced connection exists");
    open_ = Incarnation{id, snapshot->irs + 1, false};
    peer_ended_ = false;
}

void World::accepted(ConnectionId id, const Endpoint&, const Endpoint&) {
    require(!open_ || open_->id != id, "a connection is announced once");
    begin(id);
}

void World::connected(ConnectionId id) {
    begin(id);
}

std::size_t World::received(ConnectionId id, std::span<const std::byte> bytes) {
    if (!own_scale_) return std::min(bytes.size(), appetite_);
    require(open_ && open_->id == id, "bytes come for an open connection");
    require(!open_->peer_closed, "no byte comes after the peer's end");
    const std::size_t taken = std::min(bytes.size(), appetite_);
    for (const std::byte byte : bytes.first(taken))
        require(byte == client_byte(open_->next_seq++), "no byte is wrong, skipped or repeated");
    return taken;
}

void World::peer_closed(ConnectionId id) {
    if (!own_scale_) return;
    require(open_ && open_->id == id && !open_->peer_closed, "an end is told once");
    open_->peer_closed = true;
    peer_ended_ = true;
}

void World::writable(ConnectionId id) {
    require(!own_scale_ || (open_ && open_->id == id), "an open connection becomes writable");
}

void World::closed(ConnectionId id, stack::CloseReason) {
    if (open_ && open_->id == id) open_.reset();
    peer_ended_ = true;
}

void World::datagram(const Endpoint& service, const Endpoint& client, std::span<const std::byte> bytes) {
    require(std::ranges::count(settings_.udp_services, service) == 1,
            "a datagram is for one of our services");
    require(bytes.size() <= UINT16_MAX, "a datagram fits its packet");
    const std::size_t before = frames_.size();
    (void)stack_.send_datagram(service, client, bytes, now_);
    require(may_speak_ || frames_.size() == before, "while silent an answer is withheld");
}

void World::check() {
    require(stack_.connection_count() <= settings_.max_connections, "the table is bounded");
    require(stack_.mode() == (may_speak_ ? stack::Mode::master : stack::Mode::silent), "the mode is told");
    require(stack_.reassembly_bytes() <= settings_.reassembly_budget_bytes, "reassembly is bounded");
    std::uint32_t cursor = 0;
    for (const ConnectionSnapshot& snapshot : stack_.snapshots(cursor, 16))
        check_connection(snapshot);
}

void World::check_connection(const ConnectionSnapshot& s) const {
    if (!may_speak_) {
        // The mirror's order is not the wire's: a client's acknowledgement may come first.
        require(s.unread_bytes <= settings_.shadow.lag_budget_bytes, "unread bytes are bounded");
        return;
    }
    require(!is_before(s.snd_nxt, s.snd_una), "snd_una is not after snd_nxt");
    require(
        s.unread_bytes <= std::max(settings_.tcp.receive_buffer_max_bytes, settings_.shadow.lag_budget_bytes),
        "unread bytes are bounded");
    require(s.cwnd > 0 || s.state == stack::State::syn_sent || s.state == stack::State::syn_received,
            "a congestion window is never closed");
}

}  // namespace understudy::fuzz
