#include "failover/repair_asker.hh"

#include <gtest/gtest.h>

#include "instant.hh"

namespace understudy::failover {
namespace {

using std::chrono::milliseconds;

RepairRange range(std::uint32_t begin, std::uint32_t end) {
    RepairRange range;
    range.client.port = 40000;
    range.service.port = 7000;
    range.begin = begin;
    range.end = end;
    return range;
}

proto::v1::RepairAnswer answer(std::uint64_t id, std::uint32_t begin, const std::string& data,
                               bool fin = false) {
    proto::v1::RepairAnswer answer;
    answer.set_id(id);
    answer.set_begin(begin);
    answer.set_data(data);
    answer.set_fin(fin);
    return answer;
}

class Asking : public testing::Test {
  protected:
    RepairAsker asker{{.retry = milliseconds(5),
                       .lifetime = milliseconds(1000),
                       .max_outstanding = 2,
                       .max_range_bytes = 100},
                      77};
    const RepairOwner owner{1, 2, 3};
};

TEST_F(Asking, AsksOnceUntilTheRetryAndThenWithMorePatience) {
    const auto request = asker.ask(range(10, 20), owner, at(0));
    ASSERT_TRUE(request);
    EXPECT_EQ(request->id(), 77u);
    EXPECT_EQ(request->begin(), 10u);
    EXPECT_EQ(request->length(), 10u);
    EXPECT_EQ(request->client_address().size(), 16u);
    EXPECT_FALSE(asker.ask(range(10, 20), owner, at(4)));
    const auto again = asker.ask(range(10, 20), owner, at(5));
    ASSERT_TRUE(again);
    EXPECT_EQ(again->id(), 77u);
    EXPECT_FALSE(asker.ask(range(10, 20), owner, at(14)));
    EXPECT_TRUE(asker.ask(range(10, 20), owner, at(15)));
    EXPECT_EQ(asker.counters().asked, 1u);
    EXPECT_EQ(asker.counters().asked_again, 2u);
}

TEST_F(Asking, TakesPiecesOfWhatWasAskedFor) {
    ASSERT_TRUE(asker.ask(range(10, 20), owner, at(0)));
    const auto message = answer(77, 14, "abc");
    const auto piece = asker.take(message);
    ASSERT_TRUE(piece);
    EXPECT_EQ(piece->owner, owner);
    EXPECT_EQ(piece->begin, 14u);
    EXPECT_EQ(piece->bytes, "abc");
    EXPECT_FALSE(piece->fin);
    EXPECT_TRUE(asker.take(answer(77, 10, "0123456789")));
    EXPECT_TRUE(asker.take(answer(77, 19, "", true))) << "a FIN has a number";
}

TEST_F(Asking, TakesPiecesAcrossTheWrap) {
    ASSERT_TRUE(asker.ask(range(0xfffffffe, 4), owner, at(0)));
    EXPECT_TRUE(asker.take(answer(77, 0xfffffffe, "abcdef")));
    EXPECT_TRUE(asker.take(answer(77, 1, "abc")));
    EXPECT_FALSE(asker.take(answer(77, 1, "abcd")));
}

TEST_F(Asking, RefusesWhatWasNotAskedFor) {
    ASSERT_TRUE(asker.ask(range(10, 20), owner, at(0)));
    EXPECT_FALSE(asker.take(answer(78, 10, "a")));
    EXPECT_EQ(asker.counters().refused_unasked, 1u);
    EXPECT_FALSE(asker.take(answer(77, 9, "a")));
    EXPECT_FALSE(asker.take(answer(77, 20, "a")));
    EXPECT_FALSE(asker.take(answer(77, 19, "ab")));
    EXPECT_FALSE(asker.take(answer(77, 19, "a", true)));
    EXPECT_FALSE(asker.take(answer(77, 10, "")));
    EXPECT_EQ(asker.counters().refused_malformed, 5u);
    proto::v1::RepairAnswer nothing;
    nothing.set_id(77);
    nothing.set_not_held(true);
    EXPECT_FALSE(asker.take(nothing));
    EXPECT_EQ(asker.counters().not_held, 1u);
}

TEST_F(Asking, IsBounded) {
    EXPECT_EQ(asker.ask(range(0, 1000), owner, at(0))->length(), 100u);
    EXPECT_TRUE(asker.ask(range(1000, 1001), owner, at(0)));
    EXPECT_FALSE(asker.ask(range(2000, 2001), owner, at(0)));
    EXPECT_EQ(asker.counters().withheld_full, 1u);
    EXPECT_EQ(asker.outstanding(), 2u);
    EXPECT_TRUE(asker.ask(range(2000, 2001), owner, at(1000))) << "old requests are forgotten";
    EXPECT_EQ(asker.outstanding(), 1u);
    EXPECT_FALSE(asker.take(answer(77, 0, "a")));
}

TEST_F(Asking, PortsThatAreUsedAgainAreAnotherConnection) {
    ASSERT_TRUE(asker.ask(range(10, 20), owner, at(0)));
    const auto request = asker.ask(range(10, 20), RepairOwner{1, 2, 4}, at(1));
    ASSERT_TRUE(request);
    EXPECT_EQ(request->id(), 78u);
    EXPECT_FALSE(asker.take(answer(77, 10, "a"))) << "bytes of the earlier one";
}

}  // namespace
}  // namespace understudy::failover
