// The real programs, run with wrong and right arguments.
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "proto/recording.hh"
#include "tests/unit/tools/temporary_folder.hh"
#include "tools/common/program.hh"

namespace understudy::tools {
namespace {

struct Outcome {
    int status = -1;
    std::string output;
};

// Runs the shell command and returns its exit status and what it wrote to standard output.
Outcome run(const std::string& command) {
    Outcome outcome;
    FILE* pipe = ::popen(command.c_str(), "r");
    if (pipe == nullptr) return outcome;
    std::array<char, 4096> buffer;
    while (const std::size_t length = std::fread(buffer.data(), 1, buffer.size(), pipe))
        outcome.output.append(buffer.data(), length);
    const int status = ::pclose(pipe);
    if (WIFEXITED(status)) outcome.status = WEXITSTATUS(status);
    return outcome;
}

// Standard error instead of standard output.
Outcome errors_of(const std::string& command) {
    return run(command + " 2>&1 >/dev/null");
}

struct Case {
    std::string arguments;
    int status;
    std::string mentions;
};

void expect_one_clear_line(const std::string& program, const std::vector<Case>& cases) {
    for (const Case& one : cases) {
        const Outcome outcome = errors_of(program + " " + one.arguments);
        EXPECT_EQ(outcome.status, one.status) << one.arguments;
        EXPECT_EQ(std::ranges::count(outcome.output, '\n'), 1) << one.arguments << "\n" << outcome.output;
        EXPECT_NE(outcome.output.find(one.mentions), std::string::npos) << one.arguments << "\n"
                                                                        << outcome.output;
    }
}

TEST(CommandLine, HelpAndVersion) {
    for (const std::string program : {UNDERSTUDY_PROGRAM, UNDERSTUDY_AGENT_PROGRAM}) {
        const Outcome help = run(program + " --help");
        EXPECT_EQ(help.status, exit_success);
        EXPECT_NE(help.output.find("Usage: "), std::string::npos);
        const Outcome told = run(program + " --version");
        EXPECT_EQ(told.status, exit_success);
        EXPECT_EQ(told.output, std::filesystem::path(program).filename().string() + " " + version() + "\n");
    }
}

TEST(CommandLine, OperatorsCommandRefuses) {
    expect_one_clear_line(UNDERSTUDY_PROGRAM,
                          {{"", exit_usage, "subcommand"},
                           {"nonsense", exit_usage, "subcommand"},
                           {"status --nonsense", exit_usage, "--nonsense"},
                           {"status --timeout-ms 0", exit_usage, "--timeout-ms"},
                           {"promote --from x", exit_usage, "--from"},
                           {"status --control /no/such/socket", exit_failure, "/no/such/socket"},
                           {"--control /no/such/socket status --json", exit_failure, "/no/such/socket"},
                           {"conns --from /no/such/recording", exit_failure, "/no/such/recording"}});
}

TEST(CommandLine, AgentRefuses) {
    expect_one_clear_line(
        UNDERSTUDY_AGENT_PROGRAM,
        {{"", exit_usage, "--heartbeat"},
         {"--heartbeat nonsense", exit_usage, "nonsense"},
         {"--heartbeat 127.0.0.1:1,127.0.0.1:2 --heartbeat-misses 0", exit_usage, "--heartbeat-misses"},
         {"--announce nonsense", exit_usage, "nonsense"},
         {"--announce eth0=fd00::zz", exit_usage, "fd00::zz"},
         {"--config /no/such/file", exit_usage, "/no/such/file"},
         {"--log-level loud", exit_usage, "--log-level"},
         {"--heartbeat 192.0.2.1:7800,192.0.2.2:7800", exit_failure, "192.0.2.1:7800"},
         {"--heartbeat 127.0.0.1:0,127.0.0.1:2 --event-log /no/such/folder/log", exit_failure,
          "/no/such/folder"}});
}

TEST(CommandLine, ReplicaRefusesWhatIsNoService) {
    const std::string program = std::string(UNDERSTUDYD_PROGRAM) +
                                " --tap file:/no --service-port file:/no --primary-link-address "
                                "02:00:00:00:00:01 --heartbeat 127.0.0.1:1,127.0.0.1:2 --service";
    expect_one_clear_line(program, {{"nonsense", exit_usage, "nonsense"},
                                    {"10.77.0.1:7000/udp", exit_usage, "programs of their own serve TCP alone"},
                                    {"10.77.0.1:0=echo", exit_usage, "ADDR:PORT[/udp]=APP"},
                                    {"10.77.0.1:7000/sctp=echo", exit_usage, "ADDR:PORT[/udp]=APP"},
                                    {"10.77.0.1:7000=chess", exit_usage, "discard, echo, source, ticker"},
                                    {"10.77.0.1:7000=udp-echo", exit_usage, "no application for tcp"},
                                    {"10.77.0.1:7000/udp=echo", exit_usage, "there are udp-echo"}});
}

class RecordingCommand : public testing::Test {
  protected:
    void SetUp() override {
        proto::RecordingWriter writer(path);
        for (std::uint32_t i = 0; i < 3; ++i) {
            proto::v1::ConnectionSync sync;
            sync.mutable_client()->set_address(std::string("\x0a\x4d\x00\x02", 4));
            sync.mutable_client()->set_port(40000 + i);
            writer.write(sync);
        }
    }
    tests::TemporaryFolder folder;
    std::filesystem::path path = folder / "syncs";
    std::string command = std::string(UNDERSTUDY_PROGRAM) + " conns --from " + path.string();
};

TEST_F(RecordingCommand, PrintsATableOrJson) {
    const Outcome table = run(command);
    EXPECT_EQ(table.status, exit_success);
    EXPECT_EQ(std::ranges::count(table.output, '\n'), 4) << table.output;
    const Outcome json = run(command + " --json");
    EXPECT_EQ(json.status, exit_success);
    const auto parsed = nlohmann::json::parse(json.output, nullptr, false);
    ASSERT_TRUE(parsed.is_object()) << json.output;
    ASSERT_EQ(parsed["connections"].size(), 3u);
    EXPECT_EQ(parsed["connections"][2]["client"], "10.77.0.2:40002");
    EXPECT_EQ(parsed["complete"], true);
}

TEST_F(RecordingCommand, TellsThatTheTailIsCut) {
    std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
    const Outcome errors = errors_of(command);
    EXPECT_EQ(errors.status, exit_success);
    EXPECT_NE(errors.output.find("ends inside a message, after 2"), std::string::npos) << errors.output;
    const auto parsed = nlohmann::json::parse(run(command + " --json 2>/dev/null").output, nullptr, false);
    ASSERT_TRUE(parsed.is_object());
    EXPECT_EQ(parsed["connections"].size(), 2u);
    EXPECT_EQ(parsed["complete"], false);
}

}  // namespace
}  // namespace understudy::tools
