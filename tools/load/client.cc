#include "tools/load/client.hh"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "tools/load/datagram_client.hh"
#include "tools/load/stream_client.hh"
#include "tools/twin/socket_address.hh"

namespace understudy::load {

const char* to_string(Outcome outcome) {
    switch (outcome) {
        case Outcome::connecting:
            return "connecting";
        case Outcome::open:
            return "open";
        case Outcome::closing:
            return "closing";
        case Outcome::finished:
            return "finished";
        case Outcome::connect_failed:
            return "connect_failed";
        case Outcome::reset:
            return "reset";
        case Outcome::closed_early:
            return "closed_early";
        case Outcome::stalled:
            return "stalled";
    }
    return "unknown";
}

std::unique_ptr<Client> make_client(const ClientSettings& settings, std::uint32_t number) {
    if (settings.app == App::udp_echo) return std::make_unique<DatagramClient>(settings, number);
    return std::make_unique<StreamClient>(settings, number);
}

void Client::open_socket(int type, int protocol) {
    const int family = settings_.server.address.is_v4() ? AF_INET : AF_INET6;
    socket_ = twin::Descriptor(::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
    if (!socket_) throw std::system_error(errno, std::generic_category(), "cannot make a socket");
    // What was already here when the server failed is still its own answer, however late it is read.
    set_option(SOL_SOCKET, SO_TIMESTAMPNS, 1);
}

void Client::set_option(int level, int name, int value) {
    if (::setsockopt(socket_.get(), level, name, &value, sizeof value) != 0)
        throw std::system_error(errno, std::generic_category(), "cannot set a socket option");
}

void Client::note_open(Instant now) {
    outcome_ = Outcome::open;
    opened_at_ = now;
    owed_since_.reset();
    twin::SocketAddress local;
    if (::getsockname(socket_.get(), local.get(), &local.length) == 0)
        local_port_ = twin::to_endpoint(local).port;
}

void Client::begin(Instant due) {
    if (outcome_ == Outcome::open && settings_.interval) due_ = due;
}

std::optional<Instant> Client::next_due() const {
    if (outcome_ != Outcome::open || owed_since_) return std::nullopt;
    return due_;
}

void Client::send_due(Instant now) {
    const auto due = Client::next_due();
    if (due && *due <= now) start_message(*due, now);
}

void Client::skip_to_grid(Instant now) {
    const Duration interval = *settings_.interval;
    // Messages that an outage made impossible are not sent in a burst afterwards.
    if (now >= *due_) *due_ += interval * ((now - *due_) / interval + 1);
}

void Client::failed(int error, Instant now) {
    error_ = std::strerror(error);
    end(outcome_ == Outcome::connecting ? Outcome::connect_failed : Outcome::reset, now);
}

std::optional<Instant> Client::waiting_since() const {
    // While closing only the FIN is owed, whatever else comes.
    if (!owed_since_ || outcome_ != Outcome::open) return owed_since_;
    return std::max(*owed_since_, receipts.last().value_or(*owed_since_));
}

void Client::give_up(Instant since, Instant now) {
    if (over() || !owed_since_ || *waiting_since() > since) return;
    if (outcome_ == Outcome::connecting) {
        error_ = "no answer to the connection request in time";
        return end(Outcome::connect_failed, now);
    }
    error_ = outcome_ == Outcome::closing ? "no FIN from the server" : "no answer from the server";
    end(Outcome::stalled, now);
}

void Client::end(Outcome outcome, Instant now) {
    outcome_ = outcome;
    ended_at_ = now;
    if (owed_since_ && outcome != Outcome::finished) receipts.ended_unanswered(*owed_since_, now);
    owed_since_.reset();
    closing_socket();
    socket_ = {};
}

}  // namespace understudy::load
