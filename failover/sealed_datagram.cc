#include "failover/sealed_datagram.hh"

#include <algorithm>
#include <array>

namespace understudy::failover {
namespace {

// No serialized HeartbeatDatagram begins like this: its fields have other numbers.
constexpr std::array<std::uint8_t, 4> magic = {0xf5, 'U', 'S', 'H'};
constexpr std::size_t version_at = 4;
constexpr std::size_t type_at = 5;
constexpr std::size_t key_id_at = 8;

std::span<const std::uint8_t> octets_of(std::string_view bytes) {
    return {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
}

KeyId key_id_of(std::span<const std::uint8_t> octets) {
    KeyId id = 0;
    for (const std::uint8_t octet : octets.subspan(key_id_at, sizeof id))
        id = id << 8 | octet;
    return id;
}

}  // namespace

bool is_sealed(std::string_view bytes) {
    const auto octets = octets_of(bytes);
    return octets.size() >= magic.size() && std::ranges::equal(octets.first(magic.size()), magic);
}

std::string seal(const HeartbeatKey& key, Role sender, BodyType type, std::string_view body) {
    std::string bytes(seal_header_bytes, '\0');
    std::ranges::copy(magic, bytes.begin());
    bytes[version_at] = static_cast<char>(seal_version);
    bytes[type_at] = static_cast<char>(type);
    for (std::size_t i = 0; i < sizeof(KeyId); ++i)
        bytes[key_id_at + i] = static_cast<char>(key.id() >> (8 * (sizeof(KeyId) - 1 - i)) & 0xff);
    bytes += body;
    const auto code = key.code(sender, octets_of(bytes));
    bytes.append(code.begin(), code.end());
    return bytes;
}

std::variant<Opened, DatagramError> open_sealed(const KeyRing& keys, Role sender, std::string_view bytes,
                                                Instant now) {
    if (bytes.size() > max_heartbeat_bytes) return DatagramError::oversized;
    if (!is_sealed(bytes)) return DatagramError::unauthenticated;
    if (bytes.size() < seal_bytes) return DatagramError::malformed;
    const auto octets = octets_of(bytes);
    if (octets[version_at] != seal_version) return DatagramError::unknown_version;
    const HeartbeatKey* key = keys.find(key_id_of(octets), now);
    if (key == nullptr) return DatagramError::unknown_key;
    if (!key->verifies(sender, octets.first(octets.size() - HeartbeatKey::code_bytes),
                       octets.last<HeartbeatKey::code_bytes>()))
        return DatagramError::forged;
    return Opened{static_cast<BodyType>(octets[type_at]),
                  bytes.substr(seal_header_bytes, bytes.size() - seal_bytes)};
}

}  // namespace understudy::failover
