#include "tools/common/event_log.hh"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace understudy::tools {
namespace {

constexpr std::size_t page_limit = 1000;

template <typename Clock>
std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch()).count();
}

// Text off a wire or an error message may be no UTF-8; a log line is written all the same.
std::string dump(const EventFields& json) {
    return json.dump(-1, ' ', false, EventFields::error_handler_t::replace);
}

}  // namespace

EventLog::EventLog(std::size_t capacity) : capacity_(std::max<std::size_t>(capacity, 1)) {}

EventLog::EventLog(const std::filesystem::path& path, std::size_t capacity) : EventLog(capacity) {
    errno = 0;
    file_.emplace(path, std::ios::app);
    if (!*file_)
        throw std::runtime_error("event log " + path.string() + ": cannot write: " + std::strerror(errno));
}

void EventLog::add(std::string_view name, const EventFields& fields) {
    add_at(now_ns<std::chrono::steady_clock>(), name, fields);
}

void EventLog::add_at(std::int64_t monotonic_ns, std::string_view name, const EventFields& fields) {
    const std::int64_t age_ns = now_ns<std::chrono::steady_clock>() - monotonic_ns;
    const std::int64_t wall_ns = now_ns<std::chrono::system_clock>() - age_ns;
    EventFields line = {{"monotonic_ns", monotonic_ns}, {"wall_ns", wall_ns}, {"event", name}};
    line.update(fields);

    proto::v1::Event event;
    event.set_monotonic_ns(monotonic_ns);
    event.set_wall_ns(wall_ns);
    event.set_event(std::string(name));
    event.set_fields_json(dump(fields));

    const std::lock_guard lock(mutex_);
    event.set_sequence(++last_sequence_);
    kept_.push_back(std::move(event));
    if (kept_.size() > capacity_) kept_.pop_front();
    if (!file_) return;
    *file_ << dump(line) << '\n' << std::flush;
    if (!*file_) {
        ++write_failures_;
        file_->clear();
    }
}

proto::v1::EventsResponse EventLog::read(const proto::v1::EventsRequest& request) const {
    const std::size_t limit =
        request.limit() == 0 ? page_limit : std::min<std::size_t>(request.limit(), page_limit);
    proto::v1::EventsResponse response;
    const std::lock_guard lock(mutex_);
    response.set_last_sequence(last_sequence_);
    const auto first =
        std::ranges::upper_bound(kept_, request.after_sequence(), {}, &proto::v1::Event::sequence);
    const auto available = static_cast<std::size_t>(kept_.end() - first);
    const auto count = static_cast<std::ptrdiff_t>(std::min(limit, available));
    for (auto event = first; event != first + count; ++event)
        *response.add_events() = *event;
    return response;
}

std::uint64_t EventLog::write_failures() const {
    const std::lock_guard lock(mutex_);
    return write_failures_;
}

}  // namespace understudy::tools
