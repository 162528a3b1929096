// What one queue of a port counts.
#pragma once

#include "tap/port.hh"
#include "tap/tally.hh"

namespace understudy::tap {

struct QueueTally {
    Tally received_frames;
    Tally received_bytes;
    Tally receive_errors;
    Tally sent_frames;
    Tally sent_bytes;
    Tally send_failures;
    Tally no_buffer;

    void add_to(PortStatistics& statistics) const {
        statistics.received_frames += received_frames.get();
        statistics.received_bytes += received_bytes.get();
        statistics.receive_errors += receive_errors.get();
        statistics.sent_frames += sent_frames.get();
        statistics.sent_bytes += sent_bytes.get();
        statistics.send_failures += send_failures.get();
        statistics.no_buffer += no_buffer.get();
    }
};

}  // namespace understudy::tap
