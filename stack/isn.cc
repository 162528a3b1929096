#include "stack/isn.hh"

#include <sodium/crypto_shorthash.h>

#include <cstring>

namespace understudy::stack {

static_assert(crypto_shorthash_KEYBYTES == 16 && crypto_shorthash_BYTES == 8);

SequenceGenerator::SequenceGenerator(RandomSource& random) {
    for (std::size_t at = 0; at < key_.size(); at += 8) {
        const std::uint64_t word = random.next();
        std::memcpy(key_.data() + at, &word, sizeof word);
    }
}

Seq SequenceGenerator::initial(const Endpoint& local, const Endpoint& remote, Instant now) const {
    const auto microseconds =
        std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count();
    return Seq(static_cast<std::uint32_t>(microseconds / 4) +
               static_cast<std::uint32_t>(keyed_hash(local, remote, 0)));
}

std::uint32_t SequenceGenerator::timestamp_offset(const Endpoint& local, const Endpoint& remote) const {
    return static_cast<std::uint32_t>(keyed_hash(local, remote, 1));
}

std::uint32_t SequenceGenerator::hash(const Endpoint& local, const Endpoint& remote, std::uint8_t purpose,
                                      std::uint32_t extra) const {
    return static_cast<std::uint32_t>(keyed_hash(local, remote, purpose, extra));
}

std::uint64_t SequenceGenerator::keyed_hash(const Endpoint& local, const Endpoint& remote,
                                            std::uint8_t purpose, std::uint32_t extra) const {
    std::array<unsigned char, 41> input;
    std::memcpy(input.data(), local.address.octets.data(), 16);
    std::memcpy(input.data() + 16, remote.address.octets.data(), 16);
    std::memcpy(input.data() + 32, &local.port, 2);
    std::memcpy(input.data() + 34, &remote.port, 2);
    input[36] = purpose;
    std::memcpy(input.data() + 37, &extra, 4);
    std::uint64_t hash = 0;
    crypto_shorthash(reinterpret_cast<unsigned char*>(&hash), input.data(), input.size(), key_.data());
    return hash;
}

}  // namespace understudy::stack
