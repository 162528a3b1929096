// Whether a network interface of this host has its link.
#pragma once

#include <string>

namespace understudy::tools {

// False when the interface is down, without carrier, or gone. Reads sysfs; without that, true.
bool has_carrier(const std::string& interface);

}  // namespace understudy::tools
