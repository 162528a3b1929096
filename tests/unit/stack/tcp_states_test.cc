// State by state, segment by segment (RFC 9293 3.10.7, RFC 5961): what is answered, and what becomes of it.
#include <gmock/gmock.h>

#include <map>

#include "tests/unit/stack/master.hh"

namespace understudy::stack::test {
namespace {

// What comes back.
enum class Reply { none, ack, rst, syn_ack };

// Where the connection is afterwards; `gone` is CLOSED, or for a passive open LISTEN.
enum class After {
    gone,
    syn_sent,
    syn_received,
    established,
    fin_wait_1,
    fin_wait_2,
    close_wait,
    closing,
    last_ack,
    time_wait
};

enum class Kind {
    syn_again,      // the SYN of this connection once more
    syn_in_window,  // another SYN
    syn_out_of_window,
    syn_ack,  // repeats the peer's SYN, and acknowledges ours
    rst_exact,
    rst_in_window,
    rst_out_of_window,
    rst_ack,      // RST with an acceptable acknowledgement
    ack_current,  // brings nothing new
    ack_new,      // of all that we sent
    ack_too_new,
    ack_far_too_old,
    no_flags,
    data,
    data_old,
    data_ahead,
    data_out_of_window,
    fin,
};

struct Row {
    Kind kind;
    Reply reply;
    After after;
};

std::string name_of(const Row& row) {
    static const std::map<Kind, std::string> names = {
        {Kind::syn_again, "SynAgain"},
        {Kind::syn_in_window, "SynInWindow"},
        {Kind::syn_out_of_window, "SynOutOfWindow"},
        {Kind::syn_ack, "SynAck"},
        {Kind::rst_exact, "RstExact"},
        {Kind::rst_in_window, "RstInWindow"},
        {Kind::rst_out_of_window, "RstOutOfWindow"},
        {Kind::rst_ack, "RstAck"},
        {Kind::ack_current, "AckCurrent"},
        {Kind::ack_new, "AckNew"},
        {Kind::ack_too_new, "AckTooNew"},
        {Kind::ack_far_too_old, "AckFarTooOld"},
        {Kind::no_flags, "NoFlags"},
        {Kind::data, "Data"},
        {Kind::data_old, "DataOld"},
        {Kind::data_ahead, "DataAhead"},
        {Kind::data_out_of_window, "DataOutOfWindow"},
        {Kind::fin, "Fin"},
    };
    return names.at(row.kind);
}

class States : public Master, public ::testing::WithParamInterface<Row> {
  protected:
    // Brings a passive connection to `state`; the peer's next byte is then rcv, our next byte snd.
    void reach(After state) {
        if (state == After::syn_sent) return open();
        if (state == After::syn_received) {
            syn();
            host.server_isn = host.sent()->tcp.seq.raw();
            return;
        }
        establish();
        // Something was said in both directions, so that there is something old.
        host.inject(from_client(0, 0, TcpFlags::ack, std::string(10, 'c')));
        host.send(std::string(10, 's'));
        host.inject(from_client(10, 10, TcpFlags::ack));
        rcv = snd = 10;
        const bool peer_closed = state == After::close_wait || state == After::last_ack;
        if (peer_closed) peer_fin(0);
        const bool closed = state != After::established && state != After::close_wait;
        if (closed) {
            host.stack.shutdown_send(host.events.connection, host.now);
            ++snd;
        }
        if (state == After::fin_wait_2) host.inject(from_client(10, 11, TcpFlags::ack));
        if (state == After::closing) peer_fin(1);
        if (state == After::time_wait) {
            host.inject(from_client(10, 11, TcpFlags::ack));
            peer_fin(0);
        }
        host.wire.frames.clear();
        ASSERT_EQ(now_in(), state);
        host.pass(600ms);  // past the throttle of RFC 5961 7, short of the retransmission of a FIN
        host.wire.frames.clear();
    }

    void open() {
        const Endpoint local{service_endpoint.address, service_endpoint.port};
        id = *host.stack.connect(local, client_endpoint, client_link, host.now);
        host.server_isn = host.sent()->tcp.seq.raw();
    }

    // The peer's FIN; `unacked`: bytes of ours that it does not acknowledge yet.
    void peer_fin(std::uint32_t unacked) {
        host.inject(from_client(10, snd - unacked, TcpFlags::ack | TcpFlags::fin));
        ++rcv;
    }

    After now_in() {
        if (host.stack.time_wait_count() != 0) return After::time_wait;
        std::uint32_t cursor = 0;
        const auto all = host.stack.snapshots(cursor, 10);
        if (all.empty()) return After::gone;
        switch (all[0].state) {
            case State::syn_sent:
                return After::syn_sent;
            case State::syn_received:
                return After::syn_received;
            case State::established:
                return After::established;
            case State::fin_wait_1:
                return After::fin_wait_1;
            case State::fin_wait_2:
                return After::fin_wait_2;
            case State::close_wait:
                return After::close_wait;
            case State::closing:
                return After::closing;
            case State::last_ack:
                return After::last_ack;
            case State::time_wait:
                return After::time_wait;
        }
        return After::gone;
    }

    Packet segment(Kind kind) {
        const std::uint32_t outside = 1u << 30;
        switch (kind) {
            case Kind::syn_again:
                return opening();
            case Kind::syn_in_window:
                return from_client(rcv + 100, snd, TcpFlags::syn);
            case Kind::syn_out_of_window:
                return from_client(rcv - outside, snd, TcpFlags::syn);
            case Kind::syn_ack: {
                Packet packet = from_client(0, 0, TcpFlags::syn | TcpFlags::ack);
                packet.tcp.seq = Seq(Host::client_isn);
                return packet;
            }
            case Kind::rst_exact:
                return from_client(rcv, snd, TcpFlags::rst);
            case Kind::rst_in_window:
                return from_client(rcv + 100, snd, TcpFlags::rst);
            case Kind::rst_out_of_window:
                return from_client(rcv - outside, snd, TcpFlags::rst);
            case Kind::rst_ack:
                return from_client(rcv, snd, TcpFlags::rst | TcpFlags::ack);
            case Kind::ack_current:
                return from_client(rcv, rcv == 0 ? snd - 1 : 10, TcpFlags::ack);
            case Kind::ack_new:
                return from_client(rcv, snd, TcpFlags::ack);
            case Kind::ack_too_new:
                return from_client(rcv, snd + 1000, TcpFlags::ack);
            case Kind::ack_far_too_old:
                return from_client(rcv, snd - outside, TcpFlags::ack);
            case Kind::no_flags:
                return from_client(rcv, 0, 0);
            case Kind::data:
                return from_client(rcv, snd, TcpFlags::ack, "hello");
            case Kind::data_old:
                return from_client(rcv - 5, snd, TcpFlags::ack, "old");
            case Kind::data_ahead:
                return from_client(rcv + 100, snd, TcpFlags::ack, "ahead");
            case Kind::data_out_of_window:
                return from_client(rcv + outside, snd, TcpFlags::ack, "far");
            case Kind::fin:
                return from_client(rcv, snd, TcpFlags::fin | TcpFlags::ack);
        }
        return {};
    }

    void expect(const Row& row) {
        host.inject(segment(row.kind));
        auto reply = host.sent();
        if (!reply && row.reply == Reply::ack) {  // it may be delayed
            host.pass(205ms);
            reply = host.sent();
        }
        switch (row.reply) {
            case Reply::none:
                EXPECT_FALSE(reply) << "flags " << int{reply->tcp.flags.bits};
                break;
            case Reply::ack:
                ASSERT_TRUE(reply);
                EXPECT_TRUE(reply->has(TcpFlags::ack)) << int{reply->tcp.flags.bits};
                EXPECT_FALSE(reply->has(TcpFlags::syn | TcpFlags::rst)) << int{reply->tcp.flags.bits};
                break;
            case Reply::rst:
                ASSERT_TRUE(reply);
                EXPECT_TRUE(reply->has(TcpFlags::rst)) << int{reply->tcp.flags.bits};
                break;
            case Reply::syn_ack:
                ASSERT_TRUE(reply);
                EXPECT_TRUE(reply->is(TcpFlags::syn | TcpFlags::ack)) << int{reply->tcp.flags.bits};
                break;
        }
        EXPECT_EQ(now_in(), row.after);
    }

    std::uint32_t rcv = 0;
    std::uint32_t snd = 0;
    ConnectionId id;
};

// clang-format off
class Closed : public States {};
TEST_P(Closed, Answers) { expect(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Listen, Closed, ::testing::Values(
    Row{Kind::syn_again, Reply::syn_ack, After::syn_received},
    Row{Kind::syn_ack, Reply::rst, After::gone},
    Row{Kind::rst_exact, Reply::none, After::gone},
    Row{Kind::rst_ack, Reply::none, After::gone},
    Row{Kind::ack_new, Reply::rst, After::gone},
    Row{Kind::no_flags, Reply::none, After::gone},
    Row{Kind::data, Reply::rst, After::gone},
    Row{Kind::fin, Reply::rst, After::gone}),
    [](const auto& row) { return name_of(row.param); });

class InSynSent : public States {};
TEST_P(InSynSent, Answers) { reach(After::syn_sent); expect(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Rfc9293, InSynSent, ::testing::Values(
    Row{Kind::syn_again, Reply::syn_ack, After::syn_received},
    Row{Kind::syn_ack, Reply::ack, After::established},
    Row{Kind::rst_exact, Reply::none, After::syn_sent},
    Row{Kind::rst_ack, Reply::none, After::gone},
    Row{Kind::ack_new, Reply::none, After::syn_sent},
    Row{Kind::ack_too_new, Reply::rst, After::syn_sent},
    Row{Kind::ack_far_too_old, Reply::rst, After::syn_sent},
    Row{Kind::no_flags, Reply::none, After::syn_sent},
    Row{Kind::data, Reply::none, After::syn_sent},
    Row{Kind::fin, Reply::none, After::syn_sent}),
    [](const auto& row) { return name_of(row.param); });

class InSynReceived : public States {};
TEST_P(InSynReceived, Answers) { reach(After::syn_received); expect(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Rfc9293, InSynReceived, ::testing::Values(
    Row{Kind::syn_again, Reply::syn_ack, After::syn_received},
    Row{Kind::syn_in_window, Reply::none, After::gone},
    Row{Kind::syn_out_of_window, Reply::ack, After::syn_received},
    Row{Kind::rst_exact, Reply::none, After::gone},
    Row{Kind::rst_in_window, Reply::ack, After::syn_received},
    Row{Kind::rst_out_of_window, Reply::none, After::syn_received},
    Row{Kind::rst_ack, Reply::none, After::gone},
    Row{Kind::ack_current, Reply::rst, After::syn_received},
    Row{Kind::ack_new, Reply::none, After::established},
    Row{Kind::ack_too_new, Reply::rst, After::syn_received},
    Row{Kind::ack_far_too_old, Reply::rst, After::syn_received},
    Row{Kind::no_flags, Reply::none, After::syn_received},
    Row{Kind::data, Reply::ack, After::established},
    Row{Kind::data_ahead, Reply::ack, After::established},
    Row{Kind::data_out_of_window, Reply::ack, After::syn_received},
    Row{Kind::fin, Reply::ack, After::close_wait}),
    [](const auto& row) { return name_of(row.param); });

class InEstablished : public States {};
TEST_P(InEstablished, Answers) { reach(After::established); expect(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Rfc9293, InEstablished, ::testing::Values(
    Row{Kind::syn_again, Reply::ack, After::established},
    Row{Kind::syn_in_window, Reply::ack, After::established},
    Row{Kind::syn_out_of_window, Reply::ack, After::established},
    Row{Kind::syn_ack, Reply::ack, After::established},
    Row{Kind::rst_exact, Reply::none, After::gone},
    Row{Kind::rst_in_window, Reply::ack, After::established},
    Row{Kind::rst_out_of_window, Reply::none, After::established},
    Row{Kind::rst_ack, Reply::none, After::gone},
    Row{Kind::ack_current, Reply::none, After::established},
    Row{Kind::ack_too_new, Reply::ack, After::established},
    Row{Kind::ack_far_too_old, Reply::ack, After::established},
    Row{Kind::no_flags, Reply::none, After::established},
    Row{Kind::data, Reply::ack, After::established},
    Row{Kind::data_old, Reply::ack, After::established},
    Row{Kind::data_ahead, Reply::ack, After::established},
    Row{Kind::data_out_of_window, Reply::ack, After::established},
    Row{Kind::fin, Reply::ack, After::close_wait}),
    [](const auto& row) { return name_of(row.param); });

class InFinWait1 : public States {};
TEST_P(InFinWait1, Answers) { reach(After::fin_wait_1); expect(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Rfc9293, InFinWait1, ::testing::Values(
    Row{Kind::syn_in_window, Reply::ack, After::fin_wait_1},
    Row{Kind::rst_exact, Reply::none, After::gone},
    Row{Kind::rst_in_window, Reply::ack, After::fin_wait_1},
    Row{Kind::rst_out_of_window, Reply::none, After::fin_wait_1},
    Row{Kind::ack_current, Reply::none, After::fin_wait_1},
    Row{Kind::ack_new, Reply::none, After::fin_wait_2},
    Row{Kind::ack_too_new, Reply::ack, After::fin_wait_1},
    Row{Kind::ack_far_too_old, Reply::ack, After::fin_wait_1},
    Row{Kind::data, Reply::ack, After::fin_wait_2},
    Row{Kind::data_out_of_window, Reply::ack, After::fin_wait_1},
    Row{Kind::fin, Reply::ack, After::time_wait}),
    [](const auto& row) { return name_of(row.param); });

class InFinWait2 : public States {};
TEST_P(InFinWait2, Answers) { reach(After::fin_wait_2); expect(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Rfc9293, InFinWait2, ::testing::Values(
    Row{Kind::syn_in_window, Reply::ack, After::fin_wait_2},
    Row{Kind::rst_exact, Reply::none, After::gone},
    Row{Kind::rst_in_window, Reply::ack, After::fin_wait_2},
    Row{Kind::rst_out_of_window, Reply::none, After::fin_wait_2},
    Row{Kind::ack_new, Reply::none, After::fin_wait_2},
    Row{Kind::ack_too_new, Reply::ack, After::fin_wait_2},
    Row{Kind::data, Reply::ack, After::fin_wait_2},
    Row{Kind::data_ahead, Reply::ack, After::fin_wait_2},
    Row{Kind::data_out_of_window, Reply::ack, After::fin_wait_2},
    Row{Kind::fin, Reply::ack, After::time_wait}),
    [](const auto& row) { return name_of(row.param); });

class InCloseWait : public States {};
TEST_P(InCloseWait, Answers) { reach(After::close_wait); expect(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Rfc9293, InCloseWait, ::testing::Values(
    Row{Kind::syn_in_window, Reply::ack, After::close_wait},
    Row{Kind::rst_exact, Reply::none, After::gone},
    Row{Kind::rst_in_window, Reply::ack, After::close_wait},
    Row{Kind::rst_out_of_window, Reply::none, After::close_wait},
    Row{Kind::ack_current, Reply::none, After::close_wait},
    Row{Kind::ack_too_new, Reply::ack, After::close_wait},
    Row{Kind::data_old, Reply::ack, After::close_wait},
    Row{Kind::data_out_of_window, Reply::ack, After::close_wait}),
    [](const auto& row) { return name_of(row.param); });

class InClosing : public States {};
TEST_P(InClosing, Answers) { reach(After::closing); expect(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Rfc9293, InClosing, ::testing::Values(
    Row{Kind::syn_in_window, Reply::ack, After::closing},
    Row{Kind::rst_exact, Reply::none, After::gone},
    Row{Kind::rst_in_window, Reply::ack, After::closing},
    Row{Kind::rst_out_of_window, Reply::none, After::closing},
    Row{Kind::ack_current, Reply::none, After::closing},
    Row{Kind::ack_new, Reply::none, After::time_wait},
    Row{Kind::ack_too_new, Reply::ack, After::closing},
    Row{Kind::data_out_of_window, Reply::ack, After::closing}),
    [](const auto& row) { return name_of(row.param); });

class InLastAck : public States {};
TEST_P(InLastAck, Answers) { reach(After::last_ack); expect(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Rfc9293, InLastAck, ::testing::Values(
    Row{Kind::syn_in_window, Reply::ack, After::last_ack},
    Row{Kind::rst_exact, Reply::none, After::gone},
    Row{Kind::rst_in_window, Reply::ack, After::last_ack},
    Row{Kind::rst_out_of_window, Reply::none, After::last_ack},
    Row{Kind::ack_current, Reply::none, After::last_ack},
    Row{Kind::ack_new, Reply::none, After::gone},
    Row{Kind::ack_too_new, Reply::ack, After::last_ack},
    Row{Kind::data_out_of_window, Reply::ack, After::last_ack}),
    [](const auto& row) { return name_of(row.param); });

class InTimeWait : public States {};
TEST_P(InTimeWait, Answers) { reach(After::time_wait); expect(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Rfc9293, InTimeWait, ::testing::Values(
    Row{Kind::syn_again, Reply::ack, After::time_wait},
    Row{Kind::syn_in_window, Reply::syn_ack, After::syn_received},
    Row{Kind::syn_out_of_window, Reply::ack, After::time_wait},
    Row{Kind::rst_exact, Reply::none, After::gone},
    Row{Kind::rst_in_window, Reply::none, After::time_wait},
    Row{Kind::rst_out_of_window, Reply::none, After::time_wait},
    Row{Kind::ack_new, Reply::none, After::time_wait},
    Row{Kind::ack_far_too_old, Reply::none, After::time_wait},
    Row{Kind::data_old, Reply::ack, After::time_wait},
    Row{Kind::data_out_of_window, Reply::ack, After::time_wait}),
    [](const auto& row) { return name_of(row.param); });
// clang-format on

}  // namespace
}  // namespace understudy::stack::test
