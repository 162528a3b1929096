// A direct probe of the primary (rules.md 13 a): ICMP echo requests over the heartbeat links (RFC 792, RFC
// 4443 4). The peer's kernel answers them even while no process of it gets to run.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "failover/heartbeat_service.hh"
#include "failover/time.hh"

namespace understudy::failover {

struct ProbeCounters {
    std::uint64_t sent = 0;
    std::uint64_t send_failures = 0;
    std::uint64_t answers = 0;
    // ICMP messages on the links that answer no probe of ours.
    std::uint64_t refused = 0;
};

class LinkProbe {
  public:
    // Opens one raw ICMP socket for each link that has one address at each end. `random` makes answers
    // unpredictable. Where the process may not open raw sockets, available() is false and why() one line.
    LinkProbe(const std::vector<LinkAddressing>& links, std::function<std::uint64_t()> random);
    ~LinkProbe();
    LinkProbe(const LinkProbe&) = delete;
    LinkProbe& operator=(const LinkProbe&) = delete;

    bool available() const { return !sockets_.empty(); }
    const std::string& why() const { return why_; }

    // Sends one probe on each link.
    void send();
    // Reads what has arrived, bounded. True when at least one answer to a probe of ours was among it.
    bool read_answers();
    const ProbeCounters& counters() const { return counters_; }

  private:
    struct Socket {
        int descriptor = -1;
        bool ipv6 = false;
    };
    void open(const LinkAddressing& link);

    std::vector<Socket> sockets_;
    std::string why_;
    std::uint64_t secret_;  // stands in every probe
    std::uint16_t sequence_ = 0;
    ProbeCounters counters_;
};

}  // namespace understudy::failover
