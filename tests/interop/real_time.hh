// The machine's clock and stop signals, for programs that run the stack in real time.
#pragma once

#include <poll.h>

#include <optional>
#include <span>

#include "stack/time.hh"
#include "tests/interop/descriptor.hh"

namespace understudy::interop {

// Monotonic.
stack::Instant read_clock();
// Readable once SIGTERM or SIGINT came; they no longer end the program. Throws std::system_error.
Descriptor open_stop_signals();
// Waits for a descriptor, or until `deadline`; forever without one.
void wait(std::span<pollfd> descriptors, std::optional<stack::Instant> deadline);

}  // namespace understudy::interop
