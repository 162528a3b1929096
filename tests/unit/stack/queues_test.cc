#include <gtest/gtest.h>

#include <random>
#include <string>

#include "stack/byte_queue.hh"
#include "stack/reassembly.hh"
#include "stack/send_marks.hh"
#include "stack/send_queue.hh"

namespace understudy::stack {
namespace {

std::span<const std::byte> bytes(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}
std::string text(std::span<const std::byte> span) {
    return {reinterpret_cast<const char*>(span.data()), span.size()};
}

TEST(ByteQueue, BehavesLikeAString) {
    std::mt19937 random(7);
    ByteQueue queue;
    std::string model;
    for (int step = 0; step < 5000; ++step) {
        const std::size_t n = random() % 300;
        if (random() % 2 == 0) {
            std::string more;
            for (std::size_t i = 0; i < n; ++i)
                more += static_cast<char>(random());
            queue.push(bytes(more));
            model += more;
        } else {
            const auto count = static_cast<std::uint32_t>(std::min(n, model.size()));
            queue.pop(count);
            model.erase(0, count);
        }
        ASSERT_EQ(queue.size(), model.size());
        const auto [first, second] = queue.view(0, queue.size());
        ASSERT_EQ(text(first) + text(second), model);
        ASSERT_EQ(queue.mismatch(0, bytes(model)), model.size());
    }
}

TEST(ByteQueue, FindsTheFirstDifference) {
    ByteQueue queue;
    queue.push(bytes("abcdef"));
    EXPECT_EQ(queue.mismatch(2, bytes("cdXf")), 2u);
    EXPECT_EQ(queue.mismatch(2, bytes("cdef")), 4u);
}

TEST(Reassembly, GivesTheStreamBackWhateverTheOrder) {
    for (std::uint32_t seed = 0; seed < 200; ++seed) {
        std::mt19937 random(seed);
        std::string stream;
        for (int i = 0; i < 500; ++i)
            stream += static_cast<char>('a' + random() % 26);
        const Seq start(0xffffff80);  // wraps in the middle
        Reassembly reassembly;
        Seq edge = start;
        std::string got;
        while (got.size() < stream.size()) {
            const auto at = static_cast<std::uint32_t>(random() % stream.size());
            const auto n = static_cast<std::uint32_t>(1 + random() % 40);
            reassembly.insert(start + at,
                              bytes(stream).subspan(at, std::min<std::size_t>(n, stream.size() - at)),
                              1 << 20, 1000);
            for (auto piece = reassembly.front_at(edge); !piece.empty(); piece = reassembly.front_at(edge)) {
                got += text(piece);
                edge += static_cast<std::uint32_t>(piece.size());
                reassembly.pop_front();
            }
        }
        ASSERT_EQ(got, stream) << seed;
        EXPECT_TRUE(reassembly.empty());
        EXPECT_EQ(reassembly.bytes(), 0u);
    }
}

TEST(Reassembly, KeepsTheFirstCopyOfAByte) {
    Reassembly reassembly;
    reassembly.insert(Seq(10), bytes("BBB"), 100, 10);
    reassembly.insert(Seq(8), bytes("aaaaaaaa"), 100, 10);
    EXPECT_EQ(text(reassembly.front_at(Seq(8))), "aaBBBaaa");
}

TEST(Reassembly, IsBoundedInBytesAndRanges) {
    Reassembly reassembly;
    EXPECT_TRUE(reassembly.insert(Seq(10), bytes("1234"), 6, 2));
    EXPECT_FALSE(reassembly.insert(Seq(20), bytes("1234"), 6, 2));
    EXPECT_TRUE(reassembly.insert(Seq(20), bytes("1"), 6, 2));
    EXPECT_FALSE(reassembly.insert(Seq(30), bytes("1"), 6, 2));
    EXPECT_EQ(reassembly.bytes(), 5u);
}

TEST(Reassembly, PutsTheLatestSackBlockFirst) {
    Reassembly reassembly;
    reassembly.insert(Seq(10), bytes("12"), 100, 10);
    reassembly.insert(Seq(20), bytes("12"), 100, 10);
    reassembly.insert(Seq(30), bytes("12"), 100, 10);
    reassembly.insert(Seq(22), bytes("3"), 100, 10);
    std::array<wire::SeqRange, 2> blocks;
    ASSERT_EQ(reassembly.sack_blocks(blocks), 2u);
    EXPECT_EQ(blocks[0], (wire::SeqRange{Seq(20), Seq(23)}));
    EXPECT_EQ(blocks[1], (wire::SeqRange{Seq(30), Seq(32)}));
}

TEST(SendQueue, ApplicationAheadOfThePrimary) {
    SendQueue queue;
    queue.reset(Seq(100));
    EXPECT_EQ(queue.write_app(bytes("hello world"), 1000).taken, 11u);
    EXPECT_FALSE(queue.write_primary(bytes("hello")).differs_at);
    queue.release(Seq(105), true);
    EXPECT_EQ(queue.begin(), Seq(105));
    queue.release(Seq(111), true);
    EXPECT_EQ(queue.begin(), Seq(105)) << "acknowledged, but not compared yet";
    EXPECT_FALSE(queue.write_primary(bytes(" world")).differs_at);
    queue.release(Seq(111), true);
    EXPECT_EQ(queue.bytes(), 0u);
}

TEST(SendQueue, ApplicationBehindThePrimarySwallowsWhatIsThere) {
    SendQueue queue;
    queue.reset(Seq(100));
    queue.write_primary(bytes("hello"));
    queue.release(Seq(105), true);
    EXPECT_EQ(queue.begin(), Seq(100)) << "the application has not written it yet";
    EXPECT_EQ(queue.write_app(bytes("hello!"), 1000).taken, 6u);
    EXPECT_EQ(queue.end(), Seq(106));
    std::array<std::byte, 6> out;
    queue.copy(Seq(100), out);
    EXPECT_EQ(text(out), "hello!");
}

TEST(SendQueue, FindsTheByteThatDiffersAndKeepsThePrimarys) {
    SendQueue queue;
    queue.reset(Seq(0xfffffffe));
    queue.write_primary(bytes("hello"));
    const auto written = queue.write_app(bytes("heLlo"), 1000);
    ASSERT_TRUE(written.differs_at);
    EXPECT_EQ(*written.differs_at, Seq(0xfffffffe) + 2);
    std::array<std::byte, 5> out;
    queue.copy(Seq(0xfffffffe), out);
    EXPECT_EQ(text(out), "hello");
}

TEST(SendMarks, KnowWhereWritesEndUntilThatIsSent) {
    SendMarks marks;
    marks.add(Seq(0xfffffff0), WriteEnd::burst);
    marks.add(Seq(4), WriteEnd::record);
    marks.add(Seq(9), WriteEnd::push);
    EXPECT_EQ(marks.at(Seq(0xfffffff0)), WriteEnd::burst);
    EXPECT_EQ(marks.at(Seq(5)), WriteEnd::none);
    EXPECT_EQ(marks.record_after(Seq(0xffffff00), Seq(20)), Seq(4));
    EXPECT_EQ(marks.record_after(Seq(4), Seq(20)), Seq(20)) << "behind it there is none";
    EXPECT_EQ(marks.record_after(Seq(0), Seq(2)), Seq(2)) << "it lies further on";
    marks.drop_through(Seq(4));
    EXPECT_EQ(marks.at(Seq(4)), WriteEnd::none);
    EXPECT_EQ(marks.at(Seq(9)), WriteEnd::push);
    marks.drop_through(Seq(9));
    EXPECT_TRUE(marks.empty());
}

TEST(SendQueue, TheLimitHoldsForNewBytesOnly) {
    SendQueue queue;
    queue.reset(Seq(0));
    queue.write_primary(bytes("12345678"));
    EXPECT_EQ(queue.write_app(bytes("1234567890"), 9).taken, 9u);
    EXPECT_EQ(queue.write_app(bytes("0"), 9).taken, 0u);
}

}  // namespace
}  // namespace understudy::stack
