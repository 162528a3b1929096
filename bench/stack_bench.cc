// What a segment costs, by the number of connections: random flows, bursts of 32, everything that a poll loop
// does around them. Times are of the stack alone: the clients' frames are made between the turns.
#include <algorithm>
#include <memory>

#include <benchmark/benchmark.h>

#include "bench/lwip_server.hh"
#include "bench/server.hh"
#include "stack/wire/tcp.hh"

namespace understudy::bench {
namespace {

using stack::wire::TcpFlags;

constexpr std::uint32_t message = 75;
constexpr std::uint8_t ack = TcpFlags::ack, data = TcpFlags::ack | TcpFlags::psh;

// One server at a time: a million connections are opened once for all measurements.
template <typename Kind>
Server& server_with(std::size_t connections) {
    static std::unique_ptr<Server> server;
    if (!server || server->connections() != connections || dynamic_cast<Kind*>(server.get()) == nullptr) {
        server.reset();
        server = std::make_unique<Kind>(connections);
    }
    return *server;
}

Server& server_with(const benchmark::State& state) {
    return server_with<UnderstudyServer>(static_cast<std::size_t>(state.range(0)));
}

// Runs turns of `turn` (which returns its seconds) and reports the time per `items` of a turn.
template <typename Turn>
void measure(benchmark::State& state, Server& server, double items, Turn turn) {
    const std::uint64_t refused = server.refused();
    for (auto _ : state)
        state.SetIterationTime(turn());
    state.counters["per_item"] = benchmark::Counter(
        items, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
    if (server.refused() != refused)
        state.SkipWithError("segments were refused: this measured something else");
}

void receive_segments(benchmark::State& state, Server& server, std::uint32_t length) {
    server.behaviour = Behaviour::discard;
    const std::uint64_t before = server.bytes_received();
    std::uint64_t added = 0;
    measure(state, server, batch_size, [&] {
        for (std::size_t i = 0; i < batch_size; ++i)
            server.add_segment(server.random_client(), data, length);
        added += batch_size * length;
        return server.poll();
    });
    if (server.bytes_received() - before != added) state.SkipWithError("bytes are missing");
}

void receive_75(benchmark::State& state) {
    receive_segments(state, server_with(state), message);
}

void receive_bulk(benchmark::State& state) {
    receive_segments(state, server_with(state), full_segment);
}

// A request of 75 bytes is answered by as many; the next request acknowledges the answer.
void request_response(benchmark::State& state, Server& server) {
    server.behaviour = Behaviour::answer;
    measure(state, server, batch_size, [&] {
        for (std::size_t i = 0; i < batch_size; ++i) {
            const std::size_t client = server.random_client();
            server.add_segment(client, data, message);
            server.clients[client].ack += message;
        }
        return server.poll();
    });
    for (std::size_t i = 0; i < server.connections(); i += batch_size) {
        for (std::size_t j = i; j < std::min(i + batch_size, server.connections()); ++j)
            server.add_segment(j, ack, 0);
        server.poll();
    }
}

void request_response(benchmark::State& state) {
    request_response(state, server_with(state));
}

void lwip_receive_75(benchmark::State& state) {
    receive_segments(state, server_with<LwipServer>(static_cast<std::size_t>(state.range(0))), message);
}

void lwip_request_response(benchmark::State& state) {
    request_response(state, server_with<LwipServer>(static_cast<std::size_t>(state.range(0))));
}

// Two full segments leave, and their acknowledgement comes back.
void send_bulk(benchmark::State& state) {
    constexpr std::uint32_t chunk = 2 * full_segment;
    Server& server = server_with(state);
    std::array<std::size_t, batch_size> busy;
    measure(state, server, 2 * batch_size, [&] {
        for (std::size_t& client : busy)
            server.send(client = server.random_client(), chunk);
        double seconds = server.poll();
        for (const std::size_t client : busy) {
            server.clients[client].ack += chunk;
            server.add_segment(client, ack, 0);
        }
        return seconds + server.poll();
    });
}

// Four segments in, three out; the other connections stay.
void connect_and_close(benchmark::State& state) {
    Server& server = server_with(state);
    server.behaviour = Behaviour::discard;
    std::vector<std::size_t> which(batch_size);
    std::size_t first = 0;
    measure(state, server, batch_size, [&] {
        for (std::size_t& client : which)
            client = first++ % server.connections();
        double seconds = 0;
        for (const std::size_t client : which)
            server.add_segment(client, TcpFlags::fin | ack, 0);
        seconds += server.poll();
        for (const std::size_t client : which) {
            ++server.clients[client].ack;
            server.add_segment(client, ack, 0);
        }
        seconds += server.poll();
        return seconds + server.open(which);
    });
}

// No time is measured.
void idle_memory(benchmark::State& state) {
    Server& server = server_with(state);
    for (auto _ : state)
        state.SetIterationTime(1e-9);
    const auto connections = static_cast<double>(server.connections());
    state.counters["allocated_per_connection"] =
        static_cast<double>(server.idle_allocated_bytes()) / connections;
    // Records lie in memory of their own, whose unit is a page: of meaning for many connections.
    state.counters["resident_per_connection"] =
        static_cast<double>(server.idle_resident_bytes()) / connections;
}

using Measurement = void (*)(benchmark::State&);

void add(const char* name, Measurement measurement, std::int64_t connections) {
    benchmark::RegisterBenchmark(name, measurement)
        ->Arg(connections)
        ->UseManualTime()
        ->Unit(benchmark::kMicrosecond);
}

void register_all() {
    constexpr std::array<std::pair<const char*, Measurement>, 6> measurements = {{
        {"idle_memory", idle_memory},
        {"receive_75", receive_75},
        {"receive_bulk", receive_bulk},
        {"request_response", request_response},
        {"send_bulk", send_bulk},
        {"connect_and_close", connect_and_close},
    }};
    for (const std::int64_t connections : {1'000, 100'000, 1'000'000})
        for (const auto& [name, measurement] : measurements)
            add(name, measurement, connections);
    // lwIP looks its connections up one by one: more of them would take minutes to open.
    for (const std::int64_t connections : {1, 1'000, 10'000}) {
        add("lwip_peer/discard/lwip", lwip_receive_75, connections);
        add("lwip_peer/discard/understudy", receive_75, connections);
        add("lwip_peer/echo/lwip", lwip_request_response, connections);
        add("lwip_peer/echo/understudy", request_response, connections);
    }
}

}  // namespace
}  // namespace understudy::bench

int main(int argc, char** argv) {
    understudy::bench::register_all();
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
}
