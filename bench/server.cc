#include "bench/server.hh"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "bench/allocations.hh"
#include "stack/wire/tcp.hh"

namespace understudy::bench {
namespace {

using namespace std::chrono_literals;
using stack::wire::TcpFlags;

// How far the stack's time moves with each turn: a core that is busy.
constexpr auto turn_time = 5us;
constexpr std::size_t send_chunk = 64 * 1024;

stack::Settings settings_for(std::size_t connections) {
    stack::Settings settings;
    settings.services = {service};
    settings.link_address = service_link;
    settings.initial_mode = stack::Mode::master;
    settings.max_connections = static_cast<std::uint32_t>(connections + 2 * batch_size);
    settings.tcp.quick_acks = 0;  // not what a connection does at its start, but ever after
    return settings;
}

// Of this thread: the machine may be busy with others.
double processor_time_s() {
    timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

}  // namespace

Server::Server(std::size_t connections)
    : clients(connections), connections_(connections), buffers_(batch_size), payload_(send_chunk) {
    sends_.reserve(batch_size);
    frames_.reserve(batch_size);
}

void Server::open_all() {
    std::vector<std::size_t> which;
    which.reserve(batch_size);
    // Written once, so that nothing but the stack's own memory comes with the connections.
    for (auto& buffer : buffers_)
        buffer.fill(std::byte{1});
    const std::size_t allocated = allocated_bytes(), resident = resident_bytes();
    for (std::size_t i = 0; i < connections_; ++i) {
        which.push_back(i);
        if (which.size() == batch_size || i + 1 == connections_) {
            open(which);
            which.clear();
        }
    }
    if (opened_ != connections_) {
        std::fprintf(stderr, "%llu of %zu connections opened\n", static_cast<unsigned long long>(opened_),
                     connections_);
        std::exit(1);
    }
    // Every timer of the handshakes has fired or is gone.
    for (int i = 0; i < 1000; ++i) {
        now_ += 10ms;
        advance();
    }
    idle_allocated_bytes_ = allocated_bytes() - allocated;
    idle_resident_bytes_ = resident_bytes() - resident;
}

double Server::open(std::span<const std::size_t> which) {
    for (const std::size_t i : which) {
        clients[i] = {.seq = static_cast<std::uint32_t>(random_ += 0x9e3779b97f4a7c15), .ack = 0, .tsecr = 0};
        add_segment(i, TcpFlags::syn, 0);
    }
    handshakes_ = true;
    double seconds = poll();
    handshakes_ = false;
    for (const std::size_t i : which)
        add_segment(i, TcpFlags::ack, 0);
    seconds += poll();
    return seconds;
}

std::uint32_t Server::tsval() const {
    return static_cast<std::uint32_t>(now_.time_since_epoch() / 1ms);
}

void Server::add_segment(std::size_t client, std::uint8_t flags, std::uint32_t payload_length) {
    const auto frame = clients.segment(buffers_.at(frames_.size()), client, flags, payload_length, tsval());
    frames_.push_back({stack::Source::service, frame, static_cast<std::uint32_t>(frame.size())});
}

double Server::poll() {
    const double begin = processor_time_s();
    const std::span<const stack::ReceivedFrame> frames(frames_);
    for (std::size_t at = 0; at < std::max(frames_.size(), sends_.size()); at += burst_size) {
        now_ += turn_time;
        if (at < frames.size()) receive(frames.subspan(at, std::min(burst_size, frames.size() - at)));
        for (std::size_t i = at; i < std::min(at + burst_size, sends_.size()); ++i)
            write(sends_[i].first, std::span(payload_).first(sends_[i].second));
        advance();
    }
    const double end = processor_time_s();
    frames_.clear();
    sends_.clear();
    return end - begin;
}

std::uint64_t Server::draw() {
    return random_ += 0x9e3779b97f4a7c15;
}

std::size_t Server::random_client() {
    std::uint64_t x = draw();
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x ^= x >> 27;
    return static_cast<std::size_t>(x % connections_);
}

std::size_t Server::client_of(const stack::Endpoint& client) {
    return (client.address.v4() - 0x0b000001) * std::size_t{1 << 14} + client.port - 1024;
}

void Server::note_sent(std::span<const std::byte> frame) {
    ++frames_sent_;
    if (!handshakes_) return;
    // A SYN/ACK: its numbers are what the client goes on with.
    const std::byte* ip = frame.data() + 14;
    const auto header = stack::wire::parse_tcp(frame.subspan(34));
    const std::size_t i =
        client_of({stack::IpAddress::from_v4(stack::wire::load32(ip + 16)), header->destination_port});
    clients[i].ack = header->seq.raw() + 1;
    clients[i].tsecr = header->options.tsval;
}

UnderstudyServer::UnderstudyServer(std::size_t connections) : Server(connections), ids_(connections) {
    stack_ = std::make_unique<stack::Stack>(settings_for(connections), static_cast<stack::FrameSink&>(*this),
                                            static_cast<stack::ConnectionEvents&>(*this),
                                            static_cast<stack::RandomSource&>(*this));
    open_all();
}

std::uint64_t UnderstudyServer::refused() const {
    const stack::Counters& counters = stack_->counters();
    return counters.drop_out_of_window + counters.drop_bad_ack + counters.tcp_resets_sent;
}

std::span<std::byte> UnderstudyServer::reserve(std::size_t length) {
    reserved_ = length;
    return std::span(out_).first(length);
}

void UnderstudyServer::accepted(stack::ConnectionId id, const stack::Endpoint& client,
                                const stack::Endpoint&) {
    ids_[client_of(client)] = id;
    ++opened_;
}

std::size_t UnderstudyServer::received(stack::ConnectionId id, std::span<const std::byte> bytes) {
    bytes_received_ += bytes.size();
    if (behaviour == Behaviour::answer) stack_->send(id, bytes, now());
    return bytes.size();
}

}  // namespace understudy::bench
