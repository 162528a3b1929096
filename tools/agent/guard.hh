// The kernel's last words never leave the host: loads and feeds the BPF programs of guard.bpf.c (rules.md 28).
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "tools/agent/service_on_port.hh"

namespace understudy::tools {

class Guard {
  public:
    // The service ended; from that instant nothing leaves its addresses.
    using OnDeath = std::function<void(pid_t process, int wait_status)>;

    // Loads the programs and attaches them: to the end and the fork of processes, and to the egress of the services'
    // interfaces (tc, clsact). Throws std::runtime_error with one clear line where the kernel or the privileges do not
    // permit it. `io` must outlive it.
    Guard(boost::asio::io_context& io, const std::vector<ServiceOnPort>& services, OnDeath on_death);
    // Takes the programs away, but what is shut stays shut: then the one on the interfaces remains.
    ~Guard();
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

    // Guards these processes, and all that they fork; with `main` (0: none) the service ends. Those that were guarded
    // before stay so. What has ended already is passed over.
    void watch(const std::set<pid_t>& processes, pid_t main);
    std::size_t watched() const;
    // Lets frames out again, unless there was a death that `on_death` has not been called for yet.
    void open();

  private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace understudy::tools
