#include "tools/daemon/core.hh"

#include <sodium/randombytes.h>
#include <sys/prctl.h>

#include <algorithm>
#include <array>
#include <ctime>

namespace understudy::tools {
namespace {

using stack::Instant;

// No takeover waits longer than this for a tap that never runs empty; what is left is read afterwards.
constexpr std::size_t max_drained_frames = 1 << 17;
// What one frame of a mirror may take of a ring: taps are drained only where the others' rings have room.
constexpr std::size_t usual_frame = 2048;
constexpr unsigned long timer_slack_ns = 1000;

class SystemRandom final : public stack::RandomSource {
  public:
    std::uint64_t next() override {
        std::uint64_t value = 0;
        randombytes_buf(&value, sizeof value);
        return value;
    }
};

std::uint64_t arrival_number(Instant at) {
    return static_cast<std::uint64_t>(at.time_since_epoch().count());
}

// What a frame's note to another core says beside its number and length.
constexpr std::uint32_t checked_bit = 1u << 31, source_mask = 0xff;
constexpr unsigned tap_shift = 8;

// Whether nothing but time keeps the application behind the primary.
bool can_catch_up(stack::Coverage coverage) {
    using stack::Coverage;
    return coverage == Coverage::covered || coverage == Coverage::half_open || coverage == Coverage::inferred ||
           coverage == Coverage::state;
}

std::uint32_t tag_of(const stack::ReceivedFrame& frame) {
    return static_cast<std::uint32_t>(frame.source) | std::uint32_t{frame.tap} << tap_shift |
           (frame.transport_checked ? checked_bit : 0);
}

stack::ReceivedFrame from_tag(const tap::RingFrame& frame) {
    return {static_cast<stack::Source>(frame.note.tag & source_mask), frame.bytes, frame.note.wire_length,
            (frame.note.tag & checked_bit) != 0, static_cast<std::uint8_t>(frame.note.tag >> tap_shift)};
}

}  // namespace

Instant stack_now() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return Instant(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
}

Core::Core(Settings settings, Queues queues, const tap::FlowSpread& spread, Handover& handover,
           Takeover& takeover)
    : settings_(std::move(settings)),
      queues_(std::move(queues)),
      spread_(spread),
      handover_(handover),
      takeover_(takeover),
      decapsulator_(settings_.wrappings, burst),
      classifier_(settings_.classifier),
      sink_(queues_.service, queues_.service == nullptr ? &handover.transmitted(settings_.index) : nullptr),
      random_(std::make_unique<SystemRandom>()),
      stack_(settings_.stack, sink_, host_, *random_) {
    for (const auto& [endpoint, application] : settings_.applications) {
        host_.serve(endpoint, *application);
        if (application->descriptor() >= 0) application_descriptors_.push_back(application->descriptor());
    }
    for (const auto& [endpoint, application] : settings_.datagram_applications)
        host_.serve_datagrams(endpoint, *application);
    host_.attach(stack_);
    for (std::size_t from = 0; from < handover_.cores(); ++from)
        if (from != index()) inbound_.push_back({handover_.received(from, index())});
    host_.observe_seeds([this](const stack::SeedRecord& record) { on_seed(record); });
    host_.observe_conflicts([this](const stack::IpAddress& address, const stack::LinkAddress& link) {
        conflicts_.push({settings_.clock(), address, link});
    });
    host_.observe_state_losses([this](const stack::Endpoint& service) {
        state_losses_.push({settings_.clock(), service});
    });
}

Core::~Core() {
    stop();
}

void Core::start() {
    thread_ = std::thread([this] { loop(); });
}

void Core::stop() {
    stopping_.store(true, std::memory_order_relaxed);
    handover_.bell(index()).ring();
    if (thread_.joinable()) thread_.join();
}

bool Core::run(Task task) {
    if (!tasks_.push(std::move(task))) return false;
    handover_.bell(index()).ring();
    return true;
}

std::optional<Instant> Core::newest_from_primary() const {
    const std::int64_t ns = newest_from_primary_ns_.load(std::memory_order_relaxed);
    if (ns == 0) return std::nullopt;
    return Instant(std::chrono::nanoseconds(ns));
}

Instant Core::taps_read_until() const {
    return Instant(std::chrono::nanoseconds(taps_read_until_ns_.load(std::memory_order_acquire)));
}

std::optional<Instant> Core::newest_probe() const {
    const std::int64_t ns = newest_probe_ns_.load(std::memory_order_acquire);
    if (ns == 0) return std::nullopt;
    return Instant(std::chrono::nanoseconds(ns));
}

std::optional<Instant> Core::newest_probe_answer() const {
    const std::int64_t ns = newest_probe_answer_ns_.load(std::memory_order_acquire);
    if (ns == 0) return std::nullopt;
    return Instant(std::chrono::nanoseconds(ns));
}

void Core::probe_primary(const stack::IpAddress& address, const stack::LinkAddress& primary) {
    stack_.probe_primary(address, primary, settings_.clock());
    newest_probe_ns_.store(settings_.clock().time_since_epoch().count(), std::memory_order_release);
}

std::optional<stack::SeedRecord> Core::next_seed() {
    stack::SeedRecord record;
    if (!seeds_.pop(record)) return std::nullopt;
    return record;
}

std::optional<Core::AddressConflict> Core::next_conflict() {
    AddressConflict conflict;
    if (!conflicts_.pop(conflict)) return std::nullopt;
    return conflict;
}

std::optional<Core::StateLoss> Core::next_state_loss() {
    StateLoss loss;
    if (!state_losses_.pop(loss)) return std::nullopt;
    return loss;
}

void Core::on_seed(const stack::SeedRecord& record) {
    if (!seeds_.push(record)) ++seeds_lost_;
}

void Core::loop() {
    prctl(PR_SET_NAME, ("understudy-c" + std::to_string(index())).c_str());
    prctl(PR_SET_TIMERSLACK, timer_slack_ns);
    for (const Tap& tap : queues_.taps)
        tap.queue->adopt_polling_thread();
    if (queues_.service != nullptr) queues_.service->adopt_polling_thread();
    IdleStrategy idle(settings_.poll, settings_.max_sleep);
    while (!stopping_.load(std::memory_order_relaxed)) {
        const bool worked = turn() != 0;
        const auto deadline = host_.next_deadline();
        const auto until =
            deadline ? *deadline - settings_.clock() : IdleStrategy::Duration(settings_.max_sleep);
        const auto sleep = idle.after_poll(worked, until);
        if (sleep > IdleStrategy::Duration::zero()) {
            ++sleeps_;
            handover_.bell(index()).sleep(sleep, application_descriptors_, [this] { return has_work(); });
        }
    }
    flush();
}

bool Core::has_work() const {
    if (stopping_.load(std::memory_order_relaxed) || !tasks_.empty()) return true;
    if (takes_over()) return true;
    for (const Inbound& from : inbound_)
        if (!from.ring.empty()) return true;
    return std::any_of(queues_.sends_for.begin(), queues_.sends_for.end(),
                       [this](std::size_t core) { return !handover_.transmitted(core).empty(); });
}

std::size_t Core::turn() {
    ++polls_;
    std::size_t work = 0;
    if (!takes_over()) {
        work += poll_taps();
        work += poll_service();
        work += take_handed_over();
    } else {
        work += go_on_with_takeover();
    }
    work += send_for_others();
    if (!application_descriptors_.empty()) work += host_.poll_applications(settings_.clock());
    const Instant now = settings_.clock();
    const auto deadline = host_.next_deadline();
    if (deadline && *deadline <= now) {
        host_.advance(now);
        ++work;
    }
    work += tasks_.run(*this);
    lacks_bytes_.store(stack_.lacks_bytes(), std::memory_order_relaxed);
    publish_watch();
    flush();
    return work;
}

void Core::publish_watch() {
    const stack::ServiceWatch& watch = stack_.service_watch();
    const auto since = watch.unanswered_since();
    unanswered_since_ns_.store(since ? since->time_since_epoch().count() : 0, std::memory_order_relaxed);
    // In this order: who sees news sees what a client acknowledged before.
    client_knows_us_.store(watch.client_knows_us(), std::memory_order_release);
    primary_news_.store(watch.primary_news(), std::memory_order_release);
}

std::optional<Instant> Core::unanswered_since() const {
    const std::int64_t ns = unanswered_since_ns_.load(std::memory_order_relaxed);
    if (ns == 0) return std::nullopt;
    return Instant(std::chrono::nanoseconds(ns));
}

void Core::mute() {
    host_.mute(settings_.clock());
    publish_watch();
}

void Core::announce() {
    stack_.announce(settings_.clock());
}

bool Core::is_settled() {
    flush();
    return stack_.is_settled() &&
           std::ranges::all_of(inbound_, [](const Inbound& from) { return from.ring.empty(); });
}

std::size_t Core::missing(std::span<stack::MissingBytes> out, stack::Duration min_age) {
    return stack_.missing(out, min_age, settings_.clock());
}

bool Core::repair(const stack::RepairBytes& answer) {
    return host_.repair(answer, settings_.clock());
}

shadow_app::Application* Core::application(const stack::Endpoint& service) const {
    for (const auto& [endpoint, application] : settings_.applications)
        if (endpoint == service) return application.get();
    return nullptr;
}

std::size_t Core::poll_taps() {
    if (queues_.taps.empty()) return 0;
    const Instant began = settings_.clock();
    std::size_t work = 0;
    bool read_all = true;
    for (const Tap& tap : queues_.taps) {
        const std::size_t count = poll_tap(tap);
        work += count;
        // A full burst may have left frames behind.
        read_all = read_all && count < burst;
    }
    // Released after the time of the newest frame: whoever reads this sees that one too.
    if (read_all) taps_read_until_ns_.store(began.time_since_epoch().count(), std::memory_order_release);
    return work;
}

std::size_t Core::poll_tap(const Tap& tap) {
    std::array<tap::Frame, burst> frames;
    const std::size_t count = tap.queue->receive(frames);
    if (count == 0) return 0;
    const Instant now = settings_.clock();
    Batch own;
    bool primary_lives = false;
    decapsulator_.begin_burst();
    for (const tap::Frame& mirrored : std::span(frames).first(count)) {
        const auto frame = decapsulator_.open(mirrored);
        if (!frame) continue;
        const tap::Classified classified = classifier_.classify(*frame);
        primary_lives = primary_lives || classified.sign_of_life;
        if (classified.verdict != tap::Verdict::from_client &&
            classified.verdict != tap::Verdict::from_primary)
            continue;
        const stack::Source source = classified.verdict == tap::Verdict::from_client
                                         ? stack::Source::tap_from_client
                                         : stack::Source::tap_from_primary;
        spread(own, {source, frame->bytes, frame->wire_length, frame->transport_checked, tap.number}, now);
    }
    if (primary_lives)
        newest_from_primary_ns_.store(now.time_since_epoch().count(), std::memory_order_relaxed);
    host_.receive(own.all(), now);
    tap.queue->release(std::span(frames).first(count));
    return count;
}

std::size_t Core::poll_service() {
    if (queues_.service == nullptr) return 0;
    std::array<tap::Frame, burst> frames;
    const std::size_t count = queues_.service->receive(frames);
    if (count == 0) return 0;
    const Instant now = settings_.clock();
    Batch own;
    for (const tap::Frame& frame : std::span(frames).first(count))
        spread(own, {stack::Source::service, frame.bytes, frame.wire_length, frame.transport_checked}, now);
    host_.receive(own.all(), now);
    queues_.service->release(std::span(frames).first(count));
    if (stack_.counters().primary_probes_answered != probe_answers_) {
        probe_answers_ = stack_.counters().primary_probes_answered;
        newest_probe_answer_ns_.store(now.time_since_epoch().count(), std::memory_order_release);
    }
    return count;
}

// To whom it belongs, whatever queue it came by.
void Core::spread(Batch& own, const stack::ReceivedFrame& frame, Instant arrived) {
    const auto place = spread_.place(frame.bytes);
    const bool for_each = place.reach == tap::FlowSpread::Reach::each;
    if (for_each || place.core == index()) own.add(frame);
    const tap::FrameNote note{
        .number = arrival_number(arrived), .wire_length = frame.wire_length, .tag = tag_of(frame)};
    if (!for_each) {
        if (place.core != index()) handover_.received(index(), place.core).push(frame.bytes, note);
        return;
    }
    for (std::size_t to = 0; to < handover_.cores(); ++to)
        if (to != index()) handover_.received(index(), to).push(frame.bytes, note);
}

// Merges what the other cores read, by the number of its arrival.
std::size_t Core::take_handed_over() {
    for (Inbound& from : inbound_) {
        from.count = from.ring.receive(from.frames);
        from.taken = 0;
    }
    Batch batch;
    while (batch.count < burst) {
        Inbound* earliest = nullptr;
        for (Inbound& from : inbound_) {
            if (from.taken == from.count) continue;
            if (earliest == nullptr ||
                from.frames[from.taken].note.number < earliest->frames[earliest->taken].note.number)
                earliest = &from;
        }
        if (earliest == nullptr) break;
        const tap::RingFrame& frame = earliest->frames[earliest->taken++];
        batch.add(from_tag(frame));
    }
    if (batch.count == 0) return 0;
    host_.receive(batch.all(), settings_.clock());
    for (Inbound& from : inbound_)
        from.ring.release(from.taken);
    return batch.count;
}

std::size_t Core::send_for_others() {
    std::size_t sent = 0;
    for (const std::size_t core : queues_.sends_for) {
        tap::FrameRing& ring = handover_.transmitted(core);
        std::array<tap::RingFrame, burst> frames;
        const std::size_t count = ring.receive(frames);
        for (const tap::RingFrame& frame : std::span(frames).first(count)) {
            const auto room = queues_.service->reserve(frame.bytes.size());
            if (room.empty()) continue;  // counted by the port
            std::copy(frame.bytes.begin(), frame.bytes.end(), room.begin());
            queues_.service->commit();
        }
        ring.release(count);
        sent += count;
    }
    return sent;
}

// The end of a burst: what was queued goes to the device, what was handed over is shown to its new owner.
void Core::flush() {
    if (queues_.service != nullptr)
        queues_.service->flush();
    else if (handover_.transmitted(index()).flush())
        handover_.bell(0).ring();
    for (std::size_t to = 0; to < handover_.cores(); ++to)
        if (to != index() && handover_.received(index(), to).flush()) handover_.bell(to).ring();
}

bool Core::others_have_room() const {
    for (std::size_t to = 0; to < handover_.cores(); ++to)
        if (to != index() && !handover_.received(index(), to).has_room(burst, usual_frame)) return false;
    return true;
}

std::size_t Core::go_on_with_takeover() {
    std::size_t work = 0;
    if (step_ == Step::none) {
        record_ = {};
        record_.coverage = count_coverage(&record_.uncovered);
        taps_drained_ = 0;
        step_ = Step::draining;
    }
    if (step_ == Step::draining) {
        // Others wait for room to hand over what they drain.
        work += take_handed_over();
        if (!drain()) return work + 1;
        flush();
        takeover_.drained();
        step_ = Step::gathering;
    }
    if (step_ == Step::gathering) {
        const bool last_round = takeover_.all_drained();
        while (const std::size_t count = take_handed_over())
            work += count;
        if (!last_round) return work + 1;
        record_.drained_at = settings_.clock();
        takeover_.gathered();
        step_ = Step::opening;
    }
    if (!takeover_.all_gathered() || (index() != 0 && !takeover_.is_announced())) return work + 1;
    open();
    return work + 1;
}

// Until every tap queue of this core is empty, bounded. False: not yet, for another core must first make
// room.
bool Core::drain() {
    while (taps_drained_ < queues_.taps.size()) {
        if (record_.drained_frames >= max_drained_frames) return true;
        if (!others_have_room()) return false;
        const std::size_t count = poll_tap(queues_.taps[taps_drained_]);
        record_.drained_frames += count;
        if (count == 0) ++taps_drained_;
        flush();
    }
    return true;
}

void Core::open() {
    const Instant opened = settings_.clock();
    host_.open_gate(opened);
    flush();
    if (index() == 0) {
        record_.gate_open_at = opened;
        record_.announced_at = settings_.clock();
        takeover_.announced();
        for (std::size_t core = 1; core < handover_.cores(); ++core)
            handover_.bell(core).ring();
    }
    record_.report = host_.promote(settings_.clock());
    flush();
    record_.promoted_at = settings_.clock();
    step_ = Step::none;
    ++rounds_finished_;
    publish_watch();
    takeover_.promoted(index(), record_);
}

CoverageCount Core::count_coverage(std::vector<stack::ConnectionSnapshot>* uncovered) const {
    CoverageCount count;
    std::uint32_t cursor = 0;
    do {
        for (const stack::ConnectionSnapshot& c : stack_.snapshots(cursor, 1024)) {
            if (c.state == stack::State::time_wait) continue;
            ++count.open;
            const std::uint64_t bytes = c.bytes_received + c.bytes_sent;
            count.bytes += bytes;
            if (can_catch_up(c.coverage)) {
                const std::uint64_t lag = lag_bytes(c);
                count.lag_bytes += lag;
                count.largest_lag_bytes = std::max(count.largest_lag_bytes, lag);
                count.largest_lag_time = std::max(count.largest_lag_time, c.lag_time);
            }
            if (c.overlapped) ++count.overlapped;
            if (c.coverage == stack::Coverage::covered) {
                ++count.covered;
                count.covered_bytes += bytes;
            } else if (uncovered != nullptr && uncovered->size() < TakeoverRecord::max_listed) {
                uncovered->push_back(c);
            }
            if (c.verified) ++count.verified;
            count.add(c.coverage, 1);
        }
    } while (cursor != 0);
    return count;
}

std::uint64_t Core::handed_over() const {
    std::uint64_t frames = 0;
    for (std::size_t to = 0; to < handover_.cores(); ++to)
        if (to != index()) frames += handover_.received(index(), to).handed_over();
    return frames;
}

std::uint64_t Core::handover_lost() const {
    std::uint64_t frames = 0;
    for (std::size_t to = 0; to < handover_.cores(); ++to)
        if (to != index()) frames += handover_.received(index(), to).lost();
    return frames;
}

std::uint64_t Core::transmit_lost() const {
    return queues_.service == nullptr ? handover_.transmitted(index()).lost() : 0;
}

}  // namespace understudy::tools
