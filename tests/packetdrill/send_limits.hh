// How long a connection was busy sending, and what held it back meanwhile: tcpi_busy_time, tcpi_rwnd_limited
// and tcpi_sndbuf_limited.
#pragma once

#include <array>
#include <cstdint>

#include "stack/snapshot.hh"
#include "stack/time.hh"

namespace understudy::packetdrill {

class SendLimits {
  public:
    // Looks at the connection as it is from `now` on; `lacks_room`: a writer waits for the send buffer.
    void update(const stack::ConnectionSnapshot& s, bool lacks_room, stack::Instant now);

    stack::Duration busy() const { return spent_[sending] + spent_[window] + spent_[buffer]; }
    stack::Duration by_window() const { return spent_[window]; }
    stack::Duration by_buffer() const { return spent_[buffer]; }

  private:
    enum Kind : std::uint8_t { idle, sending, window, buffer };
    static Kind kind_of(const stack::ConnectionSnapshot& s, bool lacks_room);

    Kind kind_ = idle;
    stack::Instant since_{};
    std::array<stack::Duration, 4> spent_{};
};

}  // namespace understudy::packetdrill
