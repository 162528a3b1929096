#include "tests/interop/transfer.hh"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

namespace understudy::interop {
namespace {

using shadow_app::CloseReason;
using shadow_app::Connection;

constexpr std::uint32_t magic = 0x5553494f;  // "USIO"
// Each direction has its own bytes: a stack that sends back what came in is found out.
constexpr std::uint64_t down_key = 0x5555;

template <typename T>
std::size_t put(std::span<std::byte> out, std::size_t at, T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i)
        out[at + i] = static_cast<std::byte>(value >> (8 * (sizeof(T) - 1 - i)));
    return at + sizeof(T);
}

template <typename T>
std::size_t get(std::span<const std::byte> in, std::size_t at, T& value) {
    std::uint64_t read = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i)
        read = read << 8 | static_cast<std::uint8_t>(in[at + i]);
    value = static_cast<T>(read);
    return at + sizeof(T);
}

// Writes a pattern, as much as there is room for.
class PatternWriter {
  public:
    PatternWriter(std::uint64_t key, std::uint64_t bytes) : pattern_(key), bytes_(bytes) {}

    std::uint64_t sent() const { return sent_; }
    bool is_done() const { return sent_ == bytes_; }
    void write_on(Connection& connection) {
        std::array<std::byte, 32 * 1024> buffer;
        while (!is_done()) {
            const auto count =
                static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), bytes_ - sent_));
            const auto chunk = std::span(buffer).first(count);
            pattern_.fill(sent_, chunk);
            const std::size_t taken = connection.write(chunk);
            sent_ += taken;
            if (taken < count) return;
        }
    }

  private:
    Pattern pattern_;
    std::uint64_t bytes_;
    std::uint64_t sent_ = 0;
};

class PatternReader {
  public:
    PatternReader(std::uint64_t key, std::uint64_t bytes) : pattern_(key), bytes_(bytes) {}

    std::uint64_t received() const { return received_; }
    std::uint64_t missing() const { return bytes_ - received_; }
    std::optional<std::uint64_t> first_wrong() const { return first_wrong_; }
    void judge(std::span<const std::byte> bytes) {
        if (!first_wrong_) first_wrong_ = pattern_.first_difference(received_, bytes);
        received_ += bytes.size();
    }
    std::uint64_t right() const { return first_wrong_.value_or(received_); }

  private:
    Pattern pattern_;
    std::uint64_t bytes_;
    std::uint64_t received_ = 0;
    std::optional<std::uint64_t> first_wrong_;
};

// Takes part of what is offered, and sets a timer for the rest.
class Reader {
  public:
    std::span<const std::byte> portion(Connection& connection, const Pace& pace,
                                       std::span<const std::byte> bytes) {
        if (paused_) return {};
        if (pace.reads_bytes == 0) return bytes;
        paused_ = true;
        connection.set_timer(std::chrono::microseconds(pace.pause_us));
        return bytes.first(std::min<std::size_t>(bytes.size(), pace.reads_bytes));
    }
    void resume(Connection& connection) {
        paused_ = false;
        connection.resume_receive();
    }

  private:
    bool paused_ = false;
};

// Bytes of a fixed number that come in pieces.
template <std::size_t Size>
class Collector {
  public:
    // Returns how many of `bytes` belong to it.
    std::size_t take(std::span<const std::byte> bytes) {
        const std::size_t count = std::min(bytes.size(), Size - count_);
        std::copy_n(bytes.begin(), count, bytes_.begin() + static_cast<std::ptrdiff_t>(count_));
        count_ += count;
        return count;
    }
    bool is_full() const { return count_ == Size; }
    const std::array<std::byte, Size>& bytes() const { return bytes_; }

  private:
    std::array<std::byte, Size> bytes_{};
    std::size_t count_ = 0;
};

struct ServerState final : shadow_app::ConnectionState {
    Collector<Request::bytes> header;
    std::optional<Request> request;
    std::optional<PatternReader> in;
    std::optional<PatternWriter> out;
    Reader reader;
    bool peer_closed = false;
    std::optional<std::array<std::byte, receipt_bytes>> receipt;
    std::size_t receipt_sent = 0;
    bool is_aborted = false;
    std::string fault;
};

struct ClientState final : shadow_app::ConnectionState {
    ClientState(const Request& request)
        : out(request.key, request.up_bytes), in(request.key ^ down_key, request.down_bytes) {}

    PatternWriter out;
    PatternReader in;
    Collector<receipt_bytes> receipt;
    Reader reader;
    bool is_aborted = false;
    std::string fault;
};

ServerState& server_state(Connection& connection) {
    return static_cast<ServerState&>(*connection.state);
}
ClientState& client_state(Connection& connection) {
    return static_cast<ClientState&>(*connection.state);
}

void note(std::string& fault, std::string what) {
    if (fault.empty()) fault = std::move(what);
}

// Goes on with the answer; the receipt and FIN follow the client's FIN.
void answer(Connection& connection, ServerState& s) {
    if (!s.request || s.is_aborted || s.receipt_sent == receipt_bytes) return;
    if (!s.request->has(Request::answer_last) || s.peer_closed) s.out->write_on(connection);
    if (!s.out->is_done() || !s.peer_closed) return;
    if (!s.receipt) {
        s.receipt.emplace();
        put(*s.receipt, put(*s.receipt, 0, s.in->received()), s.in->right());
    }
    s.receipt_sent += connection.write(std::span(*s.receipt).subspan(s.receipt_sent));
    if (s.receipt_sent == receipt_bytes) connection.shutdown_write();
}

void judge_request(Connection& connection, ServerState& s) {
    s.request = decode(s.header.bytes());
    if (!s.request) {
        note(s.fault, "what came first is no request");
        s.is_aborted = true;
        connection.abort();
        return;
    }
    s.in.emplace(s.request->key, s.request->up_bytes);
    s.out.emplace(s.request->key ^ down_key, s.request->down_bytes);
}

}  // namespace

std::array<std::byte, Request::bytes> encode(const Request& request) {
    std::array<std::byte, Request::bytes> bytes;
    std::size_t at = put(bytes, 0, magic);
    at = put(bytes, at, request.flags);
    at = put(bytes, at, request.up_bytes);
    at = put(bytes, at, request.down_bytes);
    at = put(bytes, at, request.key);
    at = put(bytes, at, request.server_reads_bytes);
    put(bytes, at, request.server_pause_us);
    return bytes;
}

std::optional<Request> decode(std::span<const std::byte, Request::bytes> bytes) {
    Request request;
    std::uint32_t read_magic = 0;
    std::size_t at = get(bytes, 0, read_magic);
    if (read_magic != magic) return std::nullopt;
    at = get(bytes, at, request.flags);
    at = get(bytes, at, request.up_bytes);
    at = get(bytes, at, request.down_bytes);
    at = get(bytes, at, request.key);
    at = get(bytes, at, request.server_reads_bytes);
    get(bytes, at, request.server_pause_us);
    return request;
}

void TransferServer::accepted(Connection& connection) {
    connection.state = std::make_unique<ServerState>();
}

std::size_t TransferServer::received(Connection& connection, std::span<const std::byte> bytes) {
    ServerState& s = server_state(connection);
    std::size_t taken = 0;
    if (!s.request) {
        taken = s.header.take(bytes);
        if (!s.header.is_full()) return taken;
        judge_request(connection, s);
        if (!s.request) return bytes.size();
    }
    const auto portion = s.reader.portion(
        connection, {s.request->server_reads_bytes, s.request->server_pause_us}, bytes.subspan(taken));
    s.in->judge(portion);
    taken += portion.size();
    if (s.request->has(Request::reset_by_server) && s.in->missing() == 0) {
        s.is_aborted = true;
        connection.abort();
        return bytes.size();
    }
    answer(connection, s);
    return taken;
}

void TransferServer::peer_closed(Connection& connection) {
    ServerState& s = server_state(connection);
    s.peer_closed = true;
    if (!s.request) note(s.fault, "FIN before the request was whole");
    if (s.request)
        answer(connection, s);
    else
        connection.shutdown_write();
}

void TransferServer::writable(Connection& connection) {
    answer(connection, server_state(connection));
}

void TransferServer::timer(Connection& connection) {
    server_state(connection).reader.resume(connection);
}

void TransferServer::closed(Connection& connection, CloseReason reason) {
    ServerState& s = server_state(connection);
    const bool is_reset = s.request && s.request->has(Request::reset_by_client);
    const CloseReason expected = s.is_aborted ? CloseReason::aborted
                                 : is_reset   ? CloseReason::reset_by_peer
                                              : CloseReason::finished;
    if (reason != expected)
        note(s.fault, fmt::format("ended with '{}' after {} bytes", stack::to_string(reason),
                                  s.in ? s.in->received() : 0));
    if (s.in && s.in->first_wrong())
        note(s.fault, fmt::format("wrong byte at offset {}", *s.in->first_wrong()));
    if (s.in && s.in->missing() != 0)
        note(s.fault, fmt::format("{} of {} bytes came", s.in->received(), s.request->up_bytes));
    on_outcome_({s.fault, s.in ? s.in->received() : 0, s.out ? s.out->sent() : 0});
}

void TransferClient::accepted(Connection& connection) {
    connection.state = std::make_unique<ClientState>(request_);
    const auto header = encode(request_);
    if (connection.write(header) != header.size())
        note(client_state(connection).fault, "no room for the request");
    writable(connection);
}

void TransferClient::writable(Connection& connection) {
    ClientState& s = client_state(connection);
    if (s.out.is_done() && s.out.sent() != 0) return;
    s.out.write_on(connection);
    // A reset must find the connection open.
    if (s.out.is_done() && !request_.has(Request::reset_by_client)) connection.shutdown_write();
}

std::size_t TransferClient::received(Connection& connection, std::span<const std::byte> bytes) {
    ClientState& s = client_state(connection);
    const auto portion = s.reader.portion(connection, pace_, bytes);
    const auto data =
        portion.first(static_cast<std::size_t>(std::min<std::uint64_t>(portion.size(), s.in.missing())));
    s.in.judge(data);
    const auto rest = portion.subspan(data.size());
    if (s.receipt.take(rest) != rest.size()) note(s.fault, "bytes after the receipt");
    if (request_.has(Request::reset_by_client) && s.in.received() >= request_.down_bytes / 2) {
        s.is_aborted = true;
        connection.abort();
        return bytes.size();
    }
    return portion.size();
}

void TransferClient::peer_closed(Connection& connection) {
    ClientState& s = client_state(connection);
    if (s.in.missing() != 0) note(s.fault, fmt::format("FIN after {} bytes", s.in.received()));
    connection.shutdown_write();
}

void TransferClient::timer(Connection& connection) {
    client_state(connection).reader.resume(connection);
}

void TransferClient::closed(Connection& connection, CloseReason reason) {
    if (connection.state == nullptr) {
        on_outcome_({fmt::format("not established: {}", stack::to_string(reason)), 0, 0});
        return;
    }
    ClientState& s = client_state(connection);
    const CloseReason expected = s.is_aborted                             ? CloseReason::aborted
                                 : request_.has(Request::reset_by_server) ? CloseReason::reset_by_peer
                                                                          : CloseReason::finished;
    if (reason != expected)
        note(s.fault,
             fmt::format("ended with '{}' after {} bytes", stack::to_string(reason), s.in.received()));
    if (s.in.first_wrong()) note(s.fault, fmt::format("wrong byte at offset {}", *s.in.first_wrong()));
    if (expected == CloseReason::finished && s.fault.empty()) {
        std::uint64_t received = 0, right = 0;
        get(s.receipt.bytes(), get(s.receipt.bytes(), 0, received), right);
        if (!s.receipt.is_full())
            note(s.fault, "no receipt");
        else if (received != request_.up_bytes || right != received)
            note(s.fault, fmt::format("the server read {} bytes, {} of them right, of {}", received, right,
                                      request_.up_bytes));
    }
    on_outcome_({s.fault, s.in.received(), s.out.sent()});
}

}  // namespace understudy::interop
