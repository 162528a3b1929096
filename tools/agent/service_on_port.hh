// The service as the agent knows it: an endpoint, and the interface where clients reach it.
#pragma once

#include <string>

#include "stack/address.hh"

namespace understudy::tools {

// "lan0=10.77.0.1:7000".
struct ServiceOnPort {
    std::string interface;
    stack::Endpoint endpoint;
};
// `option` is named in the error. Throws UsageError with one clear line.
ServiceOnPort parse_service_on_port(const char* option, const std::string& text);

}  // namespace understudy::tools
