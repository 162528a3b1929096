// What a judge saw that must not happen.
#pragma once

#include <string>

namespace understudy::sim {

struct Violation {
    double at_ms = 0;
    std::string oracle;
    std::string what;
};

}  // namespace understudy::sim
