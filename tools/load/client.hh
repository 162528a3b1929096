// One client of the load: what it sends, when, and what became of it.
//
// Closed loop: one message is outstanding at most. What it takes for a message to be answered is the matter
// of each kind (stream_client.hh, datagram_client.hh).
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
    // Datagrams: an unanswered request is sent again after this long, then after twice as long each time, up
    // to the second.
    Duration retransmit_after = std::chrono::milliseconds(200);
    Duration retransmit_at_most_after = std::chrono::seconds(2);
};

enum class Outcome : std::uint8_t {
    connecting,
    open,
    closing,         // everything is answered, FIN sent
    finished,        // everything was answered, and over a connection the server's FIN came after it
    connect_failed,  // refused, unreachable, or no answer in time
    reset,           // RST, port unreachable, or given up by the kernel
    closed_early,    // the server's FIN came before ours
    stalled,         // owed something for too long at the end
};
const char* to_string(Outcome outcome);

class Client {
  public:
    // `settings` must outlive it.
    Client(const ClientSettings& settings, std::uint32_t number) : settings_(settings), number_(number) {}
    virtual ~Client() = default;
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    // Starts to connect. False: it failed at once. Throws std::system_error when there is no socket to be
    // had.
    virtual bool connect(Instant now) = 0;
    // Something is ready (EPOLL* bits). `scratch` is room for one read.
    virtual void ready(std::uint32_t events, Instant now, std::span<std::byte> scratch) = 0;
    // Traffic may begin: the first message is due at `due`.
    void begin(Instant due);
    // The next message is due, or a repetition. Does nothing where none is.
    virtual void send_due(Instant now);
    // When send_due() is wanted next.
    virtual std::optional<Instant> next_due() const;
    // No further messages but the one that an idle client makes to show that its server lives.
    virtual void finish(Instant now) = 0;
    // Looks at what the kernel does not tell by an event.
    virtual void poll_acknowledged(Instant) {}
    // Ends a client that has been waiting since `since` or longer: it stalled, or could not connect.
    void give_up(Instant since, Instant now);

    int descriptor() const { return socket_.get(); }
    Outcome outcome() const { return outcome_; }
    bool over() const { return outcome_ >= Outcome::finished; }
    // Since when an answer, an acknowledgement or a FIN is owed.
    std::optional<Instant> owed_since() const { return owed_since_; }
    // Since when it is owed something and nothing of it came: a slow answer that keeps coming is no stall.
    virtual std::optional<Instant> waiting_since() const;
    virtual bool wants_write() const = 0;
    // EPOLL* bits that the descriptor is watched for now; kept here for whoever watches it.
    std::uint32_t watched_events = 0;

    std::uint32_t number() const { return number_; }
    std::uint16_t local_port() const { return local_port_; }
    std::optional<Instant> opened_at() const { return opened_at_; }
    std::optional<Instant> ended_at() const { return ended_at_; }
    std::uint64_t messages() const { return messages_; }
    virtual std::uint64_t checked_bytes() const = 0;
    virtual std::uint64_t wrong_bytes() const = 0;
    // Of the bytes that the server must answer, one message after the other.
    virtual std::optional<std::uint64_t> first_wrong() const = 0;
    // Of its kernel, or of its own.
    std::uint32_t retransmissions() const { return retransmissions_; }
    // Answers that came once more.
    virtual std::uint64_t repeated_answers() const { return 0; }
    const std::string& error() const { return error_; }
    ReceiptHistory receipts;

  protected:
    // Makes the non-blocking socket. Throws std::system_error when there is none to be had.
    void open_socket(int type, int protocol);
    void set_option(int level, int name, int value);
    // Connected: traffic may begin.
    void note_open(Instant now);
    // Sends the message that was due at `due`.
    virtual void start_message(Instant due, Instant now) = 0;
    // Moves due_ on to the first instant of its grid after `now`; undefined for an idle client.
    void skip_to_grid(Instant now);
    void failed(int error, Instant now);
    void end(Outcome outcome, Instant now);
    // The socket is about to be closed.
    virtual void closing_socket() {}

    const ClientSettings& settings_;
    const std::uint32_t number_;
    Outcome outcome_ = Outcome::connecting;
    twin::Descriptor socket_;
    std::optional<Instant> due_;         // next message
    std::optional<Instant> owed_since_;  // message outstanding
    bool finishing_ = false;
    std::uint64_t messages_ = 0;
    std::uint32_t retransmissions_ = 0;
    std::string error_;

  private:
    std::uint16_t local_port_ = 0;
    std::optional<Instant> opened_at_;
    std::optional<Instant> ended_at_;
};

// A client for the application that the settings name.
std::unique_ptr<Client> make_client(const ClientSettings& settings, std::uint32_t number);

}  // namespace understudy::load
