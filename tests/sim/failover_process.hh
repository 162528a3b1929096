// A process with a clock of its own that drifts, and that does not run all the time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "failover/time.hh"
#include "tests/sim/event_queue.hh"

namespace understudy::sim {

class FailoverProcess {
  public:
    FailoverProcess(EventQueue& queue, std::int64_t drift_per_million, Duration offset)
        : queue_(queue), drift_(drift_per_million), offset_(offset) {}

    // What its clock shows at `when`.
    failover::Instant clock_at(Instant when) const {
        const std::int64_t t = when.time_since_epoch().count();
        return failover::Instant(Duration(t + t / 1'000'000 * drift_) + offset_);
    }
    failover::Instant clock() const { return clock_at(time()); }
    // The first instant at which its clock shows `local`.
    Instant instant_of(failover::Instant local) const {
        const std::int64_t shown = (local.time_since_epoch() - offset_).count();
        Instant when(Duration(shown / (1'000'000 + drift_) * 1'000'000));
        if (clock_at(when) < local) when += local - clock_at(when);
        while (clock_at(when) < local)
            when += std::chrono::microseconds(1);
        return when;
    }
    // When what it does next is done: in the future while it is stalled in the middle of its work.
    Instant time() const { return std::max(queue_.now(), resumes_); }
    bool is_alive() const { return alive_; }
    bool runs() const { return alive_ && queue_.now() >= resumes_; }
    // It has run without a break since; in the future while it does not.
    Instant runs_since() const { return alive_ ? std::max(started_, stalled_until_) : Instant::max(); }

    // At `when`, or once it runs again; not if it has ended by then.
    void at(Instant when, EventQueue::Action action) {
        queue_.at(std::max(when, resumes_), [this, life = life_, action = std::move(action)]() mutable {
            if (life != life_) return;
            if (queue_.now() < resumes_) return at(resumes_, std::move(action));
            action();
        });
    }
    // At once, or once it runs again.
    void act(EventQueue::Action action) {
        if (runs()) return action();
        at(resumes_, std::move(action));
    }
    void stall(Duration duration) {
        stalled_until_ = std::max(stalled_until_, queue_.now() + duration);
        resumes_ = std::max(resumes_, stalled_until_);
    }
    // Is busy with its own work for so long.
    void work(Duration duration) { resumes_ = time() + duration; }
    void end() {
        alive_ = false;
        ++life_;
    }
    void start() {
        alive_ = true;
        started_ = stalled_until_ = resumes_ = queue_.now();
    }

  private:
    EventQueue& queue_;
    std::int64_t drift_;
    Duration offset_;
    bool alive_ = false;
    std::uint64_t life_ = 0;
    Instant started_{};
    Instant stalled_until_{};
    Instant resumes_{};
};

}  // namespace understudy::sim
