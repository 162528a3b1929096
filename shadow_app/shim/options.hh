// Socket options of the program in the stack's terms.
#pragma once

#include <optional>

#include "proto/shim_channel.hh"
#include "stack/options.hh"
#include "stack/snapshot.hh"

namespace understudy::shadow_app::shim {

// Applies a set_option message. Returns 0, or the errno: no such option, or no such value.
int apply_option(const proto::shim::Message& message, stack::ConnectionOptions& options);
// Fills `answer.value` and `length` with an option's value; sets `answer.error` when there is none. `snapshot`:
// of a connection, nothing for a listening socket.
void read_option(const proto::shim::Message& question, const stack::ConnectionOptions& options,
                 const std::optional<stack::ConnectionSnapshot>& snapshot, proto::shim::Message& answer);

}  // namespace understudy::shadow_app::shim
