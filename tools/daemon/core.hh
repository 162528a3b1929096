// One data-plane core: a poll loop over its queues of the ports, one stack, its applications.
//
// Nothing here is shared with another core but rings and a takeover's steps. The control thread reaches it
// through a ring of tasks that run between bursts, and reads published times.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <boost/lockfree/spsc_queue.hpp>

#include "shadow_app/application.hh"
#include "shadow_app/datagram_application.hh"
#include "shadow_app/stack_host.hh"
#include "stack/stack.hh"
#include "tap/classifier.hh"
#include "tap/decapsulate.hh"
#include "tap/flow_spread.hh"
#include "tap/port.hh"
#include "tools/daemon/handover.hh"
#include "tools/daemon/idle.hh"
#include "tools/daemon/takeover.hh"
#include "tools/daemon/task_ring.hh"

namespace understudy::tools {

// CLOCK_MONOTONIC on the stack's time line.
stack::Instant stack_now();

class Core {
  public:
    using Clock = std::function<stack::Instant()>;
    using Task = TaskRing<Core>::Task;

    struct Settings {
        std::size_t index = 0;
        stack::Settings stack;
        tap::ClassifierSettings classifier;
        tap::Wrappings wrappings = tap::Wrappings::tags();  // taken off before frames are classified
        std::vector<std::pair<stack::Endpoint, std::unique_ptr<shadow_app::Application>>> applications;
        std::vector<std::pair<stack::Endpoint, std::unique_ptr<shadow_app::DatagramApplication>>>
            datagram_applications;
        PollMode poll = PollMode::adaptive;
        std::chrono::microseconds max_sleep{500};
        Clock clock = stack_now;
    };
    // The queues that are this core's own.
    struct Tap {
        tap::PortQueue* queue;
        std::uint8_t number;  // of the port among all taps
    };
    struct Queues {
        std::vector<Tap> taps;               // may be none
        tap::PortQueue* service = nullptr;   // null: core 0 receives and sends for this one
        std::vector<std::size_t> sends_for;  // core 0: which cores have none
    };

    // What it refers to must outlive it. Throws std::invalid_argument with one clear line for settings that
    // cannot work.
    Core(Settings settings, Queues queues, const tap::FlowSpread& spread, Handover& handover,
         Takeover& takeover);
    ~Core();
    Core(const Core&) = delete;
    Core& operator=(const Core&) = delete;

    // Control thread's side.

    void start();
    // Stops the loop and joins its thread.
    void stop();
    // Runs `task` on the core between two bursts. False when the core does not keep up.
    bool run(Task task);
    bool has_taps() const { return !queues_.taps.empty(); }
    // When the newest frame of the primary was read from a tap here; nothing: none so far.
    std::optional<stack::Instant> newest_from_primary() const;
    // Until when all that arrived on this core's queues of the taps was read.
    stack::Instant taps_read_until() const;
    // Whether missing() may have something to tell.
    bool lacks_bytes() const { return lacks_bytes_.load(std::memory_order_relaxed); }
    // When the primary was last asked on the service LAN; nothing: not so far.
    std::optional<stack::Instant> newest_probe() const;
    // When the primary last answered a probe on the service LAN; nothing: not so far.
    std::optional<stack::Instant> newest_probe_answer() const;
    // What speaks for and against whoever serves, as of the last turn: stack::ServiceWatch.
    std::optional<stack::Instant> unanswered_since() const;
    bool client_knows_us() const { return client_knows_us_.load(std::memory_order_acquire); }
    std::uint64_t primary_news() const { return primary_news_.load(std::memory_order_acquire); }
    // The next seed that the core reported; nothing: none waits. One consumer.
    std::optional<stack::SeedRecord> next_seed();

    // The next claim of another host to an address of ours; nothing: none waits. One consumer.
    struct AddressConflict {
        stack::Instant at{};
        stack::IpAddress address;
        stack::LinkAddress link;
    };
    std::optional<AddressConflict> next_conflict();

    // The next service whose attested state was lost; nothing: none waits. One consumer.
    struct StateLoss {
        stack::Instant at{};
        stack::Endpoint service;
    };
    std::optional<StateLoss> next_state_loss();

    // The core's side: for its loop, for tasks, and for tests that turn it by hand.

    // Polls everything once. Returns how much there was to do.
    std::size_t turn();
    // One probe of the primary's kernel for `address` (rules.md 15).
    void probe_primary(const stack::IpAddress& address, const stack::LinkAddress& primary);
    // Those that are not covered are added to `uncovered` as well, if it is there, until it has TakeoverRecord::max_listed.
    CoverageCount count_coverage(std::vector<stack::ConnectionSnapshot>* uncovered = nullptr) const;
    // Stack::mute and Stack::announce.
    void mute();
    void announce();
    // Whether nothing that was read is still to be followed. Hands on what this core read for others.
    bool is_settled();
    // Stack::missing and Stack::repair, at this moment.
    std::size_t missing(std::span<stack::MissingBytes> out, stack::Duration min_age);
    bool repair(const stack::RepairBytes& answer);
    // That serves `service`; nullptr: none does.
    shadow_app::Application* application(const stack::Endpoint& service) const;
    // Calls `visit` with each application that serves connections.
    template <typename Visit>
    void visit_applications(Visit visit) const {
        for (const auto& [endpoint, application] : settings_.applications)
            visit(*application);
    }
    // Stack::attest.
    bool attest(const stack::Endpoint& service) { return stack_.attest(service); }
    std::size_t index() const { return settings_.index; }
    const stack::Stack& stack() const { return stack_; }
    const tap::Classifier& classifier() const { return classifier_; }
    const tap::Decapsulator& decapsulator() const { return decapsulator_; }
    const shadow_app::HostCounters& host_counters() const { return host_.counters(); }
    std::uint64_t polls() const { return polls_; }
    std::uint64_t sleeps() const { return sleeps_; }
    std::uint64_t seeds_lost() const { return seeds_lost_; }
    // Frames of other cores' flows that were given to them, and those for which their ring was full.
    std::uint64_t handed_over() const;
    std::uint64_t handover_lost() const;
    // Frames that this core could not hand to core 0 for sending.
    std::uint64_t transmit_lost() const;

  private:
    static constexpr std::size_t burst = 32;
    static constexpr std::size_t seed_ring = 4096;
    static constexpr std::size_t conflict_ring = 64;
    static constexpr std::size_t state_loss_ring = 256;

    enum class Step : std::uint8_t { none, draining, gathering, opening };

    // The way out, as the stack wants it: the core's own queue, or the ring to core 0.
    class Sink final : public stack::FrameSink {
      public:
        Sink(tap::PortQueue* queue, tap::FrameRing* ring) : queue_(queue), ring_(ring) {}
        std::span<std::byte> reserve(std::size_t length) override {
            return queue_ != nullptr ? queue_->reserve(length) : ring_->reserve(length);
        }
        void commit() override {
            if (queue_ != nullptr)
                queue_->commit();
            else
                ring_->commit({});
        }
        std::span<std::byte> extend(std::size_t length) override {
            return queue_ != nullptr ? queue_->extend(length) : std::span<std::byte>{};
        }
        void commit_segments(std::uint16_t segment_bytes) override {
            if (queue_ != nullptr) queue_->commit_segments(segment_bytes);
        }

      private:
        tap::PortQueue* queue_;
        tap::FrameRing* ring_;
    };

    // Frames of one burst that are this core's own.
    struct Batch {
        std::array<stack::ReceivedFrame, burst> frames;
        std::size_t count = 0;
        void add(const stack::ReceivedFrame& frame) { frames[count++] = frame; }
        std::span<const stack::ReceivedFrame> all() const { return std::span(frames).first(count); }
    };

    // Frames that another core read, and how far they were taken.
    struct Inbound {
        tap::FrameRing& ring;
        std::array<tap::RingFrame, burst> frames{};
        std::size_t count = 0;
        std::size_t taken = 0;
    };

    void loop();
    bool has_work() const;
    bool takes_over() const { return takeover_.round() != rounds_finished_; }
    void publish_watch();
    std::size_t poll_taps();
    std::size_t poll_tap(const Tap& tap);
    std::size_t poll_service();
    void spread(Batch& own, const stack::ReceivedFrame& frame, stack::Instant arrived);
    std::size_t take_handed_over();
    std::size_t send_for_others();
    void flush();
    bool others_have_room() const;
    std::size_t go_on_with_takeover();
    bool drain();
    void open();
    void on_seed(const stack::SeedRecord& record);

    Settings settings_;
    Queues queues_;
    const tap::FlowSpread& spread_;
    Handover& handover_;
    Takeover& takeover_;
    tap::Decapsulator decapsulator_;
    tap::Classifier classifier_;
    Sink sink_;
    std::unique_ptr<stack::RandomSource> random_;
    shadow_app::StackHost host_;
    std::vector<int> application_descriptors_;
    stack::Stack stack_;
    TaskRing<Core> tasks_;
    std::vector<Inbound> inbound_;  // of every other core
    boost::lockfree::spsc_queue<stack::SeedRecord, boost::lockfree::capacity<seed_ring>> seeds_;
    std::uint64_t seeds_lost_ = 0;
    // The stack limits their rate; one that finds no room is counted by the stack all the same.
    boost::lockfree::spsc_queue<AddressConflict, boost::lockfree::capacity<conflict_ring>> conflicts_;
    // One that finds no room is counted by the stack all the same, and shows in the service's state.
    boost::lockfree::spsc_queue<StateLoss, boost::lockfree::capacity<state_loss_ring>> state_losses_;
    std::atomic<std::int64_t> newest_from_primary_ns_{0};
    std::atomic<std::int64_t> taps_read_until_ns_{0};
    std::atomic<bool> lacks_bytes_{false};
    std::atomic<std::int64_t> newest_probe_ns_{0};
    std::atomic<std::int64_t> newest_probe_answer_ns_{0};
    std::uint64_t probe_answers_ = 0;
    std::atomic<std::int64_t> unanswered_since_ns_{0};
    std::atomic<bool> client_knows_us_{false};
    std::atomic<std::uint64_t> primary_news_{0};
    std::atomic<bool> stopping_{false};
    std::uint32_t rounds_finished_ = 0;
    Step step_ = Step::none;
    std::size_t taps_drained_ = 0;  // of the takeover's draining
    TakeoverRecord record_;
    std::uint64_t polls_ = 0;
    std::uint64_t sleeps_ = 0;
    std::thread thread_;
};

}  // namespace understudy::tools
