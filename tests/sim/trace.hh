// What happened, as a hash over everything and, where asked for, as text.
#pragma once

#include <cstdint>
#include <ostream>
#include <span>
#include <string>
#include <string_view>

#include "tests/sim/event_queue.hh"

namespace understudy::sim {

class Trace {
  public:
    // `text` may be null; times in it count from the instant `start`.
    Trace(const EventQueue& queue, std::ostream* text);

    bool has_text() const { return text_ != nullptr; }
    // One event of `who`. `what` is part of the hash.
    void event(std::string_view who, std::string_view what);
    // One frame; `description` is text only.
    void frame(std::string_view where, std::span<const std::byte> bytes, std::string_view description);
    std::uint64_t hash() const { return hash_; }
    // Milliseconds since the world began.
    double milliseconds() const;

  private:
    void add(std::span<const std::byte> bytes);
    void write(std::string_view who, std::string_view what);

    const EventQueue& queue_;
    const Instant start_;
    std::ostream* text_;
    std::uint64_t hash_ = 0xcbf29ce484222325;
};

}  // namespace understudy::sim
