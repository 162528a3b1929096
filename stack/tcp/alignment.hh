// Alignment of an application whose answers differ harmlessly from the primary's, also in length (design.md
// 4, rules.md 12).
//
//   client     request 1              | request 2 ...
//   primary               answer 1    |            the boundary: answer 1 is acknowledged, the client speaks
//   again shadow     request 1    answer 1' |  request 2 is withheld until answer 1' is over; its next byte
//   then stands
//                                        where the primary's next one does
#pragma once

#include <cstdint>
#include <deque>

#include "stack/seq.hh"
#include "stack/time.hh"

namespace understudy::stack::tcp {

struct Alignment {
    // Beyond it, boundaries are passed over.
    static constexpr std::size_t most_pending = 64;

    struct Boundary {
        Seq input;   // the first byte of the client's next request
        Seq output;  // the end of the primary's answers to what came before
    };

    std::deque<Boundary> pending;  // the application has not reached them yet, the oldest first
    Seq answered;                  // the primary's end when the client last spoke
    Seq begin;                     // where the answer at hand begins
    Instant quiet_since{};
    bool wrote = false;    // the application has answered since the last boundary
    bool proving = false;  // aligned, and no equal answer since
};

}  // namespace understudy::stack::tcp
