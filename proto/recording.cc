#include "proto/recording.hh"

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <utility>

#include <google/protobuf/io/coded_stream.h>

namespace understudy::proto {
namespace {

constexpr std::array<char, 12> file_header = {
    '\x89', 'U', 'S', 'R', 'E', 'C', '\r', '\n', 0, 0, 0, static_cast<char>(recording_version)};
static_assert(recording_version < 0x80);
constexpr std::size_t magic_bytes = 8;
// A 32-bit varint.
constexpr std::size_t max_length_bytes = 5;

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& what) {
    throw RecordingError("recording " + path.string() + ": " + what);
}

}  // namespace

struct RecordingWriter::Impl {
    std::filesystem::path path;
    std::ofstream stream;
    std::uint64_t count = 0;

    void check() const {
        if (!stream) fail(path, std::string("cannot write: ") + std::strerror(errno));
    }
};

RecordingWriter::RecordingWriter(const std::filesystem::path& path) : impl_(std::make_unique<Impl>()) {
    impl_->path = path;
    errno = 0;
    impl_->stream.open(path, std::ios::binary | std::ios::trunc);
    impl_->check();
    impl_->stream.write(file_header.data(), file_header.size());
    flush();
}

RecordingWriter::~RecordingWriter() = default;
RecordingWriter::RecordingWriter(RecordingWriter&&) noexcept = default;
RecordingWriter& RecordingWriter::operator=(RecordingWriter&&) noexcept = default;

void RecordingWriter::write(const v1::ConnectionSync& message) {
    const std::size_t length = message.ByteSizeLong();
    if (length > max_recorded_bytes)
        fail(impl_->path, "a message of " + std::to_string(length) + " bytes is too long");
    std::array<std::uint8_t, max_length_bytes + max_recorded_bytes> bytes;
    std::uint8_t* const body = google::protobuf::io::CodedOutputStream::WriteVarint32ToArray(
        static_cast<std::uint32_t>(length), bytes.data());
    const std::uint8_t* const end = message.SerializeWithCachedSizesToArray(body);
    impl_->stream.write(reinterpret_cast<const char*>(bytes.data()), end - bytes.data());
    impl_->check();
    ++impl_->count;
}

void RecordingWriter::flush() {
    impl_->stream.flush();
    impl_->check();
}

std::uint64_t RecordingWriter::count() const {
    return impl_->count;
}

struct RecordingReader::Impl {
    std::filesystem::path path;
    std::ifstream stream;
    std::uint64_t count = 0;
    // Set once nothing more can be read.
    Result final = Result::message;

    Result read(v1::ConnectionSync& message);
};

RecordingReader::RecordingReader(const std::filesystem::path& path) : impl_(std::make_unique<Impl>()) {
    impl_->path = path;
    errno = 0;
    impl_->stream.open(path, std::ios::binary);
    if (!impl_->stream) fail(path, std::string("cannot open: ") + std::strerror(errno));
    std::array<char, file_header.size()> header{};
    impl_->stream.read(header.data(), header.size());
    if (impl_->stream.gcount() != header.size() ||
        std::memcmp(header.data(), file_header.data(), magic_bytes) != 0)
        fail(path, "not a recording of connection syncs");
    if (header != file_header) fail(path, "its version is not known to this program");
}

RecordingReader::~RecordingReader() = default;
RecordingReader::RecordingReader(RecordingReader&&) noexcept = default;
RecordingReader& RecordingReader::operator=(RecordingReader&&) noexcept = default;

RecordingReader::Result RecordingReader::next(v1::ConnectionSync& message) {
    if (impl_->final != Result::message) return impl_->final;
    const Result result = impl_->read(message);
    if (result == Result::message)
        ++impl_->count;
    else
        impl_->final = result;
    return result;
}

RecordingReader::Result RecordingReader::Impl::read(v1::ConnectionSync& message) {
    std::size_t length = 0;
    for (std::size_t i = 0;; ++i) {
        const int octet = stream.get();
        if (octet == std::ifstream::traits_type::eof()) return i == 0 ? Result::end : Result::truncated;
        length |= static_cast<std::size_t>(octet & 0x7f) << (7 * i);
        if (length > max_recorded_bytes || i >= max_length_bytes) return Result::corrupt;
        if ((octet & 0x80) == 0) break;
    }
    std::array<char, max_recorded_bytes> bytes;
    stream.read(bytes.data(), static_cast<std::streamsize>(length));
    if (static_cast<std::size_t>(stream.gcount()) != length) return Result::truncated;
    v1::ConnectionSync parsed;
    if (!parsed.ParseFromArray(bytes.data(), static_cast<int>(length))) return Result::corrupt;
    message = std::move(parsed);
    return Result::message;
}

std::uint64_t RecordingReader::count() const {
    return impl_->count;
}

}  // namespace understudy::proto
