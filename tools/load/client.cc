#include "tools/load/client.hh"

#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <system_error>

#include "shadow_app/ticker.hh"
#include "tools/twin/socket_address.hh"

namespace understudy::load {
namespace {

// An idle ticker connection asks for lines this far apart when it shows at the end that it lives.
constexpr Duration idle_ticker_interval = std::chrono::milliseconds(10);

std::unique_ptr<AnswerCheck> make_check(const ClientSettings& settings, std::uint32_t number) {
    switch (settings.app) {
        case App::echo:
            return std::make_unique<EchoCheck>(number);
        case App::discard:
            return std::make_unique<DiscardCheck>();
        case App::ticker:
            return std::make_unique<TickerCheck>(static_cast<std::uint32_t>(settings.message_bytes));
    }
    return nullptr;
}

void set_option(int socket, int level, int name, int value) {
    if (::setsockopt(socket, level, name, &value, sizeof value) != 0)
        throw std::system_error(errno, std::generic_category(), "cannot set a socket option");
}

Duration to_duration(const timespec& time) {
    return std::chrono::seconds(time.tv_sec) + Duration(time.tv_nsec);
}

// Both kinds of stamp begin with a timespec of CLOCK_REALTIME.
std::optional<Instant> kernel_time(msghdr& message, int kind) {
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != kind) continue;
        timespec stamp{}, wall{}, monotonic{};
        std::memcpy(&stamp, CMSG_DATA(c), sizeof stamp);
        ::clock_gettime(CLOCK_REALTIME, &wall);
        ::clock_gettime(CLOCK_MONOTONIC, &monotonic);
        return Instant(to_duration(stamp) - to_duration(wall) + to_duration(monotonic));
    }
    return std::nullopt;
}

// recv(2); `arrived` is set to when the kernel got the last of the bytes, if it says so.
ssize_t receive(int socket, std::span<std::byte> out, Instant& arrived) {
    std::array<std::byte, 256> control;
    iovec part{.iov_base = out.data(), .iov_len = out.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t count = ::recvmsg(socket, &message, 0);
    if (count > 0)
        if (const auto stamp = kernel_time(message, SCM_TIMESTAMPNS)) arrived = *stamp;
    return count;
}

// Nothing else tells a program that its bytes are acknowledged: the kernel wakes it through the error queue.
// Only for a connected socket.
void report_acknowledgements(int socket) {
    set_option(socket, SOL_SOCKET, SO_TIMESTAMPING,
               SOF_TIMESTAMPING_TX_ACK | SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_OPT_ID |
                   SOF_TIMESTAMPING_OPT_TSONLY);
}

}  // namespace

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

Client::Client(const ClientSettings& settings, std::uint32_t number)
    : settings_(settings), number_(number), check_(make_check(settings, number)) {
    if (settings.app == App::ticker) ticker_ = static_cast<TickerCheck*>(check_.get());
}

bool Client::connect(Instant now) {
    twin::SocketAddress server = twin::to_socket_address(settings_.server);
    socket_ = twin::Descriptor(
        ::socket(server.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
    if (!socket_) throw std::system_error(errno, std::generic_category(), "cannot make a socket");
    set_option(socket_.get(), IPPROTO_TCP, TCP_NODELAY, 1);
    // What was already here when the server failed is still its own answer, however late it is read.
    set_option(socket_.get(), SOL_SOCKET, SO_TIMESTAMPNS, 1);
    owed_since_ = now;
    if (::connect(socket_.get(), server.get(), server.length) == 0) {
        opened(now);
        return true;
    }
    if (errno == EINPROGRESS) return true;
    failed(errno, now);
    return false;
}

void Client::opened(Instant now) {
    outcome_ = Outcome::open;
    opened_at_ = now;
    owed_since_.reset();
    twin::SocketAddress local;
    if (::getsockname(socket_.get(), local.get(), &local.length) == 0)
        local_port_ = twin::to_endpoint(local).port;
    if (settings_.app == App::discard) report_acknowledgements(socket_.get());
}

void Client::ready(std::uint32_t events, Instant now, std::span<std::byte> scratch) {
    if (outcome_ == Outcome::connecting) {
        int error = 0;
        socklen_t length = sizeof error;
        ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &length);
        if (error != 0) return failed(error, now);
        if ((events & EPOLLOUT) == 0) return;
        return opened(now);
    }
    if ((events & EPOLLERR) != 0 && settings_.app == App::discard) {
        if (const auto at = read_acknowledged_at()) acknowledged_at_ = at;
        poll_acknowledged(now);
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) read_all(now, scratch);
    if ((events & EPOLLOUT) != 0 && !over() && unsent_ != 0) write_unsent(now);
}

void Client::begin(Instant due) {
    if (outcome_ == Outcome::open && settings_.interval) due_ = due;
}

std::optional<Instant> Client::next_due() const {
    if (outcome_ != Outcome::open || owed_since_) return std::nullopt;
    return due_;
}

void Client::send_due(Instant now) {
    if (next_due() && *due_ <= now) start_message(*due_, now);
}

Instant Client::next_on_grid(Instant now) const {
    const Duration interval = *settings_.interval;
    // Messages that an outage made impossible are not sent in a burst afterwards.
    return now < *due_ ? *due_ : *due_ + interval * ((now - *due_) / interval + 1);
}

void Client::start_message(Instant due, Instant now) {
    owed_since_ = due;
    if (settings_.app == App::ticker) {
        const auto interval =
            std::chrono::ceil<std::chrono::microseconds>(settings_.interval.value_or(idle_ticker_interval));
        const std::string line =
            shadow_app::format_subscription({static_cast<std::uint64_t>(interval.count()),
                                             static_cast<std::uint32_t>(settings_.message_bytes)});
        const ssize_t sent = ::send(socket_.get(), line.data(), line.size(), MSG_NOSIGNAL);
        if (sent != static_cast<ssize_t>(line.size())) return failed(sent < 0 ? errno : EAGAIN, now);
        due_.reset();
        owed_since_ = due + interval;
        return;
    }
    if (due_) due_ = next_on_grid(now);
    unsent_ = unacknowledged_ = settings_.message_bytes;
    if (settings_.app == App::echo) answer_bytes_ = settings_.message_bytes;
    write_unsent(now);
}

void Client::write_unsent(Instant now) {
    std::array<std::byte, 64 * 1024> chunk;
    while (unsent_ != 0) {
        const auto bytes = std::span(chunk).first(std::min(unsent_, chunk.size()));
        fill_pattern(number_, sent_, bytes);
        const ssize_t taken = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (taken < 0 && errno == EINTR) continue;
        if (taken < 0 && errno == EAGAIN) return;
        if (taken < 0) return failed(errno, now);
        sent_ += static_cast<std::uint64_t>(taken);
        unsent_ -= static_cast<std::size_t>(taken);
    }
}

void Client::read_all(Instant now, std::span<std::byte> scratch) {
    // Bounded, so that one connection does not hold up the others.
    for (int reads = 0; reads < 16 && !over(); ++reads) {
        Instant arrived = now;
        const ssize_t count = receive(socket_.get(), scratch, arrived);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0 && errno == EAGAIN) return;
        if (count < 0) return failed(errno, now);
        if (count == 0) return peer_fin(now);
        took(scratch.first(static_cast<std::size_t>(count)), arrived, now);
        if (static_cast<std::size_t>(count) < scratch.size()) return;
    }
}

void Client::took(std::span<const std::byte> bytes, Instant arrived, Instant now) {
    receipts.received(owed_since_.value_or(now), arrived, now);
    const std::uint64_t lines_before = ticker_ == nullptr ? 0 : ticker_->lines();
    check_->check(bytes);
    if (ticker_ != nullptr) {
        const std::uint64_t lines = ticker_->lines() - lines_before;
        messages_ += lines;
        if (outcome_ != Outcome::open || lines == 0) return;
        // Lines come on the server's schedule; the earliest that the next one can be due by what was seen.
        const Duration interval = settings_.interval.value_or(idle_ticker_interval);
        owed_since_ =
            std::min(now, *owed_since_ + interval * static_cast<Duration::rep>(lines - 1)) + interval;
        if (finishing_) half_close(now);
        return;
    }
    if (settings_.app != App::echo) return;
    answer_bytes_ -= std::min<std::uint64_t>(answer_bytes_, bytes.size());
    if (owed_since_ && answer_bytes_ == 0 && unsent_ == 0 && outcome_ == Outcome::open) answered(now);
}

void Client::poll_acknowledged(Instant now) {
    if (settings_.app != App::discard || outcome_ != Outcome::open || !owed_since_) return;
    int queued = 0;
    if (::ioctl(socket_.get(), SIOCOUTQ, &queued) != 0) return;
    const std::size_t left = unsent_ + static_cast<std::size_t>(queued);
    if (left < unacknowledged_) shrank_at_ = now;
    unacknowledged_ = left;
    if (left != 0) return;
    receipts.received(*owed_since_, acknowledged_at_.value_or(now), now);
    acknowledged_ = sent_;
    acknowledged_at_.reset();
    answered(now);
}

void Client::answered(Instant now) {
    ++messages_;
    owed_since_.reset();
    if (finishing_)
        half_close(now);
    else
        send_due(now);
}

void Client::finish(Instant now) {
    finishing_ = true;
    if (outcome_ != Outcome::open) return;
    const bool idle = !settings_.interval;
    if (idle && messages_ == 0 && !owed_since_) return start_message(now, now);
    due_.reset();
    if (ticker_ != nullptr || !owed_since_) half_close(now);
}

void Client::half_close(Instant now) {
    if (::shutdown(socket_.get(), SHUT_WR) != 0) return failed(errno, now);
    outcome_ = Outcome::closing;
    // A line that the ticker owes it goes on owing: its FIN comes after it.
    owed_since_ = std::min(now, owed_since_.value_or(now));
}

void Client::peer_fin(Instant now) {
    const bool complete = outcome_ == Outcome::closing && (ticker_ == nullptr || ticker_->at_line_end());
    if (!complete) error_ = "the server closed the connection";
    end(complete ? Outcome::finished : Outcome::closed_early, now);
}

void Client::failed(int error, Instant now) {
    error_ = std::strerror(error);
    end(outcome_ == Outcome::connecting ? Outcome::connect_failed : Outcome::reset, now);
}

std::optional<Instant> Client::waiting_since() const {
    // While closing only the FIN is owed, whatever else comes.
    if (!owed_since_ || outcome_ != Outcome::open) return owed_since_;
    return std::max(
        {*owed_since_, receipts.last().value_or(*owed_since_), shrank_at_.value_or(*owed_since_)});
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
    tcp_info info{};
    socklen_t length = sizeof info;
    if (::getsockopt(socket_.get(), IPPROTO_TCP, TCP_INFO, &info, &length) == 0)
        retransmissions_ = info.tcpi_total_retrans;
    // A connection that hangs is not left to the kernel's time-outs.
    if (outcome == Outcome::stalled) {
        const linger abort{.l_onoff = 1, .l_linger = 0};
        ::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
    }
    socket_ = {};
}

// Empties the error queue; the kernel's time of the newest acknowledgement in it.
std::optional<Instant> Client::read_acknowledged_at() {
    std::array<std::byte, 512> control;
    std::optional<Instant> newest;
    for (int messages = 0; messages < 64; ++messages) {
        msghdr message{};
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        if (::recvmsg(socket_.get(), &message, MSG_ERRQUEUE) < 0) break;
        if (const auto stamp = kernel_time(message, SCM_TIMESTAMPING)) newest = stamp;
    }
    return newest;
}

}  // namespace understudy::load
