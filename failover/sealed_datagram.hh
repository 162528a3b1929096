// A datagram of the heartbeat links with its authentication code. What is forged is refused before any of it
// is parsed, the cheapest test first.
//
//   octets  0 to 3   magic
//           4        layout version
//           5        what the body is (BodyType)
//           6, 7     0
//           8 to 15  key id, most significant octet first
//          16 …      the body, a serialized message
//     the last 16    authentication code of all that stands before it
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "failover/datagram.hh"
#include "failover/heartbeat_key.hh"
#include "failover/key_ring.hh"

namespace understudy::failover {

enum class BodyType : std::uint8_t { heartbeat = 1 };

inline constexpr std::uint8_t seal_version = 1;
inline constexpr std::size_t seal_header_bytes = 16;
inline constexpr std::size_t seal_bytes = seal_header_bytes + HeartbeatKey::code_bytes;

// Whether the datagram claims to be a sealed one.
bool is_sealed(std::string_view bytes);

std::string seal(const HeartbeatKey& key, Role sender, BodyType type, std::string_view body);

struct Opened {
    BodyType type = BodyType::heartbeat;
    std::string_view body;  // within the bytes that were opened
};
// Opens what `sender` sealed with a key that `keys` accept at `now`.
std::variant<Opened, DatagramError> open_sealed(const KeyRing& keys, Role sender, std::string_view bytes,
                                                Instant now);

}  // namespace understudy::failover
