// What a rehearsal found, for people and for programs.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tools/rehearse/rehearsal.hh"

namespace understudy::rehearse {

// The whole capture, and a play for each takeover that was asked for.
struct Rehearsal {
    std::string capture;
    std::string service;
    std::string performer;
    PlayReport whole;
    std::vector<TakeoverReport> takeovers;

    // Every connection that can be judged is covered (over UDP: every answer was the primary's), and there
    // was one.
    bool fit() const;
};

void print_report(std::ostream& out, const Rehearsal& rehearsal);
nlohmann::ordered_json to_json(const Rehearsal& rehearsal);

}  // namespace understudy::rehearse
