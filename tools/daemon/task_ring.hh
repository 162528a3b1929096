// How the control thread asks something of a data-plane core: a single-producer ring of tasks, run between
// bursts.
#pragma once

#include <functional>
#include <memory>

#include <boost/lockfree/spsc_queue.hpp>

namespace understudy::tools {

template <typename Target>
class TaskRing {
  public:
    using Task = std::function<void(Target&)>;

    ~TaskRing() {
        queue_.consume_all([](Task* task) { delete task; });
    }

    // Producer's side. False when the ring is full: the core is not running its loop.
    bool push(Task task) {
        auto owned = std::make_unique<Task>(std::move(task));
        if (!queue_.push(owned.get())) return false;
        (void)owned.release();
        return true;
    }
    // Consumer's side: runs what waits. Returns how many ran.
    std::size_t run(Target& target) {
        return queue_.consume_all([&target](Task* task) {
            const std::unique_ptr<Task> owned(task);
            (*owned)(target);
        });
    }

    bool empty() const { return queue_.read_available() == 0; }

  private:
    static constexpr std::size_t capacity = 256;
    boost::lockfree::spsc_queue<Task*, boost::lockfree::capacity<capacity>> queue_;
};

}  // namespace understudy::tools
