// Segments that no honest host sends; each was found by a fuzzer.
#include "tests/unit/stack/mirror.hh"

namespace understudy::stack::test {
namespace {

using HostileMirror = Mirror;

// At a distance of 2^31 each sequence number is before the other.
TEST_F(HostileMirror, ClientDataHalfTheSequenceSpaceAwayIsRefused) {
    handshake();
    client(0x80000000, 0, "hello");
    EXPECT_EQ(host.stack.counters().drop_out_of_window, 1u);
    EXPECT_EQ(host.events.input, "");
    client(0, 0, "hello");
    EXPECT_EQ(host.events.input, "hello");
}

TEST_F(HostileMirror, PrimaryDataHalfTheSequenceSpaceAwayIsRefused) {
    handshake();
    primary(0x80000000, 0, "hello");
    EXPECT_EQ(host.stack.counters().drop_out_of_window, 1u);
    host.pass(1s);
    EXPECT_EQ(host.snapshot().coverage, Coverage::covered);
}

}  // namespace
}  // namespace understudy::stack::test
