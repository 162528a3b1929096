// What --guard names: a process and those it started, or what runs in a control group or a systemd unit.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <set>
#include <string>

namespace understudy::tools {

// Whether one of its threads has not begun to end. A zombie does not run.
bool still_runs(pid_t process);

class GuardTarget {
  public:
    // A process id; a control group (a path below /sys/fs/cgroup, or as /proc/PID/cgroup writes it); or a unit
    // ("redis", "redis.service"). Throws UsageError with one clear line.
    explicit GuardTarget(const std::string& text);

    // What runs now: of a process, itself and its descendants. Empty: nothing does.
    std::set<pid_t> processes() const;
    // With whose end the service ends; 0: with the last.
    pid_t main() const { return process_; }
    // Whether it may run again after its end: a process id names nothing then.
    bool may_return() const { return process_ == 0; }

  private:
    pid_t process_ = 0;
    std::filesystem::path group_;
};

}  // namespace understudy::tools
