// Outputs that differ: context, policies, alignment (design.md 4, rules.md 8 and 12).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/stack/mirror.hh"

namespace understudy::stack::test {
namespace {

using ::testing::ElementsAre;

std::string text(const Difference::Excerpt& excerpt) {
    return {reinterpret_cast<const char*>(excerpt.bytes.data()), excerpt.size};
}

Settings replicated(Replication replication) {
    Settings settings = settings_for(Mode::silent);
    settings.replication[service_endpoint] = replication;
    return settings;
}

class Diverging : public Mirror {
  protected:
    explicit Diverging(Replication replication = {}) : Mirror(replicated(replication)) { handshake(); }

    std::string sent_bytes() {
        std::string bytes;
        while (const auto packet = host.sent())
            bytes += packet->payload;
        return bytes;
    }
    Coverage coverage() { return host.snapshot().coverage; }
};

TEST_F(Diverging, BothVersionsAreKeptForTheOperator) {
    host.send("HTTP/1.1 200 OK\r\nDate: Mon, 1 Jan");
    primary(0, 0, "HTTP/1.1 200 OK\r\nDate: Tue, 2 Jan");
    const auto s = host.snapshot();
    ASSERT_TRUE(s.difference);
    EXPECT_EQ(s.difference->offset, 23u);
    EXPECT_EQ(s.difference->before, 16u);
    EXPECT_EQ(text(s.difference->application), "1 200 OK\r\nDate: Mon, 1 Jan");
    EXPECT_EQ(text(s.difference->primary), "1 200 OK\r\nDate: Tue, 2 Jan");
}

TEST_F(Diverging, TheContextIsTheSameWhicheverComesFirst) {
    primary(0, 0, "the primary");
    host.send("the shadow");
    const auto s = host.snapshot();
    ASSERT_TRUE(s.difference);
    EXPECT_EQ(s.difference->offset, 4u);
    EXPECT_EQ(text(s.difference->application), "the shadow");
    EXPECT_EQ(text(s.difference->primary), "the primary");
}

TEST_F(Diverging, AnEqualLengthDifferenceIsPassedAfterEnoughEqualBytes) {
    const std::string rest(63, 'r');
    host.send("id=1111" + rest);
    primary(0, 0, "id=2222" + rest);
    EXPECT_EQ(coverage(), Coverage::diverged);
    host.send("r");
    EXPECT_EQ(coverage(), Coverage::diverged) << "not sent by the primary yet";
    primary(70, 0, "r");
    EXPECT_EQ(coverage(), Coverage::covered);
    EXPECT_EQ(host.stack.counters().divergences_passed, 1u);
}

TEST_F(Diverging, TheClientIsSentAgainWhatThePrimarySent) {
    const std::string rest(64, 'r');
    host.send("id=1111" + rest + "tail");
    primary(0, 0, "id=2222" + rest);
    ASSERT_EQ(coverage(), Coverage::covered);
    host.stack.promote(host.now);
    EXPECT_EQ(sent_bytes(), "id=2222" + rest + "tail");
}

TEST_F(Diverging, AHoleIsNotForgottenBehindADifference) {
    const std::string rest(64, 'r');
    host.send("1");
    primary(0, 0, "2");
    primary(1, 10, "");  // acknowledges what the mirror did not show
    host.pass(1s);
    host.send(rest);
    primary(1, 10, rest);
    EXPECT_EQ(coverage(), Coverage::hole);
    EXPECT_EQ(host.stack.promote(host.now).reset, 1u);
}

TEST_F(Diverging, ResetIsWhatHappensUnlessConfigured) {
    host.send("A");
    primary(0, 0, "B");
    EXPECT_EQ(host.stack.promote(host.now).reset, 1u);
    const auto reset = host.sent();
    ASSERT_TRUE(reset);
    EXPECT_TRUE(reset->has(TcpFlags::rst));
}

TEST_F(Diverging, StreamsTooFarApartAreGivenUp) {
    host.send("A");
    primary(0, 0, "B");
    host.send(std::string(2 << 20, 'x'));
    host.pass(1ms);
    EXPECT_THAT(host.events.log, ElementsAre("accepted", "uncovered"));
    EXPECT_EQ(host.stack.promote(host.now).reset, 1u);
}

TEST_F(Diverging, ASecondCopyThatDiffersUncovers) {
    client(0, 0, "transfer 100");
    client(0, 0, "transfer 900");
    EXPECT_EQ(host.snapshot().coverage, Coverage::conflicting);
    EXPECT_EQ(host.snapshot().detail, 9u);
    EXPECT_EQ(host.events.input, "transfer 100");
    EXPECT_EQ(host.stack.counters().conflicting_copies, 1u);
    EXPECT_EQ(host.stack.promote(host.now).reset, 1u);
}

TEST_F(Diverging, CopiesOfWhatThePrimaryAcknowledgedMeanNothing) {
    client(0, 0, "transfer 100");
    primary(0, 12, "");
    client(0, 0, "transfer 900");
    EXPECT_EQ(host.snapshot().coverage, Coverage::covered);
}

TEST_F(Diverging, AfterATakeoverADifferenceEndsTheConnection) {
    primary(0, 0, "BBBB");
    host.stack.promote(host.now);
    EXPECT_EQ(sent_bytes(), "BBBB");
    host.send("BXXX and more");
    EXPECT_EQ(sent_bytes(), "") << "the client has another byte there";
    host.pass(1ms);
    const auto reset = host.sent();
    ASSERT_TRUE(reset);
    EXPECT_TRUE(reset->has(TcpFlags::rst));
    EXPECT_EQ(host.stack.counters().divergences, 1u);
}

class LeftAlone : public Diverging {
  protected:
    LeftAlone() : Diverging({.divergence = DivergencePolicy::uncover}) {}
};

TEST_F(LeftAlone, NothingIsSentToIt) {
    host.send("A");
    primary(0, 0, "B");
    EXPECT_EQ(host.stack.promote(host.now).reset, 0u);
    EXPECT_FALSE(host.sent());
    EXPECT_EQ(host.stack.connection_count(), 0u);
    EXPECT_EQ(host.stack.counters().connections_left_at_promotion, 1u);
}

class Kept : public Diverging {
  protected:
    Kept() : Diverging({.divergence = DivergencePolicy::keep}) {}
};

TEST_F(Kept, ThePrimarysBytesWhereTheyWereSentAndOursAfterThem) {
    host.send("AAAA");
    primary(0, 0, "BB");
    EXPECT_EQ(coverage(), Coverage::diverged);
    EXPECT_EQ(host.stack.promote(host.now).promoted, 1u);
    EXPECT_EQ(sent_bytes(), "BBAA");
    host.stack.set_options(host.events.connection, {.nodelay = true}, host.now);
    host.send("more");
    EXPECT_EQ(sent_bytes(), "more");
}

TEST_F(Kept, IsNeverCovered) {
    host.send("A" + std::string(100, 'r'));
    primary(0, 0, "B" + std::string(100, 'r'));
    EXPECT_EQ(coverage(), Coverage::diverged);
}

class Aligned : public Diverging {
  protected:
    Aligned() : Diverging({.align_requests = true}) {}

    // The client's request behind `acknowledged` bytes of answers.
    void request(std::string bytes) {
        client(asked_, answered_, bytes);
        asked_ += static_cast<std::uint32_t>(bytes.size());
    }
    void answer(const std::string& bytes) {
        primary(answered_, asked_, bytes);
        answered_ += static_cast<std::uint32_t>(bytes.size());
    }
    std::uint32_t asked_ = 0, answered_ = 0;
};

TEST_F(Aligned, EqualAnswersNeedNoWaiting) {
    request("one");
    host.send("ONE");
    answer("ONE");
    request("two");
    EXPECT_EQ(host.events.input, "onetwo");
    EXPECT_EQ(coverage(), Coverage::covered);
    EXPECT_EQ(host.stack.counters().alignments, 0u);
}

TEST_F(Aligned, AShorterAnswerMovesOnAndIsCoveredAfterAnEqualOne) {
    request("one");
    host.send("id=7");
    answer("id=12345");
    request("two");
    EXPECT_EQ(host.events.input, "one") << "withheld until the output is quiet";
    host.pass(50ms);
    EXPECT_EQ(host.events.input, "one");
    host.pass(60ms);
    EXPECT_EQ(host.events.input, "onetwo");
    EXPECT_EQ(coverage(), Coverage::diverged);
    host.send("same");
    answer("same");
    EXPECT_EQ(coverage(), Coverage::diverged) << "the answer may go on";
    request("three");
    EXPECT_EQ(host.events.input, "onetwothree");
    EXPECT_EQ(coverage(), Coverage::covered);
    EXPECT_EQ(host.stack.counters().alignments, 1u);
}

TEST_F(Aligned, ALongerAnswerIsCutAndTheNextOneStandsWhereThePrimarysDoes) {
    request("one");
    host.send("id=12345");
    answer("id=7");
    request("two");
    host.pass(110ms);
    EXPECT_EQ(host.events.input, "onetwo");
    answer("same");
    host.send("same");
    request("three");
    ASSERT_EQ(coverage(), Coverage::covered);
    host.send("mine");
    EXPECT_EQ(host.stack.promote(host.now).promoted, 1u);
    const auto data = host.sent();
    ASSERT_TRUE(data);
    EXPECT_EQ(data->payload, "mine");
    EXPECT_EQ(data->tcp.seq, host.server_seq(8)) << "the primary's numbers";
}

TEST_F(Aligned, APureExcessIsADifference) {
    request("one");
    host.send("same and more");
    answer("same");
    EXPECT_EQ(coverage(), Coverage::covered);
    request("two");
    EXPECT_EQ(coverage(), Coverage::diverged) << "the client has gone on without what we would send";
    host.pass(110ms);
    EXPECT_EQ(host.events.input, "onetwo");
    EXPECT_EQ(coverage(), Coverage::diverged);
    EXPECT_EQ(host.snapshot().detail, 4u);
}

TEST_F(Aligned, InTheMiddleOfADivergentAnswerNothingIsCovered) {
    request("one");
    host.send("id=7");
    answer("id=1");
    EXPECT_EQ(coverage(), Coverage::diverged);
    EXPECT_EQ(host.stack.promote(host.now).reset, 1u);
}

TEST_F(Aligned, ASlowApplicationIsWaitedForAndSwallowsWhatIsThere) {
    host.events.appetite = 0;
    request("one");
    answer("ONE");
    request("two");
    host.pass(10s);
    host.events.appetite = SIZE_MAX;
    host.stack.resume_receive(host.events.connection, host.now);
    EXPECT_EQ(host.events.input, "one");
    host.send("ONE");
    host.pass(1ms);
    EXPECT_EQ(host.events.input, "onetwo");
    EXPECT_EQ(coverage(), Coverage::covered);
}

TEST_F(Aligned, PipelinedRequestsAreNoBoundary) {
    request("one");
    request("two");
    EXPECT_EQ(host.events.input, "onetwo");
    host.send("ONETWO");
    answer("ONE");
    answer("TWO");
    EXPECT_EQ(coverage(), Coverage::covered);
}

TEST_F(Aligned, AnAnswerThatGoesOnBehindTheNextRequestWasNotOver) {
    request("one");
    host.send("part one, part two");
    answer("part one");
    request("two");
    EXPECT_EQ(host.events.input, "one");
    answer(", part two");
    EXPECT_EQ(host.events.input, "onetwo");
    EXPECT_EQ(coverage(), Coverage::covered);
}

TEST_F(Aligned, ATakeoverHandsOnWhatWasWithheld) {
    request("one");
    answer("ONE");
    request("two");
    ASSERT_EQ(host.events.input, "one");
    EXPECT_EQ(host.stack.promote(host.now).promoted, 1u);
    EXPECT_EQ(host.events.input, "onetwo");
    sent_bytes();
    host.stack.set_options(host.events.connection, {.nodelay = true}, host.now);
    host.send("ONETWO");
    EXPECT_EQ(sent_bytes(), "TWO");
}

}  // namespace
}  // namespace understudy::stack::test
