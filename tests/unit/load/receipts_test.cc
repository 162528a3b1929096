#include "tools/load/receipts.hh"

#include <gtest/gtest.h>

namespace understudy::load {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

Instant at_ms(std::int64_t value) {
    return Instant(milliseconds(value));
}

TEST(Outage, CountsFromTheFaultForAMessageThatWasOutstanding) {
    ReceiptHistory receipts;
    receipts.received(at_ms(980), at_ms(981), at_ms(981));
    receipts.received(at_ms(999), at_ms(1050), at_ms(1051));
    EXPECT_EQ(receipts.outage(at_ms(1000)), milliseconds(51));
}

TEST(Outage, CountsFromTheInstantTheFirstMessageWasDueAfterTheFault) {
    ReceiptHistory receipts;
    receipts.received(at_ms(999), at_ms(1000), at_ms(1000));
    receipts.received(at_ms(1015), at_ms(1060), at_ms(1060));
    EXPECT_EQ(receipts.outage(at_ms(1001)), milliseconds(45));
}

TEST(Outage, DoesNotEndWithBytesThatWereHereBeforeTheFault) {
    ReceiptHistory receipts;
    receipts.received(at_ms(990), at_ms(999), at_ms(1004));
    receipts.received(at_ms(1010), at_ms(1080), at_ms(1080));
    EXPECT_EQ(receipts.outage(at_ms(1000)), milliseconds(70));
}

TEST(Outage, IsUnknownWithoutAByteAfterTheFault) {
    ReceiptHistory receipts;
    receipts.received(at_ms(990), at_ms(991), at_ms(991));
    EXPECT_FALSE(receipts.outage(at_ms(1000)));
}

TEST(Outage, OutlivesAnyNumberOfEarlierReceipts) {
    ReceiptHistory receipts;
    for (int i = 0; i < 1000; ++i)
        receipts.received(at_ms(10 * i), at_ms(10 * i + 2), at_ms(10 * i + 2));
    receipts.received(at_ms(10'000), at_ms(10'040), at_ms(10'040));
    EXPECT_EQ(receipts.outage(at_ms(9'995)), milliseconds(40));
}

TEST(Outage, IsKeptOnceTheFaultIsKnown) {
    ReceiptHistory receipts;
    receipts.received(at_ms(990), at_ms(991), at_ms(991));
    receipts.keep_from(at_ms(1000));
    receipts.received(at_ms(1010), at_ms(1055), at_ms(1055));
    for (int i = 0; i < 1000; ++i)
        receipts.received(at_ms(1100 + 10 * i), at_ms(1101 + 10 * i), at_ms(1101 + 10 * i));
    EXPECT_EQ(receipts.outage(at_ms(1000)), milliseconds(45));
}

TEST(Outage, IsNotCrowdedOutByWhatWasQueuedAtTheFault) {
    ReceiptHistory receipts;
    receipts.keep_from(at_ms(1000));
    for (int i = 0; i < 100; ++i)
        receipts.received(at_ms(999), at_ms(999), at_ms(1001) + microseconds(10 * i));
    receipts.received(at_ms(999), at_ms(1050), at_ms(1050));
    EXPECT_EQ(receipts.outage(at_ms(1000)), milliseconds(50));
}

TEST(Outage, IsKeptWhenTheFaultWasToldBeforeItBegins) {
    ReceiptHistory receipts;
    receipts.keep_from(at_ms(1000));
    for (int i = 900; i < 1000; ++i)
        receipts.received(at_ms(i), at_ms(i), at_ms(i));
    receipts.received(at_ms(999), at_ms(1050), at_ms(1050));
    EXPECT_EQ(receipts.outage(at_ms(1000)), milliseconds(50));
}

TEST(LongestGap, CountsOnlyWhileSomethingIsOwed) {
    ReceiptHistory receipts;
    receipts.received(at_ms(100), at_ms(103), at_ms(103));
    receipts.received(at_ms(5000), at_ms(5007), at_ms(5007));
    EXPECT_EQ(receipts.longest_gap(), milliseconds(7));
}

TEST(LongestGap, CountsBetweenThePiecesOfOneAnswer) {
    ReceiptHistory receipts;
    receipts.received(at_ms(100), at_ms(103), at_ms(103));
    receipts.received(at_ms(100), at_ms(143), at_ms(143));
    EXPECT_EQ(receipts.longest_gap(), milliseconds(40));
}

TEST(LongestGap, CountsAWaitThatWasInVain) {
    ReceiptHistory receipts;
    receipts.received(at_ms(100), at_ms(103), at_ms(103));
    receipts.ended_unanswered(at_ms(120), at_ms(2620));
    EXPECT_EQ(receipts.longest_gap(), milliseconds(2500));
}

TEST(Percentile, IsTheNearestRank) {
    std::vector<Duration> values;
    for (int i = 200; i >= 1; --i)
        values.push_back(milliseconds(i));
    EXPECT_EQ(percentile(values, 50), milliseconds(100));
    EXPECT_EQ(percentile(values, 99), milliseconds(198));
    EXPECT_EQ(percentile(values, 100), milliseconds(200));
    EXPECT_EQ(percentile(values, 0), milliseconds(1));
}

TEST(Percentile, OfNothingIsNothing) {
    std::vector<Duration> values;
    EXPECT_FALSE(percentile(values, 50));
}

}  // namespace
}  // namespace understudy::load
