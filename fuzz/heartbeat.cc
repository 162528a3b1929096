// Heartbeat datagrams, as any host may send them.
#include "failover/datagram.hh"
#include "fuzz/require.hh"

using namespace understudy;
using fuzz::require;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto decoded = failover::decode_datagram({reinterpret_cast<const char*>(data), size});
    const auto* message = std::get_if<proto::v1::Heartbeat>(&decoded);
    if (message == nullptr) return 0;
    require(size <= failover::max_heartbeat_bytes, "an oversized datagram is refused unread");
    require(message->incarnation() != 0 && message->counter() != 0 && message->nonce() != 0,
            "a message has everything that is needed");
    const auto again = failover::decode_datagram(failover::encode_datagram(*message));
    const auto* same = std::get_if<proto::v1::Heartbeat>(&again);
    if (same == nullptr) {
        require(std::get<failover::DatagramError>(again) == failover::DatagramError::oversized,
                "what was read can be written");
        return 0;
    }
    require(same->SerializeAsString() == message->SerializeAsString(), "and says the same");
    return 0;
}
