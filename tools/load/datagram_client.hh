// A client of a UDP service: requests and answers, and the request again when no answer comes.
//
// A request is one datagram: its number in 8 bytes, then the client's pattern. Echo: it is answered when it
// came back. An answer to an earlier request may come late, or twice; it is checked byte for byte all the
// same, and answers nothing. UDP permits both, so neither is wrong; what is neither is.
#pragma once

#include <vector>

#include "tools/load/client.hh"

namespace understudy::load {

class DatagramClient final : public Client {
  public:
    static constexpr std::size_t least_message_bytes = 8;
    static constexpr std::size_t most_message_bytes = 65'507;  // of a datagram over IPv4

    using Client::Client;

    bool connect(Instant now) override;
    void ready(std::uint32_t events, Instant now, std::span<std::byte> scratch) override;
    void send_due(Instant now) override;
    std::optional<Instant> next_due() const override;
    void finish(Instant now) override;
    bool wants_write() const override { return false; }

    std::uint64_t checked_bytes() const override { return checked_bytes_; }
    std::uint64_t wrong_bytes() const override { return wrong_bytes_; }
    std::optional<std::uint64_t> first_wrong() const override { return first_wrong_; }
    std::uint64_t repeated_answers() const override { return repeated_answers_; }

  protected:
    void start_message(Instant due, Instant now) override;

  private:
    // What the request of this number holds, and its answer.
    void fill_request(std::uint64_t request, std::span<std::byte> out) const;
    void transmit(Instant now);
    void took(std::span<const std::byte> answer, Instant arrived, Instant now);
    void check(std::span<const std::byte> answer, std::uint64_t request);
    void answered(Instant now);

    std::uint64_t requests_ = 0;  // the number of the newest; 0: none
    Duration timeout_{};          // of the outstanding one
    Instant repeat_at_{};
    std::uint64_t checked_bytes_ = 0;
    std::uint64_t wrong_bytes_ = 0;
    std::optional<std::uint64_t> first_wrong_;
    std::uint64_t repeated_answers_ = 0;
};

}  // namespace understudy::load
