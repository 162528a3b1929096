#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

#include "proto/framing.hh"
#include "tests/unit/tools/temporary_folder.hh"
#include "tools/control/client.hh"
#include "tools/control/server.hh"

namespace understudy::tools {
namespace {

namespace v1 = proto::v1;
using std::chrono::milliseconds;

// Longer than any machine needs; a test that waits so long has failed.
constexpr milliseconds patience{30'000};

class FunctionHandler : public ControlHandler {
  public:
    void handle(const v1::ControlRequest& request, Completion done) override {
        answer(request, std::move(done));
    }
    std::function<void(const v1::ControlRequest&, Completion)> answer = [](const v1::ControlRequest& request,
                                                                           Completion done) {
        v1::ControlResponse response;
        response.mutable_connections()->set_next_cursor(request.connections().cursor() + 1);
        done(response);
    };
};

// The server on a thread of its own, as a program runs it.
class Control : public testing::Test {
  protected:
    void SetUp() override {
        settings.path = folder / "control.sock";
        settings.answer_timeout = patience;
    }
    void start() {
        server.emplace(io, settings, handler);
        thread = std::thread([this] { io.run(); });
    }
    // The server's own thread must be done before what it uses goes.
    void TearDown() override {
        if (!thread.joinable()) return;
        boost::asio::post(io, [this] {
            counters = server->counters();
            server.reset();
            work.reset();
        });
        thread.join();
    }
    ControlServerCounters stop() {
        TearDown();
        return counters;
    }

    static v1::ControlRequest page_request(std::uint32_t cursor) {
        v1::ControlRequest request;
        request.mutable_connections()->set_cursor(cursor);
        return request;
    }
    std::uint32_t ask(ControlClient& client, std::uint32_t cursor) {
        return client.call(page_request(cursor)).connections().next_cursor();
    }

    tests::TemporaryFolder folder;
    ControlServerSettings settings;
    FunctionHandler handler;
    boost::asio::io_context io;
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{io.get_executor()};
    std::optional<ControlServer> server;
    std::thread thread;
    ControlServerCounters counters;
};

std::string error_of(const std::function<void()>& call) {
    try {
        call();
    } catch (const ControlError& error) {
        EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
        return error.what();
    }
    ADD_FAILURE() << "no error";
    return {};
}

TEST_F(Control, AnswersOneRequestAfterTheOther) {
    start();
    ControlClient client(settings.path, patience);
    for (std::uint32_t i = 0; i < 100; ++i)
        EXPECT_EQ(ask(client, i), i + 1);
    EXPECT_EQ(stop().requests, 100u);
}

TEST_F(Control, ServesSeveralClients) {
    start();
    ControlClient first(settings.path, patience);
    ControlClient second(settings.path, patience);
    EXPECT_EQ(ask(second, 7), 8u);
    EXPECT_EQ(ask(first, 3), 4u);
}

TEST_F(Control, AnswerMayComeLaterAndFromAnotherThread) {
    std::vector<std::thread> answering;
    handler.answer = [&answering](const v1::ControlRequest&, ControlHandler::Completion done) {
        answering.emplace_back([done] {
            v1::ControlResponse response;
            response.mutable_connections()->set_next_cursor(42);
            done(response);
        });
    };
    start();
    ControlClient client(settings.path, patience);
    EXPECT_EQ(ask(client, 0), 42u);
    EXPECT_EQ(ask(client, 0), 42u);
    stop();
    for (std::thread& one : answering)
        one.join();
}

TEST_F(Control, SecondAnswerHasNoEffect) {
    handler.answer = [](const v1::ControlRequest& request, ControlHandler::Completion done) {
        v1::ControlResponse response;
        response.mutable_connections()->set_next_cursor(request.connections().cursor() + 1);
        done(response);
        response.mutable_connections()->set_next_cursor(999);
        done(response);
    };
    start();
    ControlClient client(settings.path, patience);
    EXPECT_EQ(ask(client, 1), 2u);
    EXPECT_EQ(ask(client, 2), 3u);
}

TEST_F(Control, RequestThatIsNeverAnsweredTimesOutAtTheServer) {
    settings.answer_timeout = milliseconds(1);
    handler.answer = [](const v1::ControlRequest&, const ControlHandler::Completion&) {};
    start();
    ControlClient client(settings.path, patience);
    EXPECT_EQ(client.call(page_request(0)).error().code(), v1::ControlError::TIMED_OUT);
    EXPECT_EQ(stop().unanswered, 1u);
}

TEST_F(Control, AnswerThatComesTooLateGoesToNoLaterRequest) {
    settings.answer_timeout = milliseconds(1);
    ControlHandler::Completion late;
    handler.answer = [&late](const v1::ControlRequest& request, ControlHandler::Completion done) {
        if (request.connections().cursor() == 0) {
            late = std::move(done);
            return;
        }
        late(error_response(v1::ControlError::INTERNAL, "too late"));
        v1::ControlResponse response;
        response.mutable_connections()->set_next_cursor(5);
        done(response);
    };
    start();
    ControlClient client(settings.path, patience);
    EXPECT_EQ(client.call(page_request(0)).error().code(), v1::ControlError::TIMED_OUT);
    EXPECT_EQ(ask(client, 4), 5u);
}

TEST_F(Control, ClientDoesNotWaitForEver) {
    handler.answer = [](const v1::ControlRequest&, const ControlHandler::Completion&) {};
    start();
    ControlClient client(settings.path, milliseconds(20));
    EXPECT_NE(error_of([&] { client.call(page_request(0)); }).find("20 ms"), std::string::npos);
}

TEST_F(Control, RequestWithoutABodyIsUnknown) {
    handler.answer = [](const v1::ControlRequest&, const ControlHandler::Completion&) {
        FAIL() << "handled";
    };
    start();
    ControlClient client(settings.path, patience);
    EXPECT_EQ(client.call({}).error().code(), v1::ControlError::UNKNOWN_REQUEST);
}

TEST_F(Control, AnswerThatIsTooLongBecomesAnError) {
    handler.answer = [](const v1::ControlRequest&, const ControlHandler::Completion& done) {
        done(error_response(v1::ControlError::REFUSED, std::string(proto::max_frame_bytes, 'x')));
    };
    start();
    ControlClient client(settings.path, patience);
    EXPECT_EQ(client.call(page_request(0)).error().code(), v1::ControlError::INTERNAL);
}

// Writes raw bytes and waits until the server closes.
void send_garbage(const std::filesystem::path& path, const std::string& bytes) {
    const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_GE(descriptor, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    ASSERT_EQ(::connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::send(descriptor, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
    char octet = 0;
    EXPECT_LE(::recv(descriptor, &octet, 1, 0), 0);
    ::close(descriptor);
}

TEST_F(Control, MalformedRequestsCloseTheirConnectionOnly) {
    start();
    ControlClient client(settings.path, patience);
    send_garbage(settings.path, std::string("\x00\x00\x00\x03\xff\xff\xff", 7));
    send_garbage(settings.path, "\xff\xff\xff\xff");
    EXPECT_EQ(ask(client, 1), 2u);
    EXPECT_EQ(stop().malformed, 2u);
}

TEST_F(Control, ClientThatSaysNothingIsDisconnected) {
    settings.client_timeout = milliseconds(1);
    start();
    send_garbage(settings.path, "");
    send_garbage(settings.path, std::string(2, '\0'));
    EXPECT_EQ(stop().clients_timed_out, 2u);
}

TEST_F(Control, ClientsAreBounded) {
    settings.max_clients = 1;
    start();
    ControlClient first(settings.path, patience);
    EXPECT_EQ(ask(first, 1), 2u);
    ControlClient second(settings.path, patience);
    EXPECT_FALSE(error_of([&] { second.call(page_request(1)); }).empty());
    EXPECT_EQ(ask(first, 1), 2u);
    EXPECT_EQ(stop().clients_refused, 1u);
}

TEST_F(Control, SocketIsForOwnerAndGroup) {
    const mode_t before = ::umask(077);
    start();
    ::umask(before);
    struct stat status {};
    ASSERT_EQ(::stat(settings.path.c_str(), &status), 0);
    EXPECT_TRUE(S_ISSOCK(status.st_mode));
    EXPECT_EQ(status.st_mode & 0777, 0660u);
}

TEST_F(Control, MissingFolderIsCreated) {
    settings.path = folder / "run/understudy/control.sock";
    start();
    ControlClient client(settings.path, patience);
    EXPECT_EQ(ask(client, 1), 2u);
}

TEST_F(Control, SocketGoesWithTheServer) {
    start();
    stop();
    EXPECT_FALSE(std::filesystem::exists(settings.path));
}

TEST_F(Control, SecondServerIsToldThatOneIsRunning) {
    start();
    boost::asio::io_context other;
    EXPECT_NE(error_of([&] { ControlServer(other, settings, handler); }).find("already running"),
              std::string::npos);
    ControlClient client(settings.path, patience);
    EXPECT_EQ(ask(client, 1), 2u) << "the first one is unharmed";
}

TEST_F(Control, SocketOfADeadProcessIsReplaced) {
    const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, settings.path.c_str(), sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    ::close(descriptor);
    ASSERT_TRUE(std::filesystem::exists(settings.path));
    start();
    ControlClient client(settings.path, patience);
    EXPECT_EQ(ask(client, 1), 2u);
}

TEST_F(Control, FileThatIsNoSocketIsKept) {
    settings.path = folder / "precious";
    std::filesystem::create_directory(settings.path);
    EXPECT_NE(error_of([&] { ControlServer(io, settings, handler); }).find("no socket"), std::string::npos);
    EXPECT_TRUE(std::filesystem::is_directory(settings.path));
}

TEST_F(Control, PathThatIsTooLongIsRefusedOnBothSides) {
    settings.path = folder / std::string(200, 'x');
    EXPECT_NE(error_of([&] { ControlServer(io, settings, handler); }).find("longer"), std::string::npos);
    EXPECT_NE(error_of([&] { ControlClient(settings.path, patience); }).find("longer"), std::string::npos);
}

TEST_F(Control, ClientSaysWhatToDoWhenNobodyListens) {
    EXPECT_NE(error_of([&] { ControlClient(settings.path, patience); }).find("is understudyd running"),
              std::string::npos);
}

TEST_F(Control, ClientNoticesThatTheProgramEnds) {
    handler.answer = [this](const v1::ControlRequest&, const ControlHandler::Completion&) {
        boost::asio::post(io, [this] { server.reset(); });
    };
    start();
    ControlClient client(settings.path, patience);
    EXPECT_NE(error_of([&] { client.call(page_request(0)); }).find("closed"), std::string::npos);
    work.reset();
    thread.join();
}

}  // namespace
}  // namespace understudy::tools
