#include "tools/daemon/data_plane.hh"

#include <sodium/randombytes.h>
#include <sys/prctl.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <stdexcept>

#include "shadow_app/registry.hh"

namespace understudy::tools {
namespace {

using stack::Instant;

// No takeover waits longer than this for a tap that never runs empty; what is left is read afterwards.
constexpr std::size_t max_drained_frames = 1 << 17;
constexpr unsigned long timer_slack_ns = 1000;

class SystemRandom final : public stack::RandomSource {
  public:
    std::uint64_t next() override {
        std::uint64_t value = 0;
        randombytes_buf(&value, sizeof value);
        return value;
    }
};

void sleep_for(IdleStrategy::Duration duration) {
    const timespec time{.tv_sec = 0, .tv_nsec = static_cast<long>(duration.count())};
    nanosleep(&time, nullptr);
}

}  // namespace

Instant stack_now() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return Instant(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
}

DataPlane::DataPlane(const Settings& settings, std::vector<std::unique_ptr<tap::Port>> taps,
                     std::unique_ptr<tap::Port> service_port)
    : settings_(settings),
      taps_(std::move(taps)),
      service_port_(std::move(service_port)),
      classifier_(settings.classifier),
      sink_(*service_port_),
      random_(std::make_unique<SystemRandom>()),
      stack_(settings.stack, sink_, host_, *random_) {
    for (const auto& [endpoint, name] : settings_.applications) {
        auto application = shadow_app::make_application(name);
        if (application == nullptr)
            throw std::invalid_argument("no application is named \"" + name + "\": use one of " +
                                        shadow_app::application_names());
        host_.serve(endpoint, *application);
        applications_.push_back(std::move(application));
    }
    host_.attach(stack_);
    host_.observe_seeds([this](const stack::SeedRecord& record) { on_seed(record); });
}

DataPlane::~DataPlane() {
    stop();
}

void DataPlane::start() {
    thread_ = std::thread([this] { loop(); });
}

void DataPlane::stop() {
    stopping_.store(true, std::memory_order_relaxed);
    if (thread_.joinable()) thread_.join();
}

std::optional<Instant> DataPlane::newest_from_primary() const {
    const std::int64_t ns = newest_from_primary_ns_.load(std::memory_order_relaxed);
    if (ns == 0) return std::nullopt;
    return Instant(std::chrono::nanoseconds(ns));
}

Instant DataPlane::taps_read_until() const {
    return Instant(std::chrono::nanoseconds(taps_read_until_ns_.load(std::memory_order_acquire)));
}

std::optional<stack::SeedRecord> DataPlane::next_seed() {
    stack::SeedRecord record;
    if (!seeds_.pop(record)) return std::nullopt;
    return record;
}

void DataPlane::on_seed(const stack::SeedRecord& record) {
    if (!seeds_.push(record)) seeds_lost_.fetch_add(1, std::memory_order_relaxed);
}

void DataPlane::loop() {
    prctl(PR_SET_NAME, "understudy-core");
    prctl(PR_SET_TIMERSLACK, timer_slack_ns);
    for (const auto& tap : taps_)
        tap->adopt_polling_thread();
    service_port_->adopt_polling_thread();
    IdleStrategy idle(settings_.poll, settings_.max_sleep);
    while (!stopping_.load(std::memory_order_relaxed)) {
        ++polls_;
        std::size_t work = 0;
        const Instant began = stack_now();
        bool read_all = true;
        for (const auto& tap : taps_) {
            const std::size_t count = poll_tap(*tap);
            work += count;
            // A full burst may have left frames behind.
            read_all = read_all && count < burst;
        }
        // Released after the time of the newest frame: whoever reads this sees that one too.
        if (read_all) taps_read_until_ns_.store(began.time_since_epoch().count(), std::memory_order_release);
        work += poll_service();
        const Instant now = stack_now();
        auto deadline = host_.next_deadline();
        if (deadline && *deadline <= now) {
            host_.advance(now);
            ++work;
            deadline = host_.next_deadline();
        }
        work += tasks_.run(*this);
        service_port_->flush();
        const auto until = deadline ? *deadline - now : IdleStrategy::Duration(settings_.max_sleep);
        const auto sleep = idle.after_poll(work != 0, until);
        if (sleep > IdleStrategy::Duration::zero()) {
            ++sleeps_;
            sleep_for(sleep);
        }
    }
    service_port_->flush();
}

std::size_t DataPlane::poll_tap(tap::Port& port) {
    std::array<tap::Frame, burst> frames;
    std::array<stack::ReceivedFrame, burst> received;
    const std::size_t count = port.receive(frames);
    if (count == 0) return 0;
    const Instant now = stack_now();
    std::size_t wanted = 0;
    bool primary_lives = false;
    for (const tap::Frame& frame : std::span(frames).first(count)) {
        const tap::Classified classified = classifier_.classify(frame);
        primary_lives = primary_lives || classified.sign_of_life;
        if (classified.verdict == tap::Verdict::from_client)
            received[wanted++] = {stack::Source::tap_from_client, frame.bytes, frame.wire_length};
        else if (classified.verdict == tap::Verdict::from_primary)
            received[wanted++] = {stack::Source::tap_from_primary, frame.bytes, frame.wire_length};
    }
    if (primary_lives)
        newest_from_primary_ns_.store(now.time_since_epoch().count(), std::memory_order_relaxed);
    host_.receive(std::span(received).first(wanted), now);
    port.release(std::span(frames).first(count));
    return count;
}

std::size_t DataPlane::poll_service() {
    std::array<tap::Frame, burst> frames;
    std::array<stack::ReceivedFrame, burst> received;
    const std::size_t count = service_port_->receive(frames);
    if (count == 0) return 0;
    for (std::size_t i = 0; i < count; ++i)
        received[i] = {stack::Source::service, frames[i].bytes, frames[i].wire_length};
    host_.receive(std::span(received).first(count), stack_now());
    service_port_->release(std::span(frames).first(count));
    return count;
}

TakeoverRecord DataPlane::take_over() {
    TakeoverRecord record;
    record.coverage = count_coverage();
    for (const auto& tap : taps_) {
        while (record.drained_frames < max_drained_frames) {
            const std::size_t count = poll_tap(*tap);
            if (count == 0) break;
            record.drained_frames += count;
        }
    }
    record.drained_at = stack_now();
    record.gate_open_at = record.drained_at;
    record.report = host_.promote(record.gate_open_at);
    record.promoted_at = stack_now();
    service_port_->flush();
    record.announced_at = stack_now();
    return record;
}

CoverageCount DataPlane::count_coverage() const {
    CoverageCount count;
    std::uint32_t cursor = 0;
    do {
        for (const stack::ConnectionSnapshot& c : stack_.snapshots(cursor, 1024)) {
            if (c.state == stack::State::time_wait) continue;
            ++count.open;
            if (c.coverage == stack::Coverage::covered) ++count.covered;
            if (c.verified) ++count.verified;
            const auto same = [&](const auto& entry) { return entry.first == c.coverage; };
            auto entry = std::find_if(count.by_coverage.begin(), count.by_coverage.end(), same);
            if (entry == count.by_coverage.end()) entry = count.by_coverage.insert(entry, {c.coverage, 0});
            ++entry->second;
        }
    } while (cursor != 0);
    return count;
}

}  // namespace understudy::tools
