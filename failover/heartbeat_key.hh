// The secret that both ends of the heartbeat links share, and the file that holds it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>

namespace understudy::failover {

// Which end of the links a process is. Each direction has a key of its own, so that a message that is sent
// back to its author is no message of the peer.
enum class Role : std::uint8_t { replica, agent };

// Names a key and tells nothing about it.
using KeyId = std::uint64_t;
std::string key_id_text(KeyId id);

// One clear line.
class HeartbeatKeyError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// Wiped from memory when it goes.
class HeartbeatKey {
  public:
    static constexpr std::size_t bytes = 32;
    static constexpr std::size_t code_bytes = 16;
    using Code = std::array<std::uint8_t, code_bytes>;

    explicit HeartbeatKey(std::span<const std::uint8_t, bytes> secret);
    HeartbeatKey(const HeartbeatKey&) = default;
    HeartbeatKey& operator=(const HeartbeatKey&) = default;
    ~HeartbeatKey();

    KeyId id() const { return id_; }
    // The authentication code (keyed BLAKE2b) of `message` sent by `sender`.
    Code code(Role sender, std::span<const std::uint8_t> message) const;
    // In constant time.
    bool verifies(Role sender, std::span<const std::uint8_t> message,
                  std::span<const std::uint8_t, code_bytes> code) const;

  private:
    using Subkey = std::array<std::uint8_t, bytes>;
    std::array<Subkey, 2> by_sender_{};
    KeyId id_ = 0;
};

// Reads a key: 64 hexadecimal digits, and white space after them. Throws HeartbeatKeyError unless `path` is a
// regular file that belongs to this process's user and that nobody else may read (mode 0600 or 0400).
HeartbeatKey read_heartbeat_key(const std::filesystem::path& path);

}  // namespace understudy::failover
