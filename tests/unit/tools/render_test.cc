#include "tools/cli/render.hh"

#include <sstream>
#include <string>

#include <gtest/gtest.h>

namespace understudy::tools {
namespace {

namespace v1 = proto::v1;

TEST(Table, ColumnsFitTheirWidestCell) {
    Table table({{"NAME"}, {"N", Table::Align::right}});
    table.add({"a", "1"});
    table.add({"longer", "12345"});
    std::ostringstream out;
    table.print(out);
    EXPECT_EQ(out.str(),
              "NAME        N\n"
              "a           1\n"
              "longer  12345\n");
}

TEST(Table, PrintedInPiecesItStaysOne) {
    Table table({{"NAME"}, {"N", Table::Align::right}});
    table.add({"longer", "1"});
    std::ostringstream out;
    table.print(out);
    EXPECT_TRUE(table.empty());
    table.add({"a", "2"});
    table.print(out);
    EXPECT_EQ(out.str(),
              "NAME    N\n"
              "longer  1\n"
              "a       2\n");
}

TEST(Table, WrongNumberOfCellsIsAnError) {
    Table table({{"NAME"}});
    EXPECT_THROW(table.add({"a", "b"}), std::logic_error);
}

v1::ConnectionSync sync() {
    v1::ConnectionSync message;
    message.set_wall_ns(1'769'860'800'123'456'789);
    message.mutable_client()->set_address(std::string("\x0a\x4d\x00\x02", 4));
    message.mutable_client()->set_port(40000);
    message.mutable_service()->set_address(std::string("\xfd") + std::string(14, '\0') + "\x01");
    message.mutable_service()->set_port(7000);
    message.set_client_link(std::string("\x02\x00\x00\x00\x00\x01", 6));
    message.set_primary_isn(4'000'000'000);
    message.set_timestamps(true);
    return message;
}

TEST(RenderSync, JsonHasAddressesAsText) {
    const auto json = nlohmann::json::parse(to_json(sync()));
    EXPECT_EQ(json["client"], "10.77.0.2:40000");
    EXPECT_EQ(json["service"], "[fd00::1]:7000");
    EXPECT_EQ(json["client_link"], "02:00:00:00:00:01");
    EXPECT_EQ(json["primary_isn"], 4'000'000'000);
    EXPECT_EQ(json["inferred"], false) << "fields at their default are there";
}

TEST(RenderSync, TableNamesTimeEndsAndOptions) {
    Table table = sync_table();
    add_row(table, sync());
    add_row(table, v1::ConnectionSync{});
    std::ostringstream out;
    table.print(out);
    EXPECT_NE(out.str().find("2026-01-31T12:00:00.123456Z"), std::string::npos) << out.str();
    EXPECT_NE(out.str().find("10.77.0.2:40000"), std::string::npos) << out.str();
    EXPECT_NE(out.str().find("timestamps"), std::string::npos) << out.str();
}

TEST(RenderEvent, JsonIsThatOfTheLog) {
    v1::Event event;
    event.set_sequence(3);
    event.set_wall_ns(5);
    event.set_event("decision");
    event.set_fields_json(R"({"open":200})");
    const auto json = to_json_object(event);
    EXPECT_EQ(json["event"], "decision");
    EXPECT_EQ(json["open"], 200);
    EXPECT_EQ(json["sequence"], 3);
    event.set_fields_json("no json");
    EXPECT_EQ(to_json_object(event).size(), 4u);
}

TEST(RenderStatus, TellsWhoServesAndWhyNotAllAreCovered) {
    v1::StatusResponse status;
    status.set_mode("silent");
    status.set_serving("primary");
    status.mutable_connections()->set_open(200);
    status.mutable_connections()->set_covered(198);
    status.mutable_connections()->set_uncovered(2);
    (*status.mutable_connections()->mutable_by_coverage())["covered"] = 198;
    (*status.mutable_connections()->mutable_by_coverage())["hole"] = 2;
    status.add_links()->set_local("10.78.1.3:7800");
    std::ostringstream out;
    print_status(out, status);
    EXPECT_NE(out.str().find("serving: primary"), std::string::npos) << out.str();
    EXPECT_NE(out.str().find("200 open, 198 covered, 2 uncovered (hole 2)"), std::string::npos) << out.str();
    EXPECT_NE(out.str().find("never"), std::string::npos) << "a link that was never heard:\n" << out.str();
}

TEST(RenderStatus, JsonKeepsFieldNamesAndZeros) {
    const auto json = nlohmann::json::parse(to_json(v1::StatusResponse{}));
    EXPECT_EQ(json["ready"], false);
    EXPECT_EQ(json["heartbeat_misses"], 0);
    EXPECT_FALSE(json.contains("primary_on_tap_ms_ago")) << "absent is not zero";
}

TEST(RenderCounters, ZerosAreShownOnDemand) {
    v1::CountersResponse counters;
    counters.add_counters()->set_name("stack.zero");
    counters.add_counters()->set_name("stack.one");
    counters.mutable_counters(1)->set_value(1);
    std::ostringstream some;
    print_counters(some, counters, false);
    EXPECT_EQ(some.str().find("stack.zero"), std::string::npos);
    EXPECT_NE(some.str().find("stack.one"), std::string::npos);
    std::ostringstream all;
    print_counters(all, counters, true);
    EXPECT_NE(all.str().find("stack.zero"), std::string::npos);
}

TEST(RenderRow, SaysWhereAHoleBegins) {
    v1::ConnectionRow row;
    row.set_coverage("hole");
    row.set_detail(4711);
    Table table = connection_table();
    add_row(table, row);
    std::ostringstream out;
    table.print(out);
    EXPECT_NE(out.str().find("hole at 4711"), std::string::npos) << out.str();
}

TEST(RenderRow, SaysWhatIsMissingAndHowFarTheApplicationIsBehind) {
    v1::ConnectionRow row;
    row.set_coverage("uncompared");
    row.set_detail(10);
    row.set_missing_bytes(5);
    row.set_missing_ms(12.5);
    row.set_lag_bytes(300);
    row.set_lag_ms(4.25);
    Table table = connection_table();
    add_row(table, row);
    std::ostringstream out;
    table.print(out);
    EXPECT_NE(out.str().find("uncompared at 10, 5 bytes for 12.5 ms"), std::string::npos) << out.str();
    EXPECT_NE(out.str().find("300 B, 4.2 ms"), std::string::npos) << out.str();
}

TEST(RenderRow, SaysWhatCannotBeContinued) {
    v1::ConnectionRow row;
    row.set_coverage("not_continuable");
    row.set_hindrance("multipath");
    Table table = connection_table();
    add_row(table, row);
    std::ostringstream out;
    table.print(out);
    EXPECT_NE(out.str().find("not_continuable: multipath"), std::string::npos) << out.str();
}

TEST(RenderRow, ShowsBothVersionsOfADifference) {
    v1::ConnectionRow row;
    std::ostringstream none;
    print_difference(none, row);
    EXPECT_EQ(none.str(), "");
    row.set_client("10.77.0.100:40000");
    auto& difference = *row.mutable_difference();
    difference.set_offset(23);
    difference.set_before(1);
    difference.mutable_application()->set_hex("3a 31");
    difference.mutable_application()->set_text(":1");
    difference.mutable_primary()->set_hex("3a 32");
    difference.mutable_primary()->set_text(":2");
    std::ostringstream out;
    print_difference(out, row);
    EXPECT_NE(out.str().find("10.77.0.100:40000 differs at byte 23, after 1 equal bytes"), std::string::npos);
    EXPECT_NE(out.str().find("application  3a 31"), std::string::npos) << out.str();
    EXPECT_NE(out.str().find("|:2|"), std::string::npos) << out.str();
}

TEST(RenderStatus, GivesCoverageInPerCentAndTheLag) {
    v1::StatusResponse status;
    auto& counts = *status.mutable_connections();
    counts.set_open(8);
    counts.set_covered(7);
    counts.set_bytes(1000);
    counts.set_covered_bytes(250);
    counts.set_lag_bytes(90);
    counts.set_largest_lag_bytes(60);
    counts.set_largest_lag_ms(7.5);
    counts.set_overlapped(2);
    status.mutable_mirror_loss()->set_from_client_bytes(4000);
    status.mutable_mirror_loss()->set_from_client_ratio(0.0125);
    auto& service = *status.add_services();
    service.set_endpoint("10.77.0.1:7000");
    service.set_state("lost");
    std::ostringstream out;
    print_status(out, status);
    EXPECT_NE(out.str().find("87.5 % of connections, 25.0 % of bytes"), std::string::npos) << out.str();
    EXPECT_NE(out.str().find("90 bytes behind, one of them 60, for 7.5 ms"), std::string::npos) << out.str();
    EXPECT_NE(out.str().find("missed 1.250 % of 4000 client bytes"), std::string::npos) << out.str();
    EXPECT_NE(out.str().find("inputs of 2 connections"), std::string::npos) << out.str();
    EXPECT_NE(out.str().find("state lost: not covered until"), std::string::npos) << out.str();
}

}  // namespace
}  // namespace understudy::tools
