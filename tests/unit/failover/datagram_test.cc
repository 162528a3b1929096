#include "failover/datagram.hh"

#include <gtest/gtest.h>

namespace understudy::failover {
namespace {

using proto::v1::Heartbeat;

Heartbeat hello() {
    Heartbeat message;
    message.set_incarnation(~std::uint64_t{0});
    message.set_counter(~std::uint64_t{0});
    message.set_nonce(~std::uint64_t{0});
    message.set_echoed_nonce(~std::uint64_t{0});
    message.mutable_hello()->set_interval_us(~std::uint32_t{0});
    return message;
}

DatagramError error_of(std::string_view bytes) {
    const auto decoded = decode_datagram(bytes);
    EXPECT_TRUE(std::holds_alternative<DatagramError>(decoded));
    return std::get<DatagramError>(decoded);
}

TEST(Datagram, RoundTripFitsWithRoomForAnAuthenticationCode) {
    const std::string bytes = encode_datagram(hello());
    EXPECT_LE(bytes.size() + 64, max_heartbeat_bytes);
    const auto decoded = decode_datagram(bytes);
    ASSERT_TRUE(std::holds_alternative<Heartbeat>(decoded));
    EXPECT_EQ(std::get<Heartbeat>(decoded).SerializeAsString(), hello().SerializeAsString());
}

TEST(Datagram, OversizedIsRefusedUnread) {
    EXPECT_EQ(error_of(std::string(max_heartbeat_bytes + 1, 'x')), DatagramError::oversized);
}

TEST(Datagram, UnknownVersionIsRefused) {
    proto::v1::HeartbeatDatagram datagram;
    datagram.set_version(heartbeat_version + 1);
    datagram.set_message(hello().SerializeAsString());
    EXPECT_EQ(error_of(datagram.SerializeAsString()), DatagramError::unknown_version);
    EXPECT_EQ(error_of(""), DatagramError::unknown_version) << "no version at all";
}

TEST(Datagram, GarbageIsMalformed) {
    EXPECT_EQ(error_of("\xff\xff\xff"), DatagramError::malformed);
    proto::v1::HeartbeatDatagram datagram;
    datagram.set_version(heartbeat_version);
    datagram.set_message("\xff\xff\xff");
    EXPECT_EQ(error_of(datagram.SerializeAsString()), DatagramError::malformed);
}

TEST(Datagram, EveryFieldThatIsNeededMustBeThere) {
    const auto without = [](auto clear) {
        Heartbeat message = hello();
        clear(message);
        return error_of(encode_datagram(message));
    };
    EXPECT_EQ(without([](Heartbeat& m) { m.clear_incarnation(); }), DatagramError::malformed);
    EXPECT_EQ(without([](Heartbeat& m) { m.clear_counter(); }), DatagramError::malformed);
    EXPECT_EQ(without([](Heartbeat& m) { m.clear_nonce(); }), DatagramError::malformed);
}

TEST(Datagram, KindOfALaterVersionIsNoError) {
    Heartbeat message = hello();
    message.clear_kind();
    EXPECT_TRUE(std::holds_alternative<Heartbeat>(decode_datagram(encode_datagram(message))));
}

TEST(Datagram, EveryCutIsRefused) {
    const std::string bytes = encode_datagram(hello());
    for (std::size_t length = 0; length < bytes.size(); ++length)
        EXPECT_TRUE(std::holds_alternative<DatagramError>(decode_datagram({bytes.data(), length}))) << length;
}

}  // namespace
}  // namespace understudy::failover
