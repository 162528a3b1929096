// Initial sequence numbers and timestamp offsets that nobody can predict (RFC 6528, RFC 7323 5.4).
#pragma once

#include <array>
#include <cstdint>

#include "stack/address.hh"
#include "stack/interfaces.hh"
#include "stack/seq.hh"
#include "stack/time.hh"

namespace understudy::stack {

class SequenceGenerator {
  public:
    // Draws its key from `random`, once.
    explicit SequenceGenerator(RandomSource& random);

    // ISN = M + F(endpoints, key), where M ticks every 4 microseconds (RFC 6528 3).
    Seq initial(const Endpoint& local, const Endpoint& remote, Instant now) const;
    // Where a connection's timestamp clock starts, different for each pair of endpoints.
    std::uint32_t timestamp_offset(const Endpoint& local, const Endpoint& remote) const;

    // A number for other uses of the key; `purpose` is not 0 or 1.
    std::uint32_t hash(const Endpoint& local, const Endpoint& remote, std::uint8_t purpose,
                       std::uint32_t extra) const;

  private:
    std::uint64_t keyed_hash(const Endpoint& local, const Endpoint& remote, std::uint8_t purpose,
                             std::uint32_t extra = 0) const;

    std::array<unsigned char, 16> key_;
};

}  // namespace understudy::stack
