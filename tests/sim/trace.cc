#include "tests/sim/trace.hh"

#include <fmt/format.h>

#include <chrono>

namespace understudy::sim {

Trace::Trace(const EventQueue& queue, std::ostream* text) : queue_(queue), start_(queue.now()), text_(text) {}

void Trace::event(std::string_view who, std::string_view what) {
    const std::int64_t at = queue_.now().time_since_epoch().count();
    add(std::as_bytes(std::span(&at, 1)));
    add(std::as_bytes(std::span(who)));
    add(std::as_bytes(std::span(what)));
    if (text_ != nullptr) write(who, what);
}

void Trace::frame(std::string_view where, std::span<const std::byte> bytes, std::string_view description) {
    const std::int64_t at = queue_.now().time_since_epoch().count();
    add(std::as_bytes(std::span(&at, 1)));
    add(std::as_bytes(std::span(where)));
    add(bytes);
    if (text_ != nullptr) write(where, description);
}

double Trace::milliseconds() const {
    return std::chrono::duration<double, std::milli>(queue_.now() - start_).count();
}

// FNV-1a.
void Trace::add(std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes)
        hash_ = (hash_ ^ static_cast<std::uint8_t>(byte)) * 0x100000001b3;
}

void Trace::write(std::string_view who, std::string_view what) {
    *text_ << fmt::format("{:12.4f} {:<20} {}\n", milliseconds(), who, what);
}

}  // namespace understudy::sim
