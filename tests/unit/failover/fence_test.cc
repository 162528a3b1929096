#include "failover/fence.hh"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace understudy::failover {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using std::chrono::milliseconds;
using std::chrono::seconds;

class FenceTest : public ::testing::Test {
  protected:
    FenceTest() : folder_(::testing::TempDir() + "understudy-fence-" + std::to_string(getpid())) {}
    ~FenceTest() override { std::remove(folder_.c_str()); }

    bool run(FenceSettings settings) {
        Fence fence(io, settings, [this](std::uint32_t attempt, const CommandResult& result) {
            attempts.push_back(std::to_string(attempt) + ": " + result.outcome);
        });
        std::optional<bool> confirmed;
        fence.run(evidence, [&](bool ok) { confirmed = ok; });
        io.restart();
        io.run_for(seconds(60));
        EXPECT_TRUE(confirmed) << "the fence never ended";
        return confirmed.value_or(false);
    }
    std::string file() const { return folder_; }
    std::string contents() const {
        std::ifstream in(folder_);
        std::stringstream text;
        text << in.rdbuf();
        return text.str();
    }

    boost::asio::io_context io{1};
    Evidence evidence;
    std::vector<std::string> attempts;

  private:
    std::string folder_;
};

// Whether a process of the group runs: those that were killed may stay as zombies until init has seen them.
bool runs(int group) {
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
        const std::string name = entry.path().filename();
        if (name.find_first_not_of("0123456789") != std::string::npos) continue;
        std::ifstream in(entry.path() / "stat");
        std::string text((std::istreambuf_iterator<char>(in)), {});
        const std::size_t name_end = text.rfind(')');
        if (name_end == std::string::npos) continue;
        std::istringstream fields(text.substr(name_end + 1));
        char state = 0;
        int parent = 0, process_group = 0;
        fields >> state >> parent >> process_group;
        if (process_group == group && state != 'Z' && state != 'X') return true;
    }
    return false;
}

TEST_F(FenceTest, ExitStatusZeroConfirms) {
    EXPECT_TRUE(run({.command = "true", .services = "", .primary_link_address = ""}));
    EXPECT_THAT(attempts, ElementsAre("1: exit status 0"));
}

TEST_F(FenceTest, AnotherStatusDoesNot) {
    EXPECT_FALSE(run({.command = "exit 3", .services = "", .primary_link_address = ""}));
    EXPECT_THAT(attempts, ElementsAre("1: exit status 3"));
}

TEST_F(FenceTest, IsTriedAgain) {
    FenceSettings settings;
    settings.command = "[ $UNDERSTUDY_ATTEMPT = 3 ]";
    settings.retries = 5;
    EXPECT_TRUE(run(settings));
    EXPECT_EQ(attempts.size(), 3u);
}

TEST_F(FenceTest, IsKilledWithAllThatItStartedWhenItsTimeIsOver) {
    FenceSettings settings;
    settings.command = "echo $$ >" + file() + "; sleep 600 & sleep 600";
    settings.timeout = milliseconds(300);
    EXPECT_FALSE(run(settings));
    EXPECT_THAT(attempts, ElementsAre("1: no end after 0.3 s"));
    EXPECT_FALSE(runs(std::stoi(contents())));
}

TEST_F(FenceTest, StoppingEndsTheCommandAndAllThatItStarted) {
    FenceSettings settings;
    settings.command = "sleep 600 & echo $$ >" + file() + ".new; mv " + file() + ".new " + file() + "; sleep 600";
    Fence fence(io, settings, [](std::uint32_t, const CommandResult&) {});
    bool ended = false;
    fence.run(evidence, [&](bool) { ended = true; });
    while (contents().empty())
        std::this_thread::yield();
    fence.stop();
    // A killed process ends when it is scheduled next; the test's own time limit bounds this.
    while (runs(std::stoi(contents())))
        std::this_thread::yield();
    io.run();
    EXPECT_FALSE(ended);
}

TEST_F(FenceTest, ARetryThatIsDueDoesNotOutliveIt) {
    FenceSettings settings;
    settings.command = "exit 1";
    settings.retries = 1;
    std::optional<Fence> fence;
    fence.emplace(io, settings, [&](std::uint32_t, const CommandResult&) {
        attempts.emplace_back("failed");
    });
    fence->run(evidence, [](bool) {});
    while (attempts.empty())
        io.run_one();
    fence.reset();
    io.run();
    EXPECT_EQ(attempts.size(), 1u);
}

TEST_F(FenceTest, TheCommandLearnsWhy) {
    evidence.cause = Cause::service_hang;
    FenceSettings settings;
    settings.command = "echo \"$UNDERSTUDY_EVENT $UNDERSTUDY_CAUSE $UNDERSTUDY_SERVICES\" >" + file();
    settings.services = "10.77.0.1:7000";
    EXPECT_TRUE(run(settings));
    EXPECT_THAT(contents(), HasSubstr("fence service hang 10.77.0.1:7000"));
}

TEST_F(FenceTest, WhatTheShellCannotRunFails) {
    FenceSettings settings;
    settings.command = "/nonexistent/fence 2>/dev/null";
    EXPECT_FALSE(run(settings));
    EXPECT_THAT(attempts, ElementsAre("1: exit status 127"));
}

}  // namespace
}  // namespace understudy::failover
