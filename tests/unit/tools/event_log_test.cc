#include "tools/common/event_log.hh"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/tools/temporary_folder.hh"

namespace understudy::tools {
namespace {

namespace v1 = proto::v1;

v1::EventsResponse read(const EventLog& log, std::uint64_t after = 0, std::uint32_t limit = 0) {
    v1::EventsRequest request;
    request.set_after_sequence(after);
    request.set_limit(limit);
    return log.read(request);
}

std::vector<std::string> lines_of(const std::filesystem::path& path) {
    std::vector<std::string> lines;
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);)
        lines.push_back(line);
    return lines;
}

TEST(EventLog, WritesOneObjectALineAtOnce) {
    const tests::TemporaryFolder folder;
    EventLog log(folder / "events.jsonl");
    log.add("start", {{"version", "1"}, {"links", 2}});
    log.add("stop");
    const auto lines = lines_of(folder / "events.jsonl");
    ASSERT_EQ(lines.size(), 2u);
    const auto start = nlohmann::json::parse(lines[0]);
    EXPECT_EQ(start["event"], "start");
    EXPECT_EQ(start["version"], "1");
    EXPECT_EQ(start["links"], 2);
    EXPECT_GT(start["monotonic_ns"].get<std::int64_t>(), 0);
    EXPECT_GT(start["wall_ns"].get<std::int64_t>(), 0);
    EXPECT_EQ(nlohmann::json::parse(lines[1]).size(), 3u);
}

TEST(EventLog, AppendsToWhatIsThere) {
    const tests::TemporaryFolder folder;
    EventLog(folder / "events.jsonl").add("first");
    EventLog(folder / "events.jsonl").add("second");
    EXPECT_EQ(lines_of(folder / "events.jsonl").size(), 2u);
}

TEST(EventLog, KeepsTheInstantThatIsGiven) {
    EventLog log;
    log.add("now");
    const std::int64_t now = read(log).events(0).monotonic_ns();
    log.add_at(now - 5'000'000'000, "earlier");
    const auto events = read(log);
    EXPECT_EQ(events.events(1).monotonic_ns(), now - 5'000'000'000);
    EXPECT_LT(events.events(1).wall_ns(), events.events(0).wall_ns());
}

TEST(EventLog, GivesPages) {
    EventLog log;
    for (int i = 0; i < 2500; ++i)
        log.add("event", {{"i", i}});
    const auto first = read(log);
    ASSERT_EQ(first.events_size(), 1000);
    EXPECT_EQ(first.events(0).sequence(), 1u);
    EXPECT_EQ(first.last_sequence(), 2500u);
    const auto second = read(log, 1000, 10);
    ASSERT_EQ(second.events_size(), 10);
    EXPECT_EQ(second.events(0).sequence(), 1001u);
    EXPECT_EQ(second.events(0).fields_json(), R"({"i":1000})");
    EXPECT_EQ(read(log, 2000).events_size(), 500);
    EXPECT_EQ(read(log, 2500).events_size(), 0);
    EXPECT_EQ(read(log, 9999).events_size(), 0);
}

TEST(EventLog, ForgetsTheOldestInMemoryOnly) {
    const tests::TemporaryFolder folder;
    EventLog log(folder / "events.jsonl", 3);
    for (int i = 0; i < 10; ++i)
        log.add("event");
    const auto kept = read(log);
    ASSERT_EQ(kept.events_size(), 3);
    EXPECT_EQ(kept.events(0).sequence(), 8u);
    EXPECT_EQ(lines_of(folder / "events.jsonl").size(), 10u);
}

TEST(EventLog, TextThatIsNoUtf8IsWrittenAllTheSame) {
    const tests::TemporaryFolder folder;
    EventLog log(folder / "events.jsonl");
    log.add("odd", {{"text", "\xff\n"}});
    const auto lines = lines_of(folder / "events.jsonl");
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_TRUE(nlohmann::json::accept(lines[0]));
}

TEST(EventLog, FullDiskIsCounted) {
    EventLog log("/dev/full");
    log.add("lost");
    log.add("lost");
    EXPECT_EQ(log.write_failures(), 2u);
    EXPECT_EQ(read(log).events_size(), 2);
}

TEST(EventLog, FileThatCannotBeOpenedIsAnError) {
    EXPECT_THROW(EventLog("/no/such/folder/events.jsonl"), std::runtime_error);
}

}  // namespace
}  // namespace understudy::tools
