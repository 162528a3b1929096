#include "failover/heartbeat_key.hh"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "keys.hh"

namespace understudy::failover {
namespace {

namespace fs = std::filesystem;

class KeyFile : public testing::Test {
  protected:
    void SetUp() override {
        std::string name = (fs::temp_directory_path() / "understudy-key-XXXXXX").string();
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        folder = name;
    }
    void TearDown() override { fs::remove_all(folder); }
    fs::path write(const std::string& text, mode_t mode = 0600) const {
        const fs::path path = folder / "key";
        fs::remove(path);
        std::ofstream(path) << text;
        EXPECT_EQ(::chmod(path.c_str(), mode), 0);
        return path;
    }
    static std::string error_of(const fs::path& path) {
        try {
            read_heartbeat_key(path);
        } catch (const HeartbeatKeyError& error) {
            return error.what();
        }
        return "read";
    }
    fs::path folder;
    const std::string digits = std::string(62, '0') + "Ff";
};

TEST_F(KeyFile, ReadsHexadecimalDigitsAndWhiteSpaceAfterThem) {
    const KeyId id = read_heartbeat_key(write(digits)).id();
    EXPECT_EQ(read_heartbeat_key(write(digits + "\n")).id(), id);
    EXPECT_EQ(read_heartbeat_key(write(digits, 0400)).id(), id);
    EXPECT_NE(read_heartbeat_key(write(std::string(64, '0'))).id(), id);
}

TEST_F(KeyFile, IsRefusedUnlessItIsPrivate) {
    for (const mode_t mode : {0644u, 0640u, 0604u, 0660u, 0602u, 0700u, 04600u})
        EXPECT_NE(error_of(write(digits, mode)).find("0600"), std::string::npos) << std::oct << mode;
}

TEST_F(KeyFile, OfAnotherUserIsRefused) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root, to give a file away";
    const fs::path path = write(digits);
    ASSERT_EQ(::chown(path.c_str(), 65534, 65534), 0);
    EXPECT_NE(error_of(path).find("user 65534"), std::string::npos);
}

TEST_F(KeyFile, AnythingElseIsOneClearLine) {
    for (const std::string& text : {std::string(), std::string("\n"), digits.substr(1), digits + "0",
                                    "0x" + digits, digits.substr(1) + "g", " " + digits, digits + " x",
                                    digits + std::string(1000, ' '), std::string(64, '\0')}) {
        const std::string error = error_of(write(text));
        EXPECT_NE(error.find("64 hexadecimal digits"), std::string::npos) << text;
        EXPECT_EQ(error.find('\n'), std::string::npos);
    }
    EXPECT_NE(error_of(folder / "none").find("No such file"), std::string::npos);
    EXPECT_NE(error_of(folder).find("regular"), std::string::npos);
}

TEST(HeartbeatKey, CodesDifferByKeyDirectionAndMessage) {
    const std::array<std::uint8_t, 3> message = {1, 2, 3};
    const std::array<std::uint8_t, 3> other = {1, 2, 4};
    const auto code = make_key(1).code(Role::agent, message);
    EXPECT_TRUE(make_key(1).verifies(Role::agent, message, code));
    EXPECT_FALSE(make_key(1).verifies(Role::replica, message, code));
    EXPECT_FALSE(make_key(2).verifies(Role::agent, message, code));
    EXPECT_FALSE(make_key(1).verifies(Role::agent, other, code));
}

TEST(HeartbeatKey, TheIdIsWrittenOut) {
    EXPECT_EQ(key_id_text(0xab), "00000000000000ab");
}

}  // namespace
}  // namespace understudy::failover
