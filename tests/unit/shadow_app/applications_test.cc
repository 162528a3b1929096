#include <gtest/gtest.h>

#include <string>

#include "shadow_app/discard.hh"
#include "shadow_app/echo.hh"
#include "shadow_app/registry.hh"
#include "tests/unit/shadow_app/fake_connection.hh"

namespace understudy::shadow_app {
namespace {

TEST(Echo, SendsBackWhatItReceives) {
    Echo echo;
    FakeConnection connection;
    echo.accepted(connection);
    EXPECT_EQ(echo.received(connection, bytes_of("hello")), 5u);
    EXPECT_EQ(echo.received(connection, bytes_of(" world")), 6u);
    EXPECT_EQ(connection.written, "hello world");
}

TEST(Echo, TakesOnlyWhatItCouldWrite) {
    Echo echo;
    FakeConnection connection;
    connection.room = 3;
    EXPECT_EQ(echo.received(connection, bytes_of("hello")), 3u);
    EXPECT_EQ(connection.written, "hel");
    EXPECT_EQ(echo.received(connection, bytes_of("lo")), 0u);
}

TEST(Echo, AsksForTheRestWhenThereIsRoomAgain) {
    Echo echo;
    FakeConnection connection;
    connection.room = 0;
    EXPECT_EQ(echo.received(connection, bytes_of("hello")), 0u);
    EXPECT_EQ(connection.resumes, 0);
    connection.room = 100;
    echo.writable(connection);
    EXPECT_EQ(connection.resumes, 1);
}

TEST(Echo, ClosesWhenTheClientHasClosed) {
    Echo echo;
    FakeConnection connection;
    echo.peer_closed(connection);
    EXPECT_EQ(connection.shutdowns, 1);
}

TEST(Discard, TakesEverythingAndSaysNothing) {
    Discard discard;
    FakeConnection connection;
    connection.room = 0;
    EXPECT_EQ(discard.received(connection, bytes_of("hello")), 5u);
    EXPECT_EQ(connection.written, "");
    discard.peer_closed(connection);
    EXPECT_EQ(connection.shutdowns, 1);
}

TEST(Registry, MakesEveryApplicationItLists) {
    ASSERT_EQ(applications().size(), 3u);
    for (const ApplicationInfo& info : applications()) {
        EXPECT_NE(make_application(info.name), nullptr) << info.name;
        EXPECT_FALSE(info.help.empty()) << info.name;
    }
    EXPECT_EQ(application_names(), "discard, echo, ticker");
}

TEST(Registry, MakesEachByItsOwnName) {
    EXPECT_NE(dynamic_cast<Echo*>(make_application("echo").get()), nullptr);
    EXPECT_NE(dynamic_cast<Discard*>(make_application("discard").get()), nullptr);
}

TEST(Registry, KnowsNoOtherName) {
    EXPECT_EQ(make_application("Echo"), nullptr);
    EXPECT_EQ(make_application(""), nullptr);
}

}  // namespace
}  // namespace understudy::shadow_app
