#include "tools/load/stream_client.hh"

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
#include <system_error>

#include "shadow_app/pattern.hh"
#include "shadow_app/source.hh"
#include "shadow_app/ticker.hh"
#include "tools/load/timed_receive.hh"
#include "tools/twin/socket_address.hh"

namespace understudy::load {
namespace {

// An idle ticker connection asks for lines this far apart when it shows at the end that it lives.
constexpr Duration idle_ticker_interval = std::chrono::milliseconds(10);

// More than a path holds whose answer takes a second at a few hundred Mbit/s: a source never runs dry.
constexpr std::uint64_t asked_ahead_bytes = 4 << 20;

std::unique_ptr<AnswerCheck> make_check(const ClientSettings& settings, std::uint32_t number) {
    switch (settings.app) {
        case App::echo:
        case App::source:
            return std::make_unique<PatternCheck>(number);
        case App::discard:
            return std::make_unique<DiscardCheck>();
        case App::ticker:
            return std::make_unique<TickerCheck>(static_cast<std::uint32_t>(settings.message_bytes));
        case App::udp_echo:
            break;
    }
    return nullptr;
}

}  // namespace

StreamClient::StreamClient(const ClientSettings& settings, std::uint32_t number)
    : Client(settings, number), check_(make_check(settings, number)) {
    if (settings.app == App::ticker) ticker_ = static_cast<TickerCheck*>(check_.get());
}

bool StreamClient::connect(Instant now) {
    twin::SocketAddress server = twin::to_socket_address(settings_.server);
    open_socket(SOCK_STREAM, IPPROTO_TCP);
    set_option(IPPROTO_TCP, TCP_NODELAY, 1);
    owed_since_ = now;
    if (::connect(socket_.get(), server.get(), server.length) == 0) {
        opened(now);
        return true;
    }
    if (errno == EINPROGRESS) return true;
    failed(errno, now);
    return false;
}

void StreamClient::opened(Instant now) {
    note_open(now);
    // Nothing else tells a program that its bytes are acknowledged: the kernel wakes it through the error
    // queue. Only for a connected socket.
    if (settings_.app == App::discard)
        set_option(SOL_SOCKET, SO_TIMESTAMPING,
                   SOF_TIMESTAMPING_TX_ACK | SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_OPT_ID |
                       SOF_TIMESTAMPING_OPT_TSONLY);
}

void StreamClient::ready(std::uint32_t events, Instant now, std::span<std::byte> scratch) {
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
    if ((events & EPOLLOUT) != 0 && !over()) write_requests(now);
}

void StreamClient::start_message(Instant due, Instant now) {
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
    if (settings_.app == App::source) {
        due_.reset();
        return ask_ahead(now);
    }
    if (due_) skip_to_grid(now);
    unsent_ = unacknowledged_ = settings_.message_bytes;
    if (settings_.app == App::echo) answer_bytes_ = settings_.message_bytes;
    write_unsent(now);
}

void StreamClient::write_unsent(Instant now) {
    std::array<std::byte, 64 * 1024> chunk;
    while (unsent_ != 0) {
        const auto bytes = std::span(chunk).first(std::min(unsent_, chunk.size()));
        shadow_app::fill_pattern(number_, sent_, bytes);
        const ssize_t taken = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (taken < 0 && errno == EINTR) continue;
        if (taken < 0 && errno == EAGAIN) return;
        if (taken < 0) return failed(errno, now);
        sent_ += static_cast<std::uint64_t>(taken);
        unsent_ -= static_cast<std::size_t>(taken);
    }
}

// One block where nothing was asked for yet and the end has come: it shows that the server lives.
void StreamClient::ask_ahead(Instant now) {
    const std::uint64_t block = settings_.message_bytes;
    const std::uint64_t ahead = finishing_ ? block : std::max(asked_ahead_bytes, 2 * block);
    for (; answer_bytes_ + block <= ahead; answer_bytes_ += block)
        unsent_requests_ += shadow_app::format_source_request({block, number_});
    write_requests(now);
}

void StreamClient::write_requests(Instant now) {
    if (unsent_requests_.empty()) return;
    const ssize_t taken =
        ::send(socket_.get(), unsent_requests_.data(), unsent_requests_.size(), MSG_NOSIGNAL);
    if (taken < 0 && errno != EAGAIN && errno != EINTR) return failed(errno, now);
    if (taken > 0) unsent_requests_.erase(0, static_cast<std::size_t>(taken));
}

void StreamClient::took_blocks(Instant now) {
    messages_ = check_->checked_bytes() / settings_.message_bytes;
    if (outcome_ != Outcome::open) return;
    if (!finishing_) ask_ahead(now);
    if (over()) return;
    owed_since_ = now;
    if (answer_bytes_ == 0) half_close(now);
}

void StreamClient::read_all(Instant now, std::span<std::byte> scratch) {
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

void StreamClient::took(std::span<const std::byte> bytes, Instant arrived, Instant now) {
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
    answer_bytes_ -= std::min<std::uint64_t>(answer_bytes_, bytes.size());
    if (settings_.app == App::source) return took_blocks(now);
    if (settings_.app != App::echo) return;
    if (owed_since_ && answer_bytes_ == 0 && unsent_ == 0 && outcome_ == Outcome::open) answered(now);
}

void StreamClient::poll_acknowledged(Instant now) {
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

void StreamClient::answered(Instant now) {
    ++messages_;
    owed_since_.reset();
    if (finishing_)
        half_close(now);
    else
        send_due(now);
}

void StreamClient::finish(Instant now) {
    finishing_ = true;
    if (outcome_ != Outcome::open) return;
    const bool idle = !settings_.interval;
    if (idle && messages_ == 0 && !owed_since_) return start_message(now, now);
    due_.reset();
    if (ticker_ != nullptr || !owed_since_) half_close(now);
}

void StreamClient::half_close(Instant now) {
    if (::shutdown(socket_.get(), SHUT_WR) != 0) return failed(errno, now);
    outcome_ = Outcome::closing;
    // A line that the ticker owes it goes on owing: its FIN comes after it.
    owed_since_ = std::min(now, owed_since_.value_or(now));
}

void StreamClient::peer_fin(Instant now) {
    const bool complete = outcome_ == Outcome::closing && (ticker_ == nullptr || ticker_->at_line_end());
    if (!complete) error_ = "the server closed the connection";
    end(complete ? Outcome::finished : Outcome::closed_early, now);
}

std::optional<Instant> StreamClient::waiting_since() const {
    const auto since = Client::waiting_since();
    if (!since || outcome_ != Outcome::open) return since;
    return std::max(*since, shrank_at_.value_or(*since));
}

void StreamClient::closing_socket() {
    tcp_info info{};
    socklen_t length = sizeof info;
    if (::getsockopt(socket_.get(), IPPROTO_TCP, TCP_INFO, &info, &length) == 0)
        retransmissions_ = info.tcpi_total_retrans;
    // A connection that hangs is not left to the kernel's time-outs.
    if (outcome_ == Outcome::stalled) {
        const linger abort{.l_onoff = 1, .l_linger = 0};
        ::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
    }
}

// Empties the error queue; the kernel's time of the newest acknowledgement in it.
std::optional<Instant> StreamClient::read_acknowledged_at() {
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
