// A million forged and replayed heartbeats in a minute of virtual time, among the true ones.
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "failover/datagram.hh"
#include "failover/sealed_datagram.hh"
#include "failover/session.hh"
#include "keys.hh"

namespace understudy::failover {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t hostile_messages = 1'000'000;
constexpr std::size_t interval_ms = 10;
constexpr std::size_t per_interval = hostile_messages * interval_ms / 60'000 + 1;

Session make(Role role) {
    return Session(
        {.links = 1, .interval = milliseconds(interval_ms), .deadline = 3 * milliseconds(interval_ms)}, role,
        ring_of(1), [drawn = role == Role::agent ? std::uint64_t{1000} : 0]() mutable { return ++drawn; });
}

// What somebody can make who reads the links and writes to them, without the key.
class Attacker {
  public:
    void overhear(const std::string& bytes) {
        if (recorded_.size() < 4096)
            recorded_.push_back(bytes);
        else
            recorded_[random_() % recorded_.size()] = bytes;
    }
    std::string message() {
        std::string bytes = recorded_[random_() % recorded_.size()];
        switch (random_() % 9) {
            case 0:  // forged: one bit, anywhere
                bytes[random_() % bytes.size()] ^= static_cast<char>(1 << random_() % 8);
                return bytes;
            case 1:  // a code of nothing
                for (std::size_t i = bytes.size() - HeartbeatKey::code_bytes; i < bytes.size(); ++i)
                    bytes[i] = static_cast<char>(random_());
                return bytes;
            case 2:
                return bytes.substr(0, random_() % bytes.size());
            case 3:
                return bytes + std::string(1 + random_() % 400, 'x');
            case 4:
                return bytes + std::string(max_link_datagram_bytes, 'x');
            case 5:  // an earlier version, or a later one; its number follows the four octets that begin each message
                bytes[4] = static_cast<char>(random_() % 2 == 0 ? seal_version - 1 : seal_version + 1);
                return bytes;
            case 6:  // a key of its own
                return seal(make_key(2), Role::agent, BodyType::heartbeat, bytes.substr(seal_header_bytes));
            default:  // as recorded
                return bytes;
        }
    }

  private:
    std::mt19937_64 random_{7};
    std::vector<std::string> recorded_;
};

TEST(HeartbeatFlood, NothingOfAMillionIsAcceptedAndNoDeadlineMissed) {
    Session replica = make(Role::replica);
    Session agent = make(Role::agent);
    Attacker attacker;
    std::uint64_t true_signs = 0;
    const auto exchange = [&](Session& from, Session& to, Instant now) {
        const std::string hello = from.hello(0, now);
        attacker.overhear(hello);
        const Session::Taken taken = to.take(0, hello, now);
        const bool answered = !taken.reply.empty() && from.take(0, taken.reply, now).sign_of_life;
        attacker.overhear(taken.reply);
        if (&to == &replica) true_signs += taken.sign_of_life ? 1 : 0;
        if (&from == &replica) true_signs += answered ? 1 : 0;
    };
    for (int i = 0; i < 2; ++i) {
        exchange(replica, agent, Instant{});
        exchange(agent, replica, Instant{});
    }
    std::size_t sent = 0;
    std::size_t answered = 0;
    for (Instant now{}; sent < hostile_messages; now += milliseconds(interval_ms)) {
        exchange(agent, replica, now);
        exchange(replica, agent, now);
        for (std::size_t i = 0; i < per_interval; ++i, ++sent) {
            const Session::Taken taken = replica.take(0, attacker.message(), now);
            ASSERT_FALSE(taken.sign_of_life);
            answered += taken.reply.empty() ? 0 : 1;
        }
        ASSERT_TRUE(replica.links().status(0, now + milliseconds(2 * interval_ms)).alive);
    }
    const LinkCounters& counters = replica.links().counters(0);
    EXPECT_EQ(counters.signs_of_life, true_signs);
    EXPECT_EQ(counters.refused_forged + counters.refused_replayed + counters.refused_stale_nonce +
                  counters.refused_unconfirmed + counters.refused_malformed + counters.refused_oversized +
                  counters.refused_unauthenticated + counters.refused_unknown_key +
                  counters.refused_unknown_version,
              sent + 1)
        << "every one is counted, and the agent's first Hello";
    EXPECT_GT(counters.refused_replayed, sent / 10);
    for (const auto reason :
         {&LinkCounters::refused_forged, &LinkCounters::refused_malformed, &LinkCounters::refused_oversized,
          &LinkCounters::refused_unauthenticated, &LinkCounters::refused_unknown_key,
          &LinkCounters::refused_unknown_version})
        EXPECT_GT(counters.*reason, sent / 1000);
    EXPECT_LE(answered, 60'000 / (interval_ms / 2)) << "what proves nothing is answered in bounds";
}

}  // namespace
}  // namespace understudy::failover
