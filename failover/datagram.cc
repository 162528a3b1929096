#include "failover/datagram.hh"

#include <stdexcept>

namespace understudy::failover {

std::string encode_datagram(const proto::v1::Heartbeat& message) {
    proto::v1::HeartbeatDatagram datagram;
    datagram.set_version(heartbeat_version);
    std::string bytes;
    if (!message.SerializeToString(datagram.mutable_message()) || !datagram.SerializeToString(&bytes))
        throw std::logic_error("a heartbeat cannot be serialized");
    return bytes;
}

std::variant<proto::v1::Heartbeat, DatagramError> decode_datagram(std::string_view bytes) {
    if (bytes.size() > max_heartbeat_bytes) return DatagramError::oversized;
    proto::v1::HeartbeatDatagram datagram;
    if (!datagram.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
        return DatagramError::malformed;
    if (datagram.version() != heartbeat_version) return DatagramError::unknown_version;
    proto::v1::Heartbeat message;
    if (!message.ParseFromString(datagram.message())) return DatagramError::malformed;
    if (message.kind_case() == proto::v1::Heartbeat::KIND_NOT_SET || message.incarnation() == 0 ||
        message.counter() == 0 || message.nonce() == 0)
        return DatagramError::malformed;
    return message;
}

}  // namespace understudy::failover
