// A heartbeat message as a UDP datagram without an authentication code, and as the body of one that has it
// (sealed_datagram.hh).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "proto/heartbeat.pb.h"

namespace understudy::failover {

inline constexpr std::uint32_t heartbeat_version = 1;
// Longest datagram that is accepted, with its authentication code.
inline constexpr std::size_t max_heartbeat_bytes = 256;

// Why a datagram is refused.
enum class DatagramError : std::uint8_t {
    oversized,
    malformed,
    unknown_version,
    unauthenticated,  // it has no authentication code, and must have one
    unknown_key,      // authenticated by a key that is not held, or not any more
    forged,           // its authentication code is not that of the key it names
};

std::string encode_heartbeat(const proto::v1::Heartbeat& message);
// A message without an incarnation, a counter or a nonce is malformed. One without a kind that this program
// knows is not: a later version may have more of them.
std::variant<proto::v1::Heartbeat, DatagramError> decode_heartbeat(std::string_view bytes);

std::string encode_datagram(const proto::v1::Heartbeat& message);
// `bytes` is the whole datagram, or more than max_heartbeat_bytes of it.
std::variant<proto::v1::Heartbeat, DatagramError> decode_datagram(std::string_view bytes);

}  // namespace understudy::failover
