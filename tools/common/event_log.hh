// What happened, when: one JSON object a line in a file, and the newest events in memory for the operator.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "proto/control.pb.h"

namespace understudy::tools {

// Fields keep the order in which they were given.
using EventFields = nlohmann::ordered_json;

// Any thread may call any method.
class EventLog {
  public:
    // Keeps the newest `capacity` events in memory only.
    explicit EventLog(std::size_t capacity = 4096);
    // Writes each event to `path` as well, after what is there already. Throws std::runtime_error with one
    // clear line when the file cannot be opened.
    explicit EventLog(const std::filesystem::path& path, std::size_t capacity = 4096);

    // Adds {"monotonic_ns": …, "wall_ns": …, "event": name, ...fields}; `fields` is an object. The line is in
    // the file when this returns; a file that cannot take it is counted in write_failures().
    void add(std::string_view name, const EventFields& fields = EventFields::object());
    // The same for an event whose instant (CLOCK_MONOTONIC) was taken earlier.
    void add_at(std::int64_t monotonic_ns, std::string_view name,
                const EventFields& fields = EventFields::object());

    // The oldest events after `request.after_sequence()` that are still kept, at most 1000.
    proto::v1::EventsResponse read(const proto::v1::EventsRequest& request) const;
    std::uint64_t write_failures() const;

  private:
    mutable std::mutex mutex_;
    std::size_t capacity_;
    std::optional<std::ofstream> file_;
    std::deque<proto::v1::Event> kept_;
    std::uint64_t last_sequence_ = 0;
    std::uint64_t write_failures_ = 0;
};

}  // namespace understudy::tools
