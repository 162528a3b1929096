// A recording: the stream of ConnectionSync messages that a replica produced, in a file.
//
// Layout: 8 bytes of magic, the version as 4 bytes in network order, then each message after its length as a
// Protobuf varint. The magic holds a non-ASCII byte, CR and LF, so that a text-mode copy is recognised.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <stdexcept>

#include "proto/connection_sync.pb.h"

namespace understudy::proto {

inline constexpr std::uint32_t recording_version = 1;
// Longest message that is written or read.
inline constexpr std::size_t max_recorded_bytes = 4096;

// One clear line that names the file.
class RecordingError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

class RecordingWriter {
  public:
    // Creates the file or replaces what is in it, and writes the header. Throws RecordingError.
    explicit RecordingWriter(const std::filesystem::path& path);
    ~RecordingWriter();
    RecordingWriter(RecordingWriter&&) noexcept;
    RecordingWriter& operator=(RecordingWriter&&) noexcept;

    // Appends one message; it may stay in memory until flush(). Throws RecordingError when the file cannot
    // take it, or when it is longer than max_recorded_bytes.
    void write(const v1::ConnectionSync& message);
    // Hands everything to the operating system. Throws RecordingError.
    void flush();
    // Messages written.
    std::uint64_t count() const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

class RecordingReader {
  public:
    enum class Result : std::uint8_t {
        message,
        end,        // after the last whole message
        truncated,  // the file ends inside a message: the writer was stopped while it wrote
        corrupt,    // what follows is no message: nothing after it can be read
    };

    // Opens the file and checks its header. Throws RecordingError.
    explicit RecordingReader(const std::filesystem::path& path);
    ~RecordingReader();
    RecordingReader(RecordingReader&&) noexcept;
    RecordingReader& operator=(RecordingReader&&) noexcept;

    // Reads the next message; `message` is changed only when the result is Result::message. Every result but
    // that one is final.
    Result next(v1::ConnectionSync& message);
    // Messages read.
    std::uint64_t count() const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace understudy::proto
