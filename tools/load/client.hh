// One connection of the load: what it sends, when, and what became of it.
//
// Closed loop: one message is outstanding at most. Echo: a message is answered when all of it came back.
// Discard: when the kernel has seen all of it acknowledged. Ticker: the subscription is the only message
// sent; every line counts as an answer, and one is owed each interval.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "stack/address.hh"
#include "tools/load/answer_check.hh"
#include "tools/load/receipts.hh"
#include "tools/twin/descriptor.hh"

namespace understudy::load {

struct ClientSettings {
    stack::Endpoint server;
    App app = App::echo;
    std::size_t message_bytes = 75;
    // Time between two messages; nothing: open and idle, one exchange at the end.
    std::optional<Duration> interval = std::chrono::milliseconds(20);
};

enum class Outcome : std::uint8_t {
    connecting,
    open,
    closing,         // everything is answered, FIN sent
    finished,        // the server's FIN came after everything was answered
    connect_failed,  // refused, unreachable, or no answer in time
    reset,           // RST, or given up by the kernel
    closed_early,    // the server's FIN came before ours
    stalled,         // owed something for too long at the end
};
const char* to_string(Outcome outcome);

class Client {
  public:
    Client(const ClientSettings& settings, std::uint32_t number);

    // Starts to connect. False: it failed at once. Throws std::system_error when there is no socket to be
    // had.
    bool connect(Instant now);
    // Something is ready (EPOLL* bits). `scratch` is room for one read.
    void ready(std::uint32_t events, Instant now, std::span<std::byte> scratch);
    // Traffic may begin: the first message is due at `due`.
    void begin(Instant due);
    // The next message is due. Does nothing while one is outstanding; it then follows the answer.
    void send_due(Instant now);
    // When send_due() is wanted next; nothing while something is outstanding.
    std::optional<Instant> next_due() const;
    // No further messages but the one that an idle connection makes to show that it lives.
    void finish(Instant now);
    // Asks the kernel whether what discard sent is acknowledged.
    void poll_acknowledged(Instant now);
    // Ends a connection that has been waiting since `since` or longer: it stalled, or could not connect.
    void give_up(Instant since, Instant now);

    int descriptor() const { return socket_.get(); }
    Outcome outcome() const { return outcome_; }
    bool over() const { return outcome_ >= Outcome::finished; }
    // Since when an answer, an acknowledgement or a FIN is owed.
    std::optional<Instant> owed_since() const { return owed_since_; }
    // Since when it is owed something and nothing of it came: a slow answer that keeps coming is no stall.
    std::optional<Instant> waiting_since() const;
    bool wants_write() const { return outcome_ == Outcome::connecting || unsent_ != 0; }
    // EPOLL* bits that the descriptor is watched for now; kept here for whoever watches it.
    std::uint32_t watched_events = 0;

    std::uint32_t number() const { return number_; }
    std::uint16_t local_port() const { return local_port_; }
    std::optional<Instant> opened_at() const { return opened_at_; }
    std::optional<Instant> ended_at() const { return ended_at_; }
    std::uint64_t messages() const { return messages_; }
    std::uint64_t checked_bytes() const { return check_->checked_bytes() + acknowledged_; }
    std::uint64_t wrong_bytes() const { return check_->wrong_bytes(); }
    std::optional<std::uint64_t> first_wrong() const { return check_->first_wrong(); }
    std::uint32_t retransmissions() const { return retransmissions_; }
    const std::string& error() const { return error_; }
    ReceiptHistory receipts;

  private:
    void opened(Instant now);
    void start_message(Instant due, Instant now);
    void write_unsent(Instant now);
    void read_all(Instant now, std::span<std::byte> scratch);
    void took(std::span<const std::byte> bytes, Instant arrived, Instant now);
    void answered(Instant now);
    void half_close(Instant now);
    void peer_fin(Instant now);
    void failed(int error, Instant now);
    void end(Outcome outcome, Instant now);
    std::optional<Instant> read_acknowledged_at();
    // Undefined for an idle connection.
    Instant next_on_grid(Instant now) const;

    const ClientSettings& settings_;
    std::uint32_t number_;
    Outcome outcome_ = Outcome::connecting;
    twin::Descriptor socket_;
    std::uint16_t local_port_ = 0;
    std::unique_ptr<AnswerCheck> check_;
    TickerCheck* ticker_ = nullptr;  // check_, for the ticker

    std::optional<Instant> opened_at_;
    std::optional<Instant> ended_at_;
    std::optional<Instant> due_;         // next message
    std::optional<Instant> owed_since_;  // message outstanding
    bool finishing_ = false;
    std::uint64_t sent_ = 0;                  // stream bytes handed to the kernel
    std::size_t unsent_ = 0;                  // of the outstanding message
    std::uint64_t answer_bytes_ = 0;          // still to come back
    std::uint64_t acknowledged_ = 0;          // discard
    std::optional<Instant> acknowledged_at_;  // discard: the newest acknowledgement
    std::size_t unacknowledged_ = 0;          // discard: of the outstanding message, when last looked at
    std::optional<Instant> shrank_at_;        // discard: when that became less
    std::uint64_t messages_ = 0;
    std::uint32_t retransmissions_ = 0;
    std::string error_;
};

}  // namespace understudy::load
