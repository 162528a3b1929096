// The counters of the decision and of the direct probe, for the operator.
#pragma once

#include "failover/decision.hh"
#include "failover/link_probe.hh"
#include "proto/control.pb.h"

namespace understudy::tools {

void add_counters(proto::v1::CountersResponse& response, const failover::DecisionCounters& counters);
void add_counters(proto::v1::CountersResponse& response, const failover::ProbeCounters& counters);

}  // namespace understudy::tools
