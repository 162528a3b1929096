#include "tools/load/datagram_client.hh"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "shadow_app/pattern.hh"
#include "tools/load/timed_receive.hh"
#include "tools/twin/socket_address.hh"

namespace understudy::load {
namespace {

constexpr std::size_t number_bytes = DatagramClient::least_message_bytes;

std::uint64_t number_of(std::span<const std::byte> datagram) {
    std::uint64_t number = 0;
    for (const std::byte byte : datagram.first(number_bytes))
        number = number << 8 | std::to_integer<std::uint64_t>(byte);
    return number;
}

}  // namespace

bool DatagramClient::connect(Instant now) {
    open_socket(SOCK_DGRAM, 0);
    twin::SocketAddress server = twin::to_socket_address(settings_.server);
    // Datagrams of others never reach this socket.
    if (::connect(socket_.get(), server.get(), server.length) != 0) {
        failed(errno, now);
        return false;
    }
    note_open(now);
    return true;
}

void DatagramClient::fill_request(std::uint64_t request, std::span<std::byte> out) const {
    shadow_app::fill_pattern(number_, (request - 1) * settings_.message_bytes, out);
    for (std::size_t i = 0; i < number_bytes; ++i)
        out[i] = static_cast<std::byte>(request >> (8 * (number_bytes - 1 - i)));
}

void DatagramClient::start_message(Instant due, Instant now) {
    owed_since_ = due;
    if (due_) skip_to_grid(now);
    ++requests_;
    timeout_ = settings_.retransmit_after;
    transmit(now);
}

void DatagramClient::transmit(Instant now) {
    repeat_at_ = now + timeout_;
    std::vector<std::byte> request(settings_.message_bytes);
    fill_request(requests_, request);
    const ssize_t sent = ::send(socket_.get(), request.data(), request.size(), MSG_NOSIGNAL);
    // A full queue loses a datagram as the network does.
    if (sent < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS) failed(errno, now);
}

std::optional<Instant> DatagramClient::next_due() const {
    if (outcome_ == Outcome::open && owed_since_) return repeat_at_;
    return Client::next_due();
}

void DatagramClient::send_due(Instant now) {
    if (outcome_ != Outcome::open || !owed_since_) return Client::send_due(now);
    if (now < repeat_at_) return;
    ++retransmissions_;
    timeout_ = std::min(2 * timeout_, settings_.retransmit_at_most_after);
    transmit(now);
}

void DatagramClient::ready(std::uint32_t /*events*/, Instant now, std::span<std::byte> scratch) {
    // Bounded, so that one client does not hold up the others.
    for (int reads = 0; reads < 16 && !over(); ++reads) {
        Instant arrived = now;
        const ssize_t count = receive(socket_.get(), scratch, arrived);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0 && errno == EAGAIN) return;
        if (count < 0) return failed(errno, now);
        took(scratch.first(static_cast<std::size_t>(count)), arrived, now);
    }
}

void DatagramClient::took(std::span<const std::byte> answer, Instant arrived, Instant now) {
    const std::uint64_t request = answer.size() == settings_.message_bytes ? number_of(answer) : 0;
    if (request == 0 || request > requests_) {
        // Of no request.
        if (!first_wrong_) first_wrong_ = checked_bytes_;
        checked_bytes_ += answer.size();
        wrong_bytes_ += std::max<std::size_t>(answer.size(), 1);
        return;
    }
    check(answer, request);
    if (request != requests_ || !owed_since_) {
        ++repeated_answers_;
        return;
    }
    receipts.received(*owed_since_, arrived, now);
    answered(now);
}

void DatagramClient::check(std::span<const std::byte> answer, std::uint64_t request) {
    std::vector<std::byte> expected(answer.size());
    fill_request(request, expected);
    checked_bytes_ += answer.size();
    for (std::size_t i = 0; i < answer.size(); ++i) {
        if (answer[i] == expected[i]) continue;
        ++wrong_bytes_;
        if (!first_wrong_) first_wrong_ = (request - 1) * settings_.message_bytes + i;
    }
}

void DatagramClient::answered(Instant now) {
    ++messages_;
    owed_since_.reset();
    if (finishing_)
        end(Outcome::finished, now);
    else
        Client::send_due(now);
}

void DatagramClient::finish(Instant now) {
    finishing_ = true;
    if (outcome_ != Outcome::open || owed_since_) return;
    if (!settings_.interval && messages_ == 0) return start_message(now, now);
    end(Outcome::finished, now);
}

}  // namespace understudy::load
