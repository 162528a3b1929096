// A client over the loopback interface, with a server that the test plays by hand and a clock of its own.
#include "tools/load/stream_client.hh"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "shadow_app/pattern.hh"

namespace understudy::load {
namespace {

using std::chrono::milliseconds;

constexpr int patience_ms = 10'000;

Instant at_ms(std::int64_t value) {
    return Instant(milliseconds(value));
}

// False when nothing came within the bound.
bool wait_for(int descriptor, short events) {
    pollfd wanted{.fd = descriptor, .events = events, .revents = 0};
    return ::poll(&wanted, 1, patience_ms) == 1;
}

class LoopbackListener {
  public:
    LoopbackListener() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t length = sizeof address;
        auto* generic = reinterpret_cast<sockaddr*>(&address);
        if (::bind(socket_.get(), generic, length) != 0 || ::listen(socket_.get(), 8) != 0 ||
            ::getsockname(socket_.get(), generic, &length) != 0)
            throw std::runtime_error("no loopback listener");
        endpoint_ = {stack::IpAddress::from_v4(INADDR_LOOPBACK), ntohs(address.sin_port)};
    }
    const stack::Endpoint& endpoint() const { return endpoint_; }
    twin::Descriptor accept() const {
        if (!wait_for(socket_.get(), POLLIN)) throw std::runtime_error("nobody connected");
        return twin::Descriptor(::accept(socket_.get(), nullptr, nullptr));
    }
    void close() { socket_ = {}; }

  private:
    twin::Descriptor socket_;
    stack::Endpoint endpoint_;
};

class ClientTest : public testing::Test {
  protected:
    explicit ClientTest(App app = App::echo, std::size_t message_bytes = 75)
        : settings_{.server = listener_.endpoint(),
                    .app = app,
                    .message_bytes = message_bytes,
                    .interval = milliseconds(20)} {}

    void open(std::int64_t now_ms = 0) {
        ASSERT_TRUE(client_.connect(at_ms(now_ms)));
        if (client_.outcome() == Outcome::connecting) client_ready(EPOLLOUT, now_ms);
        ASSERT_EQ(client_.outcome(), Outcome::open) << client_.error();
        server_ = listener_.accept();
    }
    // Waits until the kernel has something for the client and lets it look.
    void client_ready(std::uint32_t events, std::int64_t now_ms) {
        const short wanted = (events & EPOLLOUT) != 0 ? POLLOUT : POLLIN;
        ASSERT_TRUE(wait_for(client_.descriptor(), wanted)) << "nothing came";
        client_.ready(events, at_ms(now_ms), scratch_);
    }
    std::string server_read(std::size_t size) {
        std::string bytes(size, '\0');
        if (!wait_for(server_.get(), POLLIN)) return "nothing came";
        const ssize_t count = ::recv(server_.get(), bytes.data(), bytes.size(), MSG_WAITALL);
        bytes.resize(count < 0 ? 0 : static_cast<std::size_t>(count));
        return bytes;
    }
    void server_write(std::string_view bytes) {
        ASSERT_EQ(::send(server_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
                  static_cast<ssize_t>(bytes.size()));
    }
    void server_resets() {
        const linger abort{.l_onoff = 1, .l_linger = 0};
        ASSERT_EQ(::setsockopt(server_.get(), SOL_SOCKET, SO_LINGER, &abort, sizeof abort), 0);
        server_ = {};
    }
    void server_sends_fin() { ASSERT_EQ(::shutdown(server_.get(), SHUT_WR), 0); }
    // One message, sent and answered.
    void exchange(std::int64_t now_ms) {
        client_.send_due(at_ms(now_ms));
        server_write(server_read(settings_.message_bytes));
        client_ready(EPOLLIN, now_ms + 1);
    }

    LoopbackListener listener_;
    ClientSettings settings_;
    StreamClient client_{settings_, 5};
    twin::Descriptor server_;
    std::array<std::byte, 4096> scratch_{};
};

using Echo = ClientTest;

TEST_F(Echo, CountsAnAnsweredMessage) {
    open();
    client_.begin(at_ms(10));
    EXPECT_EQ(client_.next_due(), at_ms(10));
    exchange(10);
    EXPECT_EQ(client_.messages(), 1u);
    EXPECT_EQ(client_.checked_bytes(), 75u);
    EXPECT_EQ(client_.wrong_bytes(), 0u);
    EXPECT_FALSE(client_.owed_since());
}

TEST_F(Echo, SendsNothingBeforeItIsDue) {
    open();
    client_.begin(at_ms(10));
    client_.send_due(at_ms(9));
    EXPECT_FALSE(client_.owed_since());
}

TEST_F(Echo, KeepsOneMessageOutstanding) {
    open();
    client_.begin(at_ms(10));
    client_.send_due(at_ms(10));
    EXPECT_FALSE(client_.next_due());
    client_.send_due(at_ms(50));
    server_read(75);
    pollfd more{.fd = server_.get(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(::poll(&more, 1, 0), 0) << "a second message was sent";
}

TEST_F(Echo, ResumesItsScheduleAfterAnOutageWithoutABurst) {
    open();
    client_.begin(at_ms(10));
    client_.send_due(at_ms(10));
    const std::string message = server_read(75);
    server_write(message);
    client_ready(EPOLLIN, 325);
    // The message due at 30 is late and goes at once; those due at 50 to 310 are not made up for.
    EXPECT_TRUE(client_.owed_since());
    server_write(server_read(75));
    client_ready(EPOLLIN, 326);
    EXPECT_EQ(client_.messages(), 2u);
    EXPECT_EQ(client_.next_due(), at_ms(330));
}

TEST_F(Echo, OwesFromWhenTheMessageWasDue) {
    open();
    client_.begin(at_ms(10));
    client_.send_due(at_ms(13));
    EXPECT_EQ(client_.owed_since(), at_ms(10));
}

TEST_F(Echo, CountsWrongBytes) {
    open();
    client_.begin(at_ms(10));
    client_.send_due(at_ms(10));
    std::string message = server_read(75);
    message[70] = static_cast<char>(message[70] + 1);
    server_write(message);
    client_ready(EPOLLIN, 11);
    EXPECT_EQ(client_.wrong_bytes(), 1u);
    EXPECT_EQ(client_.first_wrong(), 70u);
}

TEST_F(Echo, TakesAnAnswerInPieces) {
    open();
    client_.begin(at_ms(10));
    client_.send_due(at_ms(10));
    const std::string message = server_read(75);
    server_write(message.substr(0, 30));
    client_ready(EPOLLIN, 11);
    EXPECT_EQ(client_.messages(), 0u);
    EXPECT_EQ(client_.owed_since(), at_ms(10));
    server_write(message.substr(30));
    client_ready(EPOLLIN, 12);
    EXPECT_EQ(client_.messages(), 1u);
    EXPECT_EQ(client_.wrong_bytes(), 0u);
}

TEST_F(Echo, SeesAReset) {
    open();
    client_.begin(at_ms(10));
    client_.send_due(at_ms(10));
    server_read(75);
    server_resets();
    client_ready(EPOLLIN, 11);
    EXPECT_EQ(client_.outcome(), Outcome::reset);
    EXPECT_EQ(client_.ended_at(), at_ms(11));
}

TEST_F(Echo, SeesAnEarlyClose) {
    open();
    server_sends_fin();
    client_ready(EPOLLIN, 11);
    EXPECT_EQ(client_.outcome(), Outcome::closed_early);
}

TEST_F(Echo, IsStalledWhenItWasOwedSomethingForTooLong) {
    open();
    client_.begin(at_ms(10));
    client_.send_due(at_ms(10));
    client_.give_up(at_ms(9), at_ms(100));
    EXPECT_EQ(client_.outcome(), Outcome::open);
    client_.give_up(at_ms(10), at_ms(101));
    EXPECT_EQ(client_.outcome(), Outcome::stalled);
    EXPECT_EQ(client_.receipts.longest_gap(), milliseconds(91));
}

TEST_F(Echo, IsNotStalledWhenNothingWasOwed) {
    open();
    client_.give_up(at_ms(1'000'000), at_ms(1'000'000));
    EXPECT_EQ(client_.outcome(), Outcome::open);
}

TEST_F(Echo, FinishesOnceTheServerHasAnsweredAndClosed) {
    open();
    client_.begin(at_ms(10));
    client_.send_due(at_ms(10));
    client_.finish(at_ms(11));
    EXPECT_EQ(client_.outcome(), Outcome::open) << "an answer is owed";
    server_write(server_read(75));
    client_ready(EPOLLIN, 12);
    EXPECT_EQ(client_.outcome(), Outcome::closing);
    EXPECT_EQ(server_read(1), "") << "no FIN";
    server_sends_fin();
    client_ready(EPOLLIN, 13);
    EXPECT_EQ(client_.outcome(), Outcome::finished);
}

TEST_F(Echo, IsStalledWhenTheServerNeverCloses) {
    open();
    client_.finish(at_ms(11));
    EXPECT_EQ(client_.outcome(), Outcome::closing);
    client_.give_up(at_ms(11), at_ms(500));
    EXPECT_EQ(client_.outcome(), Outcome::stalled);
}

TEST_F(Echo, IdleMakesOneExchangeAtTheEnd) {
    settings_.interval.reset();
    open();
    client_.begin(at_ms(10));
    EXPECT_FALSE(client_.next_due());
    client_.finish(at_ms(900));
    EXPECT_EQ(client_.owed_since(), at_ms(900));
    server_write(server_read(75));
    client_ready(EPOLLIN, 901);
    EXPECT_EQ(client_.messages(), 1u);
    EXPECT_EQ(client_.outcome(), Outcome::closing);
}

TEST_F(Echo, SaysThatNobodyListens) {
    listener_.close();
    if (client_.connect(at_ms(0))) client_ready(EPOLLOUT, 1);
    EXPECT_EQ(client_.outcome(), Outcome::connect_failed);
    EXPECT_FALSE(client_.error().empty());
}

class Discard : public ClientTest {
  protected:
    Discard() : ClientTest(App::discard) {}
};

TEST_F(Discard, CountsAMessageOnceItIsAcknowledged) {
    open();
    client_.begin(at_ms(10));
    client_.send_due(at_ms(10));
    // The acknowledgement wakes the client through the error queue.
    server_read(75);
    ASSERT_TRUE(wait_for(client_.descriptor(), 0)) << "nothing woke it";
    client_.ready(EPOLLERR, at_ms(12), scratch_);
    EXPECT_EQ(client_.messages(), 1u);
    EXPECT_EQ(client_.checked_bytes(), 75u);
    EXPECT_EQ(client_.next_due(), at_ms(30));
}

TEST_F(Discard, FindsAnAnswerWrong) {
    open();
    server_write("no");
    client_ready(EPOLLIN, 11);
    EXPECT_EQ(client_.wrong_bytes(), 2u);
}

class Ticker : public ClientTest {
  protected:
    Ticker() : ClientTest(App::ticker, 8) {}
};

TEST_F(Ticker, SubscribesOnceAndCountsLines) {
    open();
    client_.begin(at_ms(10));
    client_.send_due(at_ms(10));
    const std::string subscription = "subscribe 20000 8\n";
    EXPECT_EQ(server_read(subscription.size()), subscription);
    EXPECT_FALSE(client_.next_due());
    EXPECT_EQ(client_.owed_since(), at_ms(30));
    server_write("tick 1.\n");
    client_ready(EPOLLIN, 31);
    EXPECT_EQ(client_.messages(), 1u);
    EXPECT_EQ(client_.owed_since(), at_ms(50));
    server_write("tick 2.\ntick 3.\n");
    client_ready(EPOLLIN, 90);
    EXPECT_EQ(client_.messages(), 3u);
    EXPECT_EQ(client_.owed_since(), at_ms(90));
    EXPECT_EQ(client_.wrong_bytes(), 0u);
}

TEST_F(Ticker, WantsTheLastLineWhole) {
    open();
    client_.begin(at_ms(10));
    client_.send_due(at_ms(10));
    client_.finish(at_ms(40));
    server_write("tick 1.\ntick");
    client_ready(EPOLLIN, 41);
    server_sends_fin();
    client_ready(EPOLLIN, 42);
    EXPECT_EQ(client_.outcome(), Outcome::closed_early);
}

TEST_F(Ticker, FinishesAtTheEndOfALine) {
    open();
    client_.begin(at_ms(10));
    client_.send_due(at_ms(10));
    client_.finish(at_ms(40));
    server_write("tick 1.\n");
    server_sends_fin();
    client_ready(EPOLLIN, 41);
    if (!client_.over()) client_ready(EPOLLIN, 42);
    EXPECT_EQ(client_.outcome(), Outcome::finished);
}

class Source : public ClientTest {
  protected:
    static constexpr std::size_t block = StreamClient::least_block_bytes;
    Source() : ClientTest(App::source, block) {}

    // Serves the next `bytes` of the stream, and lets the client read all of it.
    void serve(std::size_t bytes, std::int64_t now_ms) {
        std::vector<std::byte> answer(bytes);
        shadow_app::fill_pattern(5, served_, answer);
        served_ += bytes;
        server_write({reinterpret_cast<const char*>(answer.data()), answer.size()});
        while (client_.checked_bytes() < served_ && !HasFatalFailure())
            client_ready(EPOLLIN, now_ms);
    }
    std::size_t requests_read() {
        std::size_t count = 0;
        const std::string request = "send 65536 5\n";
        while (server_read(request.size()) == request)
            if (++count == 64) break;
        return count;
    }

    std::uint64_t served_ = 0;
};

TEST_F(Source, AsksAheadAndCountsBlocks) {
    open();
    client_.begin(at_ms(10));
    client_.send_due(at_ms(10));
    EXPECT_EQ(requests_read(), 64u);
    EXPECT_FALSE(client_.next_due());
    serve(block - 1, 11);
    EXPECT_EQ(client_.messages(), 0u);
    serve(1, 12);
    EXPECT_EQ(client_.messages(), 1u);
    EXPECT_EQ(server_read(13), "send 65536 5\n") << "always as much ahead";
    EXPECT_EQ(client_.owed_since(), at_ms(12));
    EXPECT_EQ(client_.wrong_bytes(), 0u);
}

TEST_F(Source, FinishesWhenAllThatItAskedForHasCome) {
    open();
    client_.begin(at_ms(10));
    client_.send_due(at_ms(10));
    client_.finish(at_ms(11));
    for (std::uint64_t at = 0; at < 63; ++at)
        serve(block, 12);
    EXPECT_EQ(client_.outcome(), Outcome::open);
    serve(block, 13);
    EXPECT_EQ(client_.outcome(), Outcome::closing);
    server_sends_fin();
    client_ready(EPOLLIN, 14);
    EXPECT_EQ(client_.outcome(), Outcome::finished);
    EXPECT_EQ(client_.messages(), 64u);
}

TEST_F(Source, EndsEarlyWithTheServersFin) {
    open();
    client_.begin(at_ms(10));
    client_.send_due(at_ms(10));
    serve(100, 11);
    server_sends_fin();
    client_ready(EPOLLIN, 12);
    EXPECT_EQ(client_.outcome(), Outcome::closed_early);
}

TEST_F(Source, FindsWrongBytes) {
    open();
    server_write("no");
    client_ready(EPOLLIN, 11);
    EXPECT_EQ(client_.wrong_bytes(), 2u);
}

}  // namespace
}  // namespace understudy::load
