#include "proto/recording.hh"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

namespace understudy::proto {
namespace {

using Result = RecordingReader::Result;

class Recording : public testing::Test {
  protected:
    void SetUp() override {
        std::string name = (std::filesystem::temp_directory_path() / "recording-XXXXXX").string();
        const int descriptor = ::mkstemp(name.data());
        ASSERT_GE(descriptor, 0);
        ::close(descriptor);
        path_ = name;
    }
    void TearDown() override { std::filesystem::remove(path_); }

    static v1::ConnectionSync sync(std::uint32_t number) {
        v1::ConnectionSync message;
        message.mutable_client()->set_address(std::string("\x0a\x4d\x00\x02", 4));
        message.mutable_client()->set_port(40000 + number);
        message.set_client_isn(number);
        message.set_primary_isn(0xffffffff - number);
        return message;
    }

    void write(std::uint32_t count) {
        RecordingWriter writer(path_);
        for (std::uint32_t i = 0; i < count; ++i)
            writer.write(sync(i));
        EXPECT_EQ(writer.count(), count);
    }

    void append(const std::string& bytes) { std::ofstream(path_, std::ios::app | std::ios::binary) << bytes; }

    // Reads all messages, checks that they are sync(0), sync(1), ..., and returns how the recording ends.
    Result read(std::uint64_t expected) {
        RecordingReader reader(path_);
        v1::ConnectionSync message;
        Result result = Result::end;
        for (std::uint32_t i = 0; (result = reader.next(message)) == Result::message; ++i)
            EXPECT_EQ(message.SerializeAsString(), sync(i).SerializeAsString());
        EXPECT_EQ(reader.count(), expected);
        EXPECT_EQ(reader.next(message), result) << "the end is final";
        return result;
    }

    std::filesystem::path path_;
};

TEST_F(Recording, RoundTrip) {
    write(1000);
    EXPECT_EQ(read(1000), Result::end);
}

TEST_F(Recording, EmptyOneIsARecording) {
    write(0);
    EXPECT_EQ(read(0), Result::end);
}

TEST_F(Recording, WriterReplacesWhatWasThere) {
    write(3);
    write(1);
    EXPECT_EQ(read(1), Result::end);
}

TEST_F(Recording, FlushedMessagesCanBeReadWhileTheWriterLives) {
    RecordingWriter writer(path_);
    writer.write(sync(0));
    writer.flush();
    EXPECT_EQ(read(1), Result::end);
}

TEST_F(Recording, EveryCutIsReported) {
    write(1);
    const auto header_and_one = std::filesystem::file_size(path_);
    write(2);
    for (auto size = std::filesystem::file_size(path_) - 1; size > header_and_one; --size) {
        std::filesystem::resize_file(path_, size);
        EXPECT_EQ(read(1), Result::truncated) << size;
    }
    std::filesystem::resize_file(path_, header_and_one);
    EXPECT_EQ(read(1), Result::end);
}

TEST_F(Recording, OversizedLengthIsCorrupt) {
    write(2);
    append("\xff\xff\xff\xff\x0f");
    EXPECT_EQ(read(2), Result::corrupt);
}

TEST_F(Recording, EndlessLengthIsCorrupt) {
    write(2);
    append("\x80\x80\x80\x80\x80\x80\x80\x80");
    EXPECT_EQ(read(2), Result::corrupt);
}

TEST_F(Recording, GarbageMessageIsCorrupt) {
    write(2);
    append("\x03\xff\xff\xff");
    EXPECT_EQ(read(2), Result::corrupt);
}

TEST_F(Recording, MessageThatIsTooLongIsRefused) {
    RecordingWriter writer(path_);
    v1::ConnectionSync message;
    message.set_client_link(std::string(max_recorded_bytes, 'x'));
    EXPECT_THROW(writer.write(message), RecordingError);
    EXPECT_EQ(writer.count(), 0u);
}

TEST_F(Recording, ForeignFileIsRefused) {
    EXPECT_THROW(RecordingReader{path_}, RecordingError) << "an empty file";
    append("some text that is longer than the header");
    EXPECT_THROW(RecordingReader{path_}, RecordingError);
}

TEST_F(Recording, UnknownVersionIsRefused) {
    write(1);
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(11);
    file.put(2);
    file.close();
    try {
        RecordingReader reader(path_);
        FAIL() << "opened";
    } catch (const RecordingError& error) {
        EXPECT_NE(std::string(error.what()).find("version"), std::string::npos) << error.what();
    }
}

TEST_F(Recording, ErrorsNameTheFile) {
    try {
        RecordingReader reader("/no/such/recording");
        FAIL() << "opened";
    } catch (const RecordingError& error) {
        EXPECT_NE(std::string(error.what()).find("/no/such/recording"), std::string::npos) << error.what();
    }
    EXPECT_THROW(RecordingWriter("/no/such/recording"), RecordingError);
}

TEST_F(Recording, FullDiskIsReported) {
    EXPECT_THROW(RecordingWriter("/dev/full"), RecordingError);
}

}  // namespace
}  // namespace understudy::proto
