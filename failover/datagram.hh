// A heartbeat message as a UDP datagram.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "proto/heartbeat.pb.h"

namespace understudy::failover {

inline constexpr std::uint32_t heartbeat_version = 1;
// Longest datagram that is accepted; it leaves room for an authentication code.
inline constexpr std::size_t max_heartbeat_bytes = 256;

enum class DatagramError : std::uint8_t { oversized, malformed, unknown_version };

std::string encode_datagram(const proto::v1::Heartbeat& message);
// `bytes` is the whole datagram, or more than max_heartbeat_bytes of it. A message without a kind, an
// incarnation, a counter or a nonce is malformed.
std::variant<proto::v1::Heartbeat, DatagramError> decode_datagram(std::string_view bytes);

}  // namespace understudy::failover
