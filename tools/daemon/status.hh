// Answers to the operator that the data-plane core fills in.
#pragma once

#include "proto/control.pb.h"
#include "tools/daemon/data_plane.hh"

namespace understudy::tools {

// Ports, classification and connections.
void add_core_status(proto::v1::StatusResponse& status, const DataPlane& plane);
proto::v1::ConnectionsResponse connection_page(const DataPlane& plane, std::uint32_t cursor,
                                               std::uint32_t limit);
// Every counter of stack, classifier and applications, by name.
void add_core_counters(proto::v1::CountersResponse& response, const DataPlane& plane);

}  // namespace understudy::tools
