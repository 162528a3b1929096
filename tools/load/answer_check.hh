// What a server must answer on one connection, byte for byte, and how much of it was wrong.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace understudy::load {

enum class App : std::uint8_t { echo, discard, source, ticker, udp_echo };

// Compares an answer stream with what it must be, position by position: after one lost byte nearly every
// later one is wrong.
class AnswerCheck {
  public:
    virtual ~AnswerCheck() = default;

    // The next bytes of the stream.
    void check(std::span<const std::byte> bytes);
    std::uint64_t checked_bytes() const { return checked_bytes_; }
    std::uint64_t wrong_bytes() const { return wrong_bytes_; }
    // Stream offset of the first wrong byte.
    std::optional<std::uint64_t> first_wrong() const { return first_wrong_; }

  protected:
    // Writes what must come next, up to out.size() bytes, and returns how many; fewer means that every
    // further byte is wrong.
    virtual std::size_t expect(std::span<std::byte> out) = 0;

  private:
    void note_wrong(std::uint64_t offset);

    std::uint64_t checked_bytes_ = 0;
    std::uint64_t wrong_bytes_ = 0;
    std::optional<std::uint64_t> first_wrong_;
};

// The pattern (shadow_app/pattern.hh) of stream `connection`: what an echo client of that number sent, and what
// it asked of a source.
class PatternCheck final : public AnswerCheck {
  public:
    explicit PatternCheck(std::uint32_t connection) : connection_(connection) {}

  protected:
    std::size_t expect(std::span<std::byte> out) override;

  private:
    std::uint32_t connection_;
    std::uint64_t offset_ = 0;
};

// RFC 863: nothing comes back.
class DiscardCheck final : public AnswerCheck {
  protected:
    std::size_t expect(std::span<std::byte>) override { return 0; }
};

// "tick 1\n", "tick 2\n", ..., each padded to `line_bytes`.
class TickerCheck final : public AnswerCheck {
  public:
    explicit TickerCheck(std::uint32_t line_bytes) : line_bytes_(line_bytes) {}

    // Whole lines expected so far, and whether the stream stands at the end of one.
    std::uint64_t lines() const { return at_line_end() ? line_ : line_ - 1; }
    bool at_line_end() const { return used_ == current_.size(); }

  protected:
    std::size_t expect(std::span<std::byte> out) override;

  private:
    std::uint32_t line_bytes_;
    std::uint64_t line_ = 0;
    std::string current_;
    std::size_t used_ = 0;
};

}  // namespace understudy::load
