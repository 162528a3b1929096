// What is known of a connection whose application's output differed from the primary's.
#pragma once

#include "stack/difference.hh"
#include "stack/seq.hh"

namespace understudy::stack::tcp {

struct Divergence {
    Difference difference;  // the first byte since the connection was last covered
    Seq equal_from;         // the end of the last byte that differs
    bool for_good = false;  // the streams have different ends
};

}  // namespace understudy::stack::tcp
