// The virtual time of the failover tests.
#pragma once

#include "failover/time.hh"

namespace understudy::failover {

constexpr Instant at(int ms) {
    return Instant(std::chrono::milliseconds(ms));
}

}  // namespace understudy::failover
