// Answers to the operator that the data-plane cores fill in, each its part.
#pragma once

#include <cstdint>
#include <vector>

#include "proto/control.pb.h"
#include "tools/daemon/data_plane.hh"

namespace understudy::tools {

// "10.77.0.1:7000/udp": how a UDP service is named, in settings and answers alike.
std::string datagram_service_name(const stack::Endpoint& endpoint);

// Classification and connections of one core; core 0 tells of the ports too.
proto::v1::StatusResponse core_status(const DataPlane& plane, const Core& core);
// The parts of all cores, in their order.
void add_core_status(proto::v1::StatusResponse& status, const std::vector<proto::v1::StatusResponse>& parts);

// A place in the connection lists of all cores, one after the other.
struct ConnectionCursor {
    static constexpr unsigned position_bits = 24;  // more than --max-connections admits

    explicit ConnectionCursor(std::uint32_t cursor)
        : core(cursor >> position_bits), position(cursor & ((1u << position_bits) - 1)) {}

    std::uint32_t core;
    std::uint32_t position;
};

// Rows of the cursor's core.
proto::v1::ConnectionsResponse connection_page(const Core& core, std::size_t cores, ConnectionCursor cursor,
                                               std::uint32_t limit);

struct CoreCounters {
    proto::v1::CountersResponse shared;  // of stack, classifier and applications: to be added up
    proto::v1::CountersResponse own;     // of this core alone
};
CoreCounters core_counters(const Core& core);
// The sums by name, and with several cores what is each one's own.
void add_core_counters(proto::v1::CountersResponse& response, const std::vector<CoreCounters>& parts);

}  // namespace understudy::tools
