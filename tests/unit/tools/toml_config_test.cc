#include "tools/common/toml_config.hh"

#include <algorithm>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/tools/temporary_folder.hh"
#include "tools/common/heartbeat_options.hh"
#include "tools/common/program.hh"

namespace understudy::tools {
namespace {

class TomlConfigTest : public testing::Test {
  protected:
    // Parses a command line against a file with this content. Returns the exit status, if the program would
    // end.
    std::optional<int> parse(const std::string& toml, std::vector<const char*> arguments = {}) {
        std::ofstream(file_) << toml;
        arguments.insert(arguments.begin(), {"program", "--config", file_.c_str()});
        CLI::App app;
        set_up_app(app, "program");
        add_config_option(app);
        heartbeat.add_to(app);
        app.add_option("--poll", poll);
        app.add_flag("--verbose", verbose);
        testing::internal::CaptureStderr();
        const auto status = parse_command_line(app, static_cast<int>(arguments.size()), arguments.data());
        error = testing::internal::GetCapturedStderr();
        return status;
    }

    HeartbeatOptions heartbeat;
    std::string poll;
    bool verbose = false;
    std::string error;

  private:
    tests::TemporaryFolder folder_;
    std::string file_ = (folder_ / "config.toml").string();
};

TEST_F(TomlConfigTest, KeysAreOptionNames) {
    EXPECT_FALSE(
        parse("poll = \"busy\"\n"
              "verbose = true\n"
              "heartbeat-interval-ms = 10\n"
              "heartbeat_misses = 5\n"
              "heartbeat = [\"[::1]:1,[::1]:2\", \"127.0.0.1:1,127.0.0.1:2\"]\n"))
        << error;
    EXPECT_EQ(poll, "busy");
    EXPECT_TRUE(verbose);
    EXPECT_EQ(heartbeat.interval_ms, 10u);
    EXPECT_EQ(heartbeat.misses, 5u);
    EXPECT_EQ(heartbeat.links, (std::vector<std::string>{"[::1]:1,[::1]:2", "127.0.0.1:1,127.0.0.1:2"}));
}

TEST_F(TomlConfigTest, TablesArePrefixes) {
    EXPECT_FALSE(parse("[heartbeat]\ninterval_ms = 20\nmisses = 4\n")) << error;
    EXPECT_EQ(heartbeat.interval_ms, 20u);
    EXPECT_EQ(heartbeat.misses, 4u);
}

TEST_F(TomlConfigTest, CommandLineGoesBeforeTheFile) {
    EXPECT_FALSE(parse("heartbeat_misses = 5\npoll = \"busy\"\n", {"--poll", "adaptive"})) << error;
    EXPECT_EQ(poll, "adaptive");
    EXPECT_EQ(heartbeat.misses, 5u);
}

TEST_F(TomlConfigTest, UnknownKeyIsAUsageError) {
    EXPECT_EQ(parse("hartbeat_misses = 5\n"), exit_usage);
    EXPECT_NE(error.find("hartbeat-misses"), std::string::npos) << error;
}

TEST_F(TomlConfigTest, ValueOfTheWrongKindIsAUsageError) {
    EXPECT_EQ(parse("heartbeat_misses = \"many\"\n"), exit_usage);
    EXPECT_EQ(parse("heartbeat_misses = 0\n"), exit_usage);
    EXPECT_EQ(parse("poll = 2026-01-31\n"), exit_usage);
    EXPECT_NE(error.find("poll"), std::string::npos) << error;
}

TEST_F(TomlConfigTest, SyntaxErrorNamesItsLine) {
    EXPECT_EQ(parse("poll = \"busy\"\nheartbeat_misses = = 3\n"), exit_usage);
    EXPECT_NE(error.find("line 2"), std::string::npos) << error;
    EXPECT_EQ(std::count(error.begin(), error.end(), '\n'), 1) << error;
}

}  // namespace
}  // namespace understudy::tools
