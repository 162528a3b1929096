// Recordings of connection syncs: a file from anywhere.
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "fuzz/require.hh"
#include "proto/recording.hh"

using namespace understudy;
using fuzz::require;
using Result = proto::RecordingReader::Result;

namespace {

// Holds one input; one file a process, gone at its end.
class Scratch {
  public:
    ~Scratch() {
        std::error_code ignored;
        std::filesystem::remove(path, ignored);
    }
    const std::filesystem::path path =
        std::filesystem::temp_directory_path() / ("understudy-fuzz-recording." + std::to_string(getpid()));
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const Scratch scratch;
    std::ofstream(scratch.path, std::ios::binary | std::ios::trunc)
        .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
    try {
        proto::RecordingReader reader(scratch.path);
        proto::v1::ConnectionSync message;
        Result result = Result::message;
        while (result == Result::message)
            result = reader.next(message);
        require(reader.count() <= size, "a message takes at least one byte");
        require(reader.next(message) == result, "the end is final");
    } catch (const proto::RecordingError&) {
        // Not a recording: said in one line.
    }
    return 0;
}
