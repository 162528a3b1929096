// A socket's error queue (recvmsg with MSG_ERRQUEUE): what became of zero-copy sends, and when bytes were
// sent and acknowledged (SO_TIMESTAMPING).
#pragma once

#include <time.h>
// After <time.h>, whose types it uses.
#include <linux/errqueue.h>
#include <sys/socket.h>

#include <cstdint>
#include <deque>

#include "stack/snapshot.hh"
#include "stack/time.hh"

namespace understudy::packetdrill {

class ErrorQueue {
  public:
    // SO_TIMESTAMPING's flags, as they are set; byte numbers count from `una` on.
    void set_timestamping(std::uint32_t flags, std::uint32_t una);
    // A call that sent something has queued all before `end`.
    void note_send(std::uint32_t end, bool zerocopy);
    // Looks at what was sent and acknowledged by now; `gone`: the connection has ended, and its bytes are
    // free. True when there is more to tell.
    bool update(const stack::ConnectionSnapshot& s, bool gone, stack::Instant now);
    bool empty() const { return told_.empty(); }
    // The oldest, as control messages; 0, or -EAGAIN when there is none.
    int take(msghdr& message, int domain);

  private:
    struct Zerocopy {
        std::uint32_t end = 0;
        std::uint32_t id = 0;
    };
    struct Stamp {
        std::uint32_t end = 0;
        bool sent = false;
    };
    struct Entry {
        sock_extended_err what{};
        stack::Instant at{};
    };
    void tell_zerocopy(std::uint32_t id);
    void tell_stamp(std::uint32_t kind, std::uint32_t end, stack::Instant now);

    std::uint32_t timestamping_ = 0;
    std::uint32_t first_byte_ = 0;
    std::uint32_t next_id_ = 0;
    std::deque<Zerocopy> zerocopies_;
    std::deque<Stamp> stamps_;
    std::deque<Entry> told_;
};

}  // namespace understudy::packetdrill
