#include "failover/heartbeat_key.hh"

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace understudy::failover {
namespace {

static_assert(HeartbeatKey::bytes == crypto_kdf_KEYBYTES);
static_assert(HeartbeatKey::bytes >= crypto_generichash_KEYBYTES_MIN &&
              HeartbeatKey::bytes <= crypto_generichash_KEYBYTES_MAX);
static_assert(HeartbeatKey::code_bytes == crypto_generichash_BYTES_MIN);

constexpr char kdf_context[crypto_kdf_CONTEXTBYTES + 1] = "ustryhb1";
// Subkeys 1 and 2 are the directions'.
constexpr std::uint64_t id_subkey = 3;

// Closes, and wipes what was read.
struct OpenFile {
    int descriptor;
    std::array<char, HeartbeatKey::bytes * 2 + 64> text{};

    explicit OpenFile(const std::filesystem::path& path)
        : descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
    ~OpenFile() {
        if (descriptor >= 0) ::close(descriptor);
        sodium_memzero(text.data(), text.size());
    }
    OpenFile(const OpenFile&) = delete;
    OpenFile& operator=(const OpenFile&) = delete;
};

bool is_blank(std::string_view text) {
    return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

}  // namespace

std::string key_id_text(KeyId id) {
    constexpr char digits[] = "0123456789abcdef";
    std::string text;
    for (int shift = 60; shift >= 0; shift -= 4)
        text += digits[id >> shift & 0xf];
    return text;
}

HeartbeatKey::HeartbeatKey(std::span<const std::uint8_t, bytes> secret) {
    for (std::size_t i = 0; i < by_sender_.size(); ++i)
        crypto_kdf_derive_from_key(by_sender_[i].data(), bytes, i + 1, kdf_context, secret.data());
    std::array<std::uint8_t, crypto_kdf_BYTES_MIN> id;
    crypto_kdf_derive_from_key(id.data(), id.size(), id_subkey, kdf_context, secret.data());
    // Octet by octet: the id crosses hosts.
    for (std::size_t i = 0; i < sizeof id_; ++i)
        id_ = id_ << 8 | id[i];
}

HeartbeatKey::~HeartbeatKey() {
    sodium_memzero(by_sender_.data(), sizeof by_sender_);
}

HeartbeatKey::Code HeartbeatKey::code(Role sender, std::span<const std::uint8_t> message) const {
    Code code;
    crypto_generichash(code.data(), code.size(), message.data(), message.size(),
                       by_sender_[static_cast<std::size_t>(sender)].data(), bytes);
    return code;
}

bool HeartbeatKey::verifies(Role sender, std::span<const std::uint8_t> message,
                            std::span<const std::uint8_t, code_bytes> given) const {
    const Code expected = code(sender, message);
    return sodium_memcmp(expected.data(), given.data(), expected.size()) == 0;
}

HeartbeatKey read_heartbeat_key(const std::filesystem::path& path) {
    const auto error = [&path](const std::string& what) {
        return HeartbeatKeyError("heartbeat key file " + path.string() + " " + what);
    };
    OpenFile file(path);
    struct stat status {};
    if (file.descriptor < 0 || ::fstat(file.descriptor, &status) != 0)
        throw error("cannot be read: " + std::generic_category().message(errno));
    if (!S_ISREG(status.st_mode)) throw error("is no regular file");
    if (status.st_uid != ::geteuid())
        throw error("belongs to user " + std::to_string(status.st_uid) + "; it must be that of user " +
                    std::to_string(::geteuid()) + ", who runs this program");
    const mode_t mode = status.st_mode & 07777;
    if (mode != 0600 && mode != 0400) throw error("is open to others: give it mode 0600 or 0400");
    const ssize_t length = ::read(file.descriptor, file.text.data(), file.text.size());
    if (length < 0) throw error("cannot be read: " + std::generic_category().message(errno));

    struct Secret {
        std::array<std::uint8_t, HeartbeatKey::bytes> octets{};
        ~Secret() { sodium_memzero(octets.data(), octets.size()); }
    } secret;
    const std::string_view text(file.text.data(), static_cast<std::size_t>(length));
    constexpr std::size_t digits = HeartbeatKey::bytes * 2;
    std::size_t decoded = 0;
    const char* end = nullptr;
    if (text.size() < digits || text.size() == file.text.size() || !is_blank(text.substr(digits)) ||
        sodium_hex2bin(secret.octets.data(), secret.octets.size(), text.data(), digits, nullptr, &decoded,
                       &end) != 0 ||
        decoded != HeartbeatKey::bytes || end != text.data() + digits)
        throw error("must hold 64 hexadecimal digits (openssl rand -hex 32 makes some)");
    return HeartbeatKey(secret.octets);
}

}  // namespace understudy::failover
