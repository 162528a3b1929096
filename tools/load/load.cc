#include "tools/load/load.hh"

#include <fcntl.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>

namespace understudy::load {
namespace {

constexpr std::uint64_t stop_tag = ~std::uint64_t{0};
constexpr std::size_t scratch_bytes = 64 * 1024;
// So many connection requests are outstanding at most: fewer than a listener's backlog.
constexpr std::size_t max_connecting = 128;
constexpr Duration sweep_interval = std::chrono::milliseconds(20);
constexpr Duration progress_interval = std::chrono::milliseconds(100);
// A client's kernel repeats a lost segment after 0.2, 0.4 and 0.8 s: less is no stall.
constexpr Duration shortest_stall_after = std::chrono::seconds(1);
constexpr Duration longest_stall_after = std::chrono::seconds(5);

Instant read_clock() {
    return std::chrono::time_point_cast<Duration>(std::chrono::steady_clock::now());
}

void watch_input(int epoll, int descriptor, std::uint64_t tag) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = tag;
    if (::epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) != 0)
        throw std::system_error(errno, std::generic_category(), "cannot watch a descriptor");
}

void make_nonblocking(int descriptor) {
    const int flags = ::fcntl(descriptor, F_GETFL);
    if (flags < 0 || ::fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) != 0)
        throw std::system_error(errno, std::generic_category(),
                                "descriptor " + std::to_string(descriptor) + " cannot be used");
}

}  // namespace

Load::Load(const LoadSettings& settings, int stop_descriptor)
    : settings_(settings),
      stop_descriptor_(stop_descriptor),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      scratch_(scratch_bytes) {
    if (!epoll_) throw std::system_error(errno, std::generic_category(), "cannot make an epoll descriptor");
    watch_input(epoll_.get(), stop_descriptor_, stop_tag);
    if (settings.progress_descriptor >= 0) make_nonblocking(settings.progress_descriptor);
    clients_.reserve(settings.clients);
    for (std::uint32_t number = 0; number < settings.clients; ++number)
        clients_.push_back(make_client(settings.client, number));
}

Duration Load::stall_after() const {
    if (settings_.stall_after) return *settings_.stall_after;
    if (!began_at_) return longest_stall_after;
    const Instant end = finished_at_.value_or(*began_at_ + settings_.duration);
    const Instant from = std::clamp(fault_at_.value_or(*began_at_), *began_at_, end);
    return std::clamp((end - from) / 2, shortest_stall_after, longest_stall_after);
}

void Load::run() {
    next_sweep_ = next_progress_ = read_clock();
    while (over_ < clients_.size()) {
        const Instant now = read_clock();
        start_connections(now);
        begin_when_open(now);
        send_due(now);
        if (began_at_ && !finished_at_ && (stopping_ || now >= *began_at_ + settings_.duration)) finish(now);
        if (now >= next_sweep_) sweep(now);
        if (now >= next_progress_) report_progress(now, "progress");
        if (stopping_ && !began_at_) break;
        if (over_ < clients_.size()) wait(next_wake(read_clock()));
    }
    read_fault_file();
    report_progress(read_clock(), "done");
}

Instant Load::next_wake(Instant now) const {
    Instant wake = std::min(next_sweep_, next_progress_);
    if (!due_.empty()) wake = std::min(wake, due_.top().first);
    return std::max(wake, now);
}

void Load::wait(Instant until) {
    std::array<epoll_event, 256> events;
    const auto left = std::max((until - read_clock()).count(), Duration::rep{0});
    const timespec timeout{left / 1'000'000'000, left % 1'000'000'000};
    const int count =
        ::epoll_pwait2(epoll_.get(), events.data(), static_cast<int>(events.size()), &timeout, nullptr);
    if (count < 0 && errno != EINTR) throw std::system_error(errno, std::generic_category(), "cannot wait");
    for (int i = 0; i < count; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        if (event.data.u64 == stop_tag) {
            stopping_ = true;
            ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, stop_descriptor_, nullptr);
        } else {
            const auto index = static_cast<std::uint32_t>(event.data.u64);
            Client& client = *clients_[index];
            if (client.over()) continue;
            const bool connecting = client.outcome() == Outcome::connecting;
            client.ready(event.events, read_clock(), scratch_);
            if (connecting && client.outcome() != Outcome::connecting) ++opened_or_over_;
            watch(index);
            schedule(index);
        }
    }
}

// Watches the client's descriptor for what it waits for, and counts the client once it is over.
void Load::watch(std::uint32_t index) {
    Client& client = *clients_[index];
    if (client.over()) {
        ++over_;
        return;
    }
    const std::uint32_t wanted = EPOLLIN | (client.wants_write() ? EPOLLOUT : 0U);
    if (wanted == client.watched_events) return;
    epoll_event event{};
    event.events = wanted;
    event.data.u64 = index;
    const int operation = client.watched_events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (::epoll_ctl(epoll_.get(), operation, client.descriptor(), &event) != 0)
        throw std::system_error(errno, std::generic_category(), "cannot watch a connection");
    client.watched_events = wanted;
}

void Load::schedule(std::uint32_t index) {
    if (const auto due = clients_[index]->next_due()) due_.emplace(*due, index);
}

void Load::start_connections(Instant now) {
    while (!stopping_ && started_ < clients_.size() && started_ - opened_or_over_ < max_connecting) {
        const auto index = static_cast<std::uint32_t>(started_++);
        clients_[index]->connect(now);
        if (clients_[index]->outcome() != Outcome::connecting) ++opened_or_over_;
        watch(index);
    }
}

void Load::begin_when_open(Instant now) {
    if (began_at_ || opened_or_over_ < clients_.size()) return;
    began_at_ = now;
    report_progress(now, "open");
    // The first messages are spread over one interval, so that the connections do not speak in chorus.
    const Duration interval = settings_.client.interval.value_or(Duration::zero());
    for (std::uint32_t i = 0; i < clients_.size(); ++i) {
        clients_[i]->begin(now + interval * i / static_cast<Duration::rep>(clients_.size()));
        schedule(i);
    }
}

void Load::send_due(Instant now) {
    while (!due_.empty() && due_.top().first <= now) {
        const std::uint32_t index = due_.top().second;
        due_.pop();
        Client& client = *clients_[index];
        // An entry may be out of date: the client then has a newer one, or nothing to send.
        if (client.over() || client.next_due().value_or(Instant::max()) > now) continue;
        client.send_due(now);
        watch(index);
        if (!client.over()) schedule(index);
    }
}

void Load::sweep(Instant now) {
    next_sweep_ = now + sweep_interval;
    read_fault_file();
    for (std::uint32_t i = 0; i < started_; ++i) {
        Client& client = *clients_[i];
        if (client.over()) continue;
        const bool connecting = client.outcome() == Outcome::connecting;
        client.poll_acknowledged(now);
        if (connecting)
            client.give_up(now - settings_.connect_timeout, now);
        else if (finished_at_)
            client.give_up(now - stall_after(), now);
        if (connecting && client.over()) ++opened_or_over_;
        if (client.over())
            ++over_;
        else
            schedule(i);
    }
}

void Load::finish(Instant now) {
    finished_at_ = now;
    report_progress(now, "finishing");
    for (std::uint32_t i = 0; i < clients_.size(); ++i) {
        if (clients_[i]->over()) continue;
        clients_[i]->finish(now);
        watch(i);
    }
}

void Load::read_fault_file() {
    if (settings_.fault_file.empty() || fault_at_) return;
    std::ifstream file(settings_.fault_file);
    if (!file) return;
    const auto told = nlohmann::json::parse(file, nullptr, false);
    if (!told.is_object() || !told.contains("fault_ns") || !told["fault_ns"].is_number_integer()) return;
    fault_at_ = Instant(Duration(told["fault_ns"].get<std::int64_t>()));
    for (const auto& client : clients_)
        client->receipts.keep_from(*fault_at_);
}

void Load::report_progress(Instant now, const char* event) {
    next_progress_ = now + progress_interval;
    if (settings_.progress_descriptor < 0) return;
    std::uint64_t open = 0, reset = 0, stalled = 0, waiting = 0, messages = 0, checked = 0, wrong = 0;
    for (const auto& client : clients_) {
        open += client->opened_at() && !client->over() ? 1 : 0;
        reset += client->outcome() == Outcome::reset ? 1 : 0;
        stalled += client->outcome() == Outcome::stalled ? 1 : 0;
        waiting += client->owed_since().value_or(now) < now - progress_interval ? 1 : 0;
        messages += client->messages();
        checked += client->checked_bytes();
        wrong += client->wrong_bytes();
    }
    const nlohmann::ordered_json line = {
        {"event", event},       {"monotonic_ns", now.time_since_epoch().count()},
        {"connections", open},  {"waiting", waiting},
        {"reset", reset},       {"stalled", stalled},
        {"messages", messages}, {"bytes_checked", checked},
        {"bytes_wrong", wrong}};
    const std::string text = line.dump() + '\n';
    // A reader that is too slow misses lines; it never holds up the load.
    [[maybe_unused]] const ssize_t written = ::write(settings_.progress_descriptor, text.data(), text.size());
}

}  // namespace understudy::load
