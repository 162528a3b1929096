#include "shadow_app/source.hh"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "shadow_app/pattern.hh"
#include "tests/unit/shadow_app/fake_connection.hh"

namespace understudy::shadow_app {
namespace {

std::string pattern(std::uint64_t stream, std::uint64_t offset, std::size_t size) {
    std::string bytes(size, '\0');
    fill_pattern(stream, offset, std::as_writable_bytes(std::span(bytes)));
    return bytes;
}

TEST(Pattern, IsTheSameHoweverItIsCut) {
    const std::string whole = pattern(7, 0, 100);
    for (std::size_t cut = 0; cut <= whole.size(); ++cut)
        EXPECT_EQ(pattern(7, 0, cut) + pattern(7, cut, whole.size() - cut), whole) << "cut at " << cut;
}

TEST(Pattern, DiffersBetweenStreams) {
    EXPECT_NE(pattern(0, 0, 64), pattern(1, 0, 64));
}

TEST(SourceRequest, IsReadAsItIsWritten) {
    const SourceRequest request{65'536, 7};
    EXPECT_EQ(format_source_request(request), "send 65536 7\n");
    EXPECT_EQ(parse_source_request("send 65536 7"), request);
}

TEST(SourceRequest, RefusesWhatIsMalformedOrOutOfBounds) {
    for (const char* line : {"", "send", "send ", "send 1", "send 0 1", "send 1 ", "send 1 2 3", "send -1 2", "take 1 2",
                             "send 1 2x", "send 4611686018427387905 1", "send 99999999999999999999 1"})
        EXPECT_FALSE(parse_source_request(line)) << line;
    EXPECT_TRUE(parse_source_request("send 4611686018427387904 1"));
    EXPECT_FALSE(parse_source_request("send 1 " + std::string(64, '0')));
}

class SourceTest : public testing::Test {
  protected:
    SourceTest() { source_.accepted(connection_); }
    void hear(std::string_view text) { EXPECT_EQ(source_.received(connection_, bytes_of(text)), text.size()); }

    shadow_app::Source source_;
    FakeConnection connection_;
};

TEST_F(SourceTest, GoesOnInItsStream) {
    hear("send 10 3\nsend 90");
    EXPECT_EQ(connection_.written, pattern(3, 0, 10));
    hear(" 3\n");
    EXPECT_EQ(connection_.written, pattern(3, 0, 100));
}

TEST_F(SourceTest, WritesTheSameInAnyRoom) {
    connection_.room = 33;
    hear("send 50000 3\nsend 7 3\n");
    for (int turn = 0; turn < 100 && connection_.written.size() < 50'007; ++turn) {
        connection_.room = 701;
        source_.writable(connection_);
    }
    EXPECT_EQ(connection_.written, pattern(3, 0, 50'007));
    EXPECT_EQ(connection_.shutdowns, 0);
}

TEST_F(SourceTest, EndsBehindWhatWasAskedFor) {
    connection_.room = 10;
    hear("send 20 3\n");
    source_.peer_closed(connection_);
    EXPECT_EQ(connection_.shutdowns, 0);
    connection_.room = 100;
    source_.writable(connection_);
    EXPECT_EQ(connection_.written, pattern(3, 0, 20));
    EXPECT_EQ(connection_.shutdowns, 1);
    source_.writable(connection_);
    EXPECT_EQ(connection_.shutdowns, 1);
}

TEST_F(SourceTest, SaysWhatItDoesNotUnderstandBehindWhatWasAskedFor) {
    for (const char* line : {"hello\n", "send 1 4\n", "send 4611686018427387904 3\n"}) {
        shadow_app::Source source;
        FakeConnection connection;
        source.accepted(connection);
        connection.room = 12;
        source.received(connection, bytes_of(std::string("send 10 3\n") + line + "send 1 3\n"));
        EXPECT_EQ(connection.written, pattern(3, 0, 10) + "er") << line;
        connection.room = 100;
        source.writable(connection);
        EXPECT_EQ(connection.written, pattern(3, 0, 10) + "error\n") << line;
        EXPECT_EQ(connection.shutdowns, 1);
    }
}

TEST_F(SourceTest, RefusesALineThatDoesNotEnd) {
    hear(std::string(65, 's'));
    EXPECT_EQ(connection_.written, "error\n");
    EXPECT_EQ(connection_.shutdowns, 1);
}

}  // namespace
}  // namespace understudy::shadow_app
