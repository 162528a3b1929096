// How long clients wait for their answers when a silent stack is promoted: every one of them has a request
// that the primary acknowledged and did not answer, and meanwhile others go on to speak.
#include <algorithm>
#include <chrono>
#include <cstdlib>

#include <benchmark/benchmark.h>

#include "bench/clients.hh"
#include "stack/stack.hh"
#include "stack/wire/tcp.hh"

namespace understudy::bench {
namespace {

using namespace std::chrono_literals;
using stack::Duration;
using stack::Instant;
using stack::wire::TcpFlags;

constexpr std::uint32_t request_bytes = 75;
constexpr std::size_t room_for_spare_clients = 1024;
constexpr Duration give_up_after = 10s;
// What any frame that carries an answer is longer than, and no other of ours is.
constexpr std::size_t longest_without_payload = 14 + 20 + 60;

Instant read_clock() {
    return Instant(std::chrono::steady_clock::now().time_since_epoch());
}

// A silent stack with an echoing application over a port in memory.
class Replica final : private stack::FrameSink, private stack::ConnectionEvents, private stack::RandomSource {
  public:
    explicit Replica(std::size_t connections)
        : clients_(connections), stack_(settings_for(connections), *this, *this, *this) {
        for (std::size_t i = 0; i < connections; ++i) {
            clients_[i].seq = static_cast<std::uint32_t>(next());
            mirror_client(i, TcpFlags::syn, 0);
            clients_[i].ack = static_cast<std::uint32_t>(next());
            mirror_primary(i, TcpFlags::syn | TcpFlags::ack);
            mirror_client(i, TcpFlags::ack, 0);
            mirror_client(i, TcpFlags::ack | TcpFlags::psh, request_bytes);
            mirror_primary(i, TcpFlags::ack);
        }
    }

    struct Times {
        Duration first_frame{};  // from the decision on
        Duration all_answered{};
        Duration longest_turn{};  // for so long what arrives has to wait
        std::size_t promoted = 0;
        bool complete = false;
    };
    Times take_over() {
        Times times;
        decided_at_ = read_clock();
        times.promoted = stack_.promote(decided_at_).promoted;
        Instant turn_began = decided_at_;
        std::size_t speaker = 0;
        for (;;) {
            const Instant now = read_clock();
            times.longest_turn = std::max(times.longest_turn, now - turn_began);
            times.complete = answers_ >= clients_.size();
            if (times.complete || now - decided_at_ > give_up_after) break;
            turn_began = now;
            // Those who speak meanwhile acknowledge what they got.
            for (std::size_t i = 0; i < burst_size; ++i)
                receive(stack::Source::service,
                        clients_.segment(frame_, speaker++ % clients_.size(), TcpFlags::ack, 0, tsval()));
            stack_.advance(now);
        }
        times.first_frame = first_frame_at_ - decided_at_;
        times.all_answered = last_answer_at_ - decided_at_;
        return times;
    }

  private:
    static stack::Settings settings_for(std::size_t connections) {
        stack::Settings settings;
        settings.services = {service};
        settings.link_address = service_link;
        settings.max_connections = static_cast<std::uint32_t>(connections + room_for_spare_clients);
        return settings;
    }
    std::uint32_t tsval() const { return static_cast<std::uint32_t>(read_clock().time_since_epoch() / 1ms); }
    void receive(stack::Source source, std::span<const std::byte> frame) {
        const stack::ReceivedFrame received{source, frame, static_cast<std::uint32_t>(frame.size())};
        stack_.receive(std::span(&received, 1), read_clock());
    }
    void mirror_client(std::size_t i, std::uint8_t flags, std::uint32_t length) {
        receive(stack::Source::tap_from_client, clients_.segment(frame_, i, flags, length, tsval()));
    }
    void mirror_primary(std::size_t i, std::uint8_t flags) {
        receive(stack::Source::tap_from_primary, clients_.primary_segment(frame_, i, flags, tsval()));
    }

    std::span<std::byte> reserve(std::size_t length) override {
        reserved_ = length;
        return std::span(out_).first(length);
    }
    void commit() override {
        if (first_frame_at_ == Instant{}) first_frame_at_ = read_clock();
        if (reserved_ <= longest_without_payload) return;
        if (++answers_ == clients_.size()) last_answer_at_ = read_clock();
    }
    std::uint64_t next() override { return random_ = random_ * 6364136223846793005 + 1442695040888963407; }
    void accepted(stack::ConnectionId, const stack::Endpoint&, const stack::Endpoint&) override {}
    void connected(stack::ConnectionId) override {}
    std::size_t received(stack::ConnectionId id, std::span<const std::byte> bytes) override {
        stack_.send(id, bytes, read_clock());
        return bytes.size();
    }
    void peer_closed(stack::ConnectionId) override {}
    void writable(stack::ConnectionId) override {}
    void closed(stack::ConnectionId, stack::CloseReason) override {}

    Clients clients_;
    std::array<std::byte, max_frame> frame_{};
    std::array<std::byte, max_frame> out_{};
    std::size_t reserved_ = 0;
    std::uint64_t random_ = 1;
    Instant decided_at_{};
    Instant first_frame_at_{};
    Instant last_answer_at_{};
    std::size_t answers_ = 0;
    stack::Stack stack_;
};

double in_us(Duration duration) {
    return static_cast<double>(duration.count()) / 1e3;
}

void takeover(benchmark::State& state) {
    const auto connections = static_cast<std::size_t>(state.range(0));
    Replica::Times worst;
    for (auto _ : state) {
        Replica replica(connections);
        const Replica::Times times = replica.take_over();
        if (!times.complete || times.promoted != connections) {
            state.SkipWithError("not every client got its answer");
            return;
        }
        state.SetIterationTime(in_us(times.all_answered) / 1e6);
        worst.first_frame = std::max(worst.first_frame, times.first_frame);
        worst.longest_turn = std::max(worst.longest_turn, times.longest_turn);
    }
    state.counters["first_frame_us"] = in_us(worst.first_frame);
    state.counters["longest_turn_us"] = in_us(worst.longest_turn);
}
BENCHMARK(takeover)
    ->Arg(1)
    ->Arg(1000)
    ->Arg(100'000)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(3);

}  // namespace
}  // namespace understudy::bench

BENCHMARK_MAIN();
