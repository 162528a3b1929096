// What a run found, for people and for programs.
#pragma once

#include <iosfwd>
#include <nlohmann/json.hpp>

#include "tools/load/load.hh"

namespace understudy::load {

struct Report {
    nlohmann::ordered_json json;
    // Every byte right, every connection opened and carried to its end.
    bool all_right = false;
};

Report make_report(const Load& load, const LoadSettings& settings);
// A few lines.
void print_report(std::ostream& out, const Report& report);

}  // namespace understudy::load
