#include "tools/daemon/metrics.hh"

#include <gtest/gtest.h>

#include <string>
#include <thread>

#include <boost/asio/connect.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

namespace understudy::tools {
namespace {

namespace v1 = proto::v1;
namespace asio = boost::asio;

class Numbers final : public ControlHandler {
  public:
    void handle(const v1::ControlRequest& request, Completion done) override {
        v1::ControlResponse response;
        if (request.has_status()) {
            auto& status = *response.mutable_status();
            status.set_mode("silent");
            auto& connections = *status.mutable_connections();
            connections.set_open(4);
            connections.set_covered(3);
            connections.set_bytes(1000);
            connections.set_covered_bytes(900);
            connections.set_largest_lag_ms(250);
            (*connections.mutable_by_coverage())["hole"] = 1;
            status.mutable_mirror_loss()->set_from_client_ratio(0.25);
            auto& service = *status.add_services();
            service.set_endpoint("10.77.0.1:7000");
            service.set_state("attested");
        } else {
            add(*response.mutable_counters(), "stack.holes", 7);
            add(*response.mutable_counters(), "link0.refused_forged", 2);
            add(*response.mutable_counters(), "link1.refused_forged", 3);
            add(*response.mutable_counters(), "core.polls", 11);
            add(*response.mutable_counters(), "core0.polls", 5);
            add(*response.mutable_counters(), "core1.polls", 6);
        }
        if (answers) done(response);
    }
    bool answers = true;

  private:
    static void add(v1::CountersResponse& counters, const char* name, std::uint64_t value) {
        v1::Counter& counter = *counters.add_counters();
        counter.set_name(name);
        counter.set_value(value);
        counter.set_help("as it says");
    }
};

class Scraped : public testing::Test {
  protected:
    ~Scraped() override {
        metrics.reset();
        io.stop();
        thread.join();
    }
    std::string get(const std::string& path) {
        asio::io_context client;
        asio::ip::tcp::socket socket(client);
        socket.connect({asio::ip::address_v4::loopback(), static_cast<std::uint16_t>(metrics->port())});
        asio::write(socket, asio::buffer("GET " + path + " HTTP/1.0\r\nHost: localhost\r\n\r\n"));
        std::string answer;
        boost::system::error_code end;
        asio::read(socket, asio::dynamic_buffer(answer), end);
        return answer;
    }

    Numbers numbers;
    asio::io_context io;
    asio::executor_work_guard<asio::io_context::executor_type> work{io.get_executor()};
    std::unique_ptr<Metrics> metrics = std::make_unique<Metrics>(io, numbers, "127.0.0.1:0");
    std::thread thread{[this] { io.run(); }};
};

TEST_F(Scraped, HasEveryNumberOfTheStatusAndEveryCounter) {
    const std::string answer = get("/metrics");
    EXPECT_EQ(answer.substr(0, 15), "HTTP/1.1 200 OK") << answer;
    for (const std::string line :
         {"understudy_up 1", "understudy_mode{mode=\"silent\"} 1", "understudy_connections_open 4",
          "understudy_connections{coverage=\"hole\"} 1", "understudy_coverage_connections_ratio 0.75",
          "understudy_coverage_bytes_ratio 0.9", "understudy_lag_largest_seconds 0.25",
          "understudy_mirror_loss_ratio{direction=\"from_client\"} 0.25",
          "understudy_service_state{service=\"10.77.0.1:7000\",state=\"attested\"} 1",
          "# HELP understudy_stack_holes_total as it says", "# TYPE understudy_stack_holes_total counter",
          "understudy_stack_holes_total 7", "understudy_link_refused_forged_total{link=\"0\"} 2",
          "understudy_link_refused_forged_total{link=\"1\"} 3", "understudy_core_polls_total{core=\"1\"} 6"})
        EXPECT_NE(answer.find("\n" + line), std::string::npos) << line << "\n" << answer;
    EXPECT_EQ(answer.find("understudy_core_polls_total 11"), std::string::npos) << "a sum among its parts";
}

TEST_F(Scraped, NothingElseIsServed) {
    EXPECT_NE(get("/control").find("404"), std::string::npos);
}

TEST_F(Scraped, AReplicaThatDoesNotAnswerIsDownAndStopsAtOnce) {
    numbers.answers = false;
    EXPECT_NE(get("/metrics").find("understudy_up 0"), std::string::npos);
}

TEST(MetricsAddress, ThatIsTakenIsOneClearLine) {
    asio::io_context io;
    Numbers numbers;
    asio::ip::tcp::acceptor taken(io, {asio::ip::address_v4::loopback(), 0});
    const std::string address = "127.0.0.1:" + std::to_string(taken.local_endpoint().port());
    try {
        const Metrics metrics(io, numbers, address);
        ADD_FAILURE() << "no error";
    } catch (const std::runtime_error& error) {
        EXPECT_NE(std::string(error.what()).find(address), std::string::npos);
        EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    }
}

}  // namespace
}  // namespace understudy::tools
