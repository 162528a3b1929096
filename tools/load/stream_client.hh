// A client over a TCP connection.
//
// Echo: a message is answered when all of it came back. Discard: when the kernel has seen all of it
// acknowledged. Ticker: the subscription is the only message sent; every line counts as an answer, and one is
// owed each interval. Source: a message is a block of message_bytes, and so much is asked for ahead that the
// server always has something to send, at any rate.
#pragma once

#include "tools/load/client.hh"

namespace understudy::load {

class StreamClient final : public Client {
  public:
    static constexpr std::size_t least_block_bytes = 64 * 1024;  // of a source's

    StreamClient(const ClientSettings& settings, std::uint32_t number);

    bool connect(Instant now) override;
    void ready(std::uint32_t events, Instant now, std::span<std::byte> scratch) override;
    void finish(Instant now) override;
    // Asks the kernel whether what discard sent is acknowledged.
    void poll_acknowledged(Instant now) override;
    std::optional<Instant> waiting_since() const override;
    bool wants_write() const override {
        return outcome_ == Outcome::connecting || unsent_ != 0 || !unsent_requests_.empty();
    }

    std::uint64_t checked_bytes() const override { return check_->checked_bytes() + acknowledged_; }
    std::uint64_t wrong_bytes() const override { return check_->wrong_bytes(); }
    std::optional<std::uint64_t> first_wrong() const override { return check_->first_wrong(); }

  protected:
    void start_message(Instant due, Instant now) override;
    void closing_socket() override;

  private:
    void opened(Instant now);
    void write_unsent(Instant now);
    void ask_ahead(Instant now);
    void write_requests(Instant now);
    void took_blocks(Instant now);
    void read_all(Instant now, std::span<std::byte> scratch);
    void took(std::span<const std::byte> bytes, Instant arrived, Instant now);
    void answered(Instant now);
    void half_close(Instant now);
    void peer_fin(Instant now);
    std::optional<Instant> read_acknowledged_at();

    std::unique_ptr<AnswerCheck> check_;
    TickerCheck* ticker_ = nullptr;           // check_, for the ticker
    std::uint64_t sent_ = 0;                  // stream bytes handed to the kernel
    std::size_t unsent_ = 0;                  // of the outstanding message
    std::uint64_t answer_bytes_ = 0;          // still to come back
    std::string unsent_requests_;             // source: lines that the kernel has not taken
    std::uint64_t acknowledged_ = 0;          // discard
    std::optional<Instant> acknowledged_at_;  // discard: the newest acknowledgement
    std::size_t unacknowledged_ = 0;          // discard: of the outstanding message, when last looked at
    std::optional<Instant> shrank_at_;        // discard: when that became less
};

}  // namespace understudy::load
