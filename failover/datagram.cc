#include "failover/datagram.hh"

#include <stdexcept>

namespace understudy::failover {
namespace {

[[noreturn]] void fail() {
    throw std::logic_error("a heartbeat cannot be serialized");
}

}  // namespace

std::string encode_heartbeat(const proto::v1::Heartbeat& message) {
    std::string bytes;
    if (!message.SerializeToString(&bytes)) fail();
    return bytes;
}

std::variant<proto::v1::Heartbeat, DatagramError> decode_heartbeat(std::string_view bytes) {
    proto::v1::Heartbeat message;
    if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) || message.incarnation() == 0 ||
        message.counter() == 0 || message.nonce() == 0)
        return DatagramError::malformed;
    return message;
}

std::string encode_datagram(const proto::v1::Heartbeat& message) {
    proto::v1::HeartbeatDatagram datagram;
    datagram.set_version(heartbeat_version);
    datagram.set_message(encode_heartbeat(message));
    std::string bytes;
    if (!datagram.SerializeToString(&bytes)) fail();
    return bytes;
}

std::variant<proto::v1::Heartbeat, DatagramError> decode_datagram(std::string_view bytes) {
    if (bytes.size() > max_heartbeat_bytes) return DatagramError::oversized;
    proto::v1::HeartbeatDatagram datagram;
    if (!datagram.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
        return DatagramError::malformed;
    if (datagram.version() != heartbeat_version) return DatagramError::unknown_version;
    return decode_heartbeat(datagram.message());
}

}  // namespace understudy::failover
