#include "failover/sealed_datagram.hh"

#include <string>

#include <gtest/gtest.h>

#include "keys.hh"

namespace understudy::failover {
namespace {

const KeyRing held_keys = ring_of(1);

std::string sealed(std::string_view body = "body") {
    return seal(held_keys.newest(), Role::agent, BodyType::heartbeat, body);
}

DatagramError error_of(std::string_view bytes, Role sender = Role::agent) {
    const auto opened = open_sealed(held_keys, sender, bytes, Instant{});
    EXPECT_TRUE(std::holds_alternative<DatagramError>(opened));
    return std::holds_alternative<DatagramError>(opened) ? std::get<DatagramError>(opened)
                                                         : DatagramError::malformed;
}

TEST(SealedDatagram, OpensToWhatWasSealed) {
    const std::string bytes = sealed();
    EXPECT_TRUE(is_sealed(bytes));
    EXPECT_EQ(bytes.size(), 4 + seal_bytes);
    const auto opened = open_sealed(held_keys, Role::agent, bytes, Instant{});
    ASSERT_TRUE(std::holds_alternative<Opened>(opened));
    EXPECT_EQ(std::get<Opened>(opened).type, BodyType::heartbeat);
    EXPECT_EQ(std::get<Opened>(opened).body, "body");
}

TEST(SealedDatagram, NoChangedOctetIsAccepted) {
    const std::string bytes = sealed();
    for (std::size_t i = 0; i < bytes.size(); ++i)
        for (int bit = 0; bit < 8; ++bit) {
            std::string changed = bytes;
            changed[i] = static_cast<char>(changed[i] ^ 1 << bit);
            EXPECT_TRUE(
                std::holds_alternative<DatagramError>(open_sealed(held_keys, Role::agent, changed, Instant{})))
                << i << ", bit " << bit;
        }
}

TEST(SealedDatagram, NoCutOrLongerOneIsAccepted) {
    const std::string bytes = sealed();
    for (std::size_t length = 0; length < bytes.size(); ++length)
        EXPECT_TRUE(std::holds_alternative<DatagramError>(
            open_sealed(held_keys, Role::agent, std::string_view(bytes).substr(0, length), Instant{})));
    EXPECT_EQ(error_of(bytes + '\0'), DatagramError::forged);
}

TEST(SealedDatagram, EachRefusalHasItsReason) {
    EXPECT_EQ(error_of(std::string(max_link_datagram_bytes + 1, 'x')), DatagramError::oversized);
    EXPECT_EQ(error_of(sealed(std::string(max_heartbeat_bytes, 'x'))), DatagramError::oversized);
    EXPECT_EQ(error_of(""), DatagramError::unauthenticated);
    EXPECT_EQ(error_of(encode_datagram({})), DatagramError::unauthenticated);
    EXPECT_EQ(error_of(sealed().substr(0, seal_bytes - 1)), DatagramError::malformed);
    std::string later = sealed();
    later[4] = 2;
    EXPECT_EQ(error_of(later), DatagramError::unknown_version);
    EXPECT_EQ(error_of(seal(make_key(2), Role::agent, BodyType::heartbeat, "")), DatagramError::unknown_key);
    std::string forged = sealed();
    forged.back() = static_cast<char>(forged.back() ^ 1);
    EXPECT_EQ(error_of(forged), DatagramError::forged);
}

TEST(SealedDatagram, OwnMessageSentBackIsForged) {
    EXPECT_EQ(error_of(sealed(), Role::replica), DatagramError::forged);
}

}  // namespace
}  // namespace understudy::failover
