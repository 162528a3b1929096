// A UDP client over the loopback interface, with a server that the test plays by hand and a clock of its own.
#include "tools/load/datagram_client.hh"

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

namespace understudy::load {
namespace {

using std::chrono::milliseconds;

constexpr int patience_ms = 10'000;

Instant at_ms(std::int64_t value) {
    return Instant(milliseconds(value));
}

bool wait_for_input(int descriptor) {
    pollfd wanted{.fd = descriptor, .events = POLLIN, .revents = 0};
    return ::poll(&wanted, 1, patience_ms) == 1;
}

class LoopbackServer {
  public:
    LoopbackServer() : socket_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t length = sizeof address;
        auto* generic = reinterpret_cast<sockaddr*>(&address);
        if (::bind(socket_.get(), generic, length) != 0 ||
            ::getsockname(socket_.get(), generic, &length) != 0)
            throw std::runtime_error("no loopback socket");
        endpoint_ = {stack::IpAddress::from_v4(INADDR_LOOPBACK), ntohs(address.sin_port)};
    }
    const stack::Endpoint& endpoint() const { return endpoint_; }
    // The next request; its sender is whom send() answers.
    std::string receive() {
        if (!wait_for_input(socket_.get())) return "nothing came";
        std::string bytes(65'536, '\0');
        socklen_t length = sizeof client_;
        const ssize_t count = ::recvfrom(socket_.get(), bytes.data(), bytes.size(), 0,
                                         reinterpret_cast<sockaddr*>(&client_), &length);
        bytes.resize(count < 0 ? 0 : static_cast<std::size_t>(count));
        return bytes;
    }
    bool has_request() const {
        pollfd wanted{.fd = socket_.get(), .events = POLLIN, .revents = 0};
        return ::poll(&wanted, 1, 0) == 1;
    }
    void send(std::string_view bytes) const {
        ASSERT_EQ(::sendto(socket_.get(), bytes.data(), bytes.size(), 0,
                           reinterpret_cast<const sockaddr*>(&client_), sizeof client_),
                  static_cast<ssize_t>(bytes.size()));
    }
    void close() { socket_ = {}; }

  private:
    twin::Descriptor socket_;
    stack::Endpoint endpoint_;
    sockaddr_in client_{};
};

class Datagrams : public testing::Test {
  protected:
    void SetUp() override {
        ASSERT_TRUE(client_.connect(at_ms(0)));
        ASSERT_EQ(client_.outcome(), Outcome::open);
        client_.begin(at_ms(10));
    }
    void answer(std::string_view bytes, std::int64_t now_ms) {
        server_.send(bytes);
        read(now_ms);
    }
    void read(std::int64_t now_ms) {
        ASSERT_TRUE(wait_for_input(client_.descriptor()));
        client_.ready(EPOLLIN, at_ms(now_ms), scratch_);
    }

    LoopbackServer server_;
    ClientSettings settings_{.server = server_.endpoint(),
                             .app = App::udp_echo,
                             .message_bytes = 75,
                             .interval = milliseconds(20),
                             .retransmit_after = milliseconds(200),
                             .retransmit_at_most_after = milliseconds(500)};
    DatagramClient client_{settings_, 5};
    std::array<std::byte, 65'536> scratch_{};
};

TEST_F(Datagrams, CountsAnAnsweredRequest) {
    EXPECT_EQ(client_.next_due(), at_ms(10));
    client_.send_due(at_ms(9));
    EXPECT_FALSE(server_.has_request());
    client_.send_due(at_ms(10));
    const std::string request = server_.receive();
    EXPECT_EQ(request.size(), 75u);
    answer(request, 12);
    EXPECT_EQ(client_.messages(), 1u);
    EXPECT_EQ(client_.checked_bytes(), 75u);
    EXPECT_EQ(client_.wrong_bytes(), 0u);
    EXPECT_FALSE(client_.owed_since());
    EXPECT_EQ(client_.next_due(), at_ms(30));
}

TEST_F(Datagrams, RepeatsARequestWithDoubledPatienceUpToABound) {
    client_.send_due(at_ms(10));
    const std::string request = server_.receive();
    for (const std::int64_t due : {210, 610, 1110, 1610}) {
        EXPECT_EQ(client_.next_due(), at_ms(due));
        client_.send_due(at_ms(due - 1));
        EXPECT_FALSE(server_.has_request());
        client_.send_due(at_ms(due));
        EXPECT_EQ(server_.receive(), request);
    }
    EXPECT_EQ(client_.retransmissions(), 4u);
    answer(request, 1700);
    EXPECT_EQ(client_.messages(), 1u);
    // The outage is that of the request, not of its last repetition.
    EXPECT_EQ(client_.receipts.longest_gap(), milliseconds(1690));
}

TEST_F(Datagrams, ARepeatedAnswerIsCheckedAndAnswersNothing) {
    client_.send_due(at_ms(10));
    const std::string first = server_.receive();
    answer(first, 12);
    client_.send_due(at_ms(30));
    const std::string second = server_.receive();
    EXPECT_NE(first, second);
    answer(first, 31);
    EXPECT_EQ(client_.repeated_answers(), 1u);
    EXPECT_EQ(client_.wrong_bytes(), 0u);
    EXPECT_EQ(client_.messages(), 1u);
    EXPECT_TRUE(client_.owed_since());
    std::string garbled = first;
    garbled[20] ^= 1;
    answer(garbled, 32);
    EXPECT_EQ(client_.wrong_bytes(), 1u);
    EXPECT_EQ(client_.first_wrong(), 20u);
    answer(second, 33);
    EXPECT_EQ(client_.messages(), 2u);
}

TEST_F(Datagrams, AnswersOfNoRequestAreWrong) {
    client_.send_due(at_ms(10));
    const std::string request = server_.receive();
    std::string later = request;
    later[7] = 2;  // the number of a request that was not made
    std::string zero = request;
    zero[7] = 0;
    for (const std::string& wrong : {later, zero, request + "x", request.substr(1)}) {
        const std::uint64_t before = client_.wrong_bytes();
        answer(wrong, 12);
        EXPECT_EQ(client_.wrong_bytes() - before, wrong.size());
    }
    answer("", 12);
    EXPECT_EQ(client_.messages(), 0u);
    EXPECT_TRUE(client_.owed_since());
}

TEST_F(Datagrams, FinishesWhenTheLastRequestIsAnswered) {
    client_.send_due(at_ms(10));
    client_.finish(at_ms(11));
    EXPECT_FALSE(client_.over());
    answer(server_.receive(), 12);
    EXPECT_EQ(client_.outcome(), Outcome::finished);
}

TEST_F(Datagrams, StallsWithoutAnAnswer) {
    client_.send_due(at_ms(10));
    client_.finish(at_ms(20));
    client_.give_up(at_ms(9), at_ms(1009));
    EXPECT_FALSE(client_.over());
    client_.give_up(at_ms(10), at_ms(1010));
    EXPECT_EQ(client_.outcome(), Outcome::stalled);
}

TEST_F(Datagrams, PortUnreachableIsAReset) {
    server_.close();
    client_.send_due(at_ms(10));
    read(11);
    EXPECT_EQ(client_.outcome(), Outcome::reset);
    EXPECT_FALSE(client_.error().empty());
}

TEST(IdleDatagrams, MakesOneExchangeAtTheEnd) {
    LoopbackServer server;
    const ClientSettings settings{
        .server = server.endpoint(), .app = App::udp_echo, .message_bytes = 8, .interval = {}};
    DatagramClient client(settings, 0);
    ASSERT_TRUE(client.connect(at_ms(0)));
    client.begin(at_ms(0));
    EXPECT_FALSE(client.next_due());
    client.finish(at_ms(100));
    EXPECT_EQ(client.outcome(), Outcome::open);
    server.send(server.receive());
    std::array<std::byte, 64> scratch;
    ASSERT_TRUE(wait_for_input(client.descriptor()));
    client.ready(EPOLLIN, at_ms(101), scratch);
    EXPECT_EQ(client.outcome(), Outcome::finished);
    EXPECT_EQ(client.messages(), 1u);
}

}  // namespace
}  // namespace understudy::load
