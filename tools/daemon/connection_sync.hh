// What the stack knows, in the words of the protocol.
#pragma once

#include "proto/connection_sync.pb.h"
#include "proto/control.pb.h"
#include "stack/interfaces.hh"
#include "stack/snapshot.hh"

namespace understudy::tools {

// `wall_offset_ns` is the wall clock minus the monotonic clock.
proto::v1::ConnectionSync to_connection_sync(const stack::SeedRecord& record, std::int64_t wall_offset_ns);
proto::v1::ConnectionRow to_connection_row(const stack::ConnectionSnapshot& snapshot);

}  // namespace understudy::tools
