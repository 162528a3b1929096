// What a fuzz target asserts; it holds in every build, and says what was broken before it ends the program.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace understudy::fuzz {

inline void require(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "broken: %s\n", what);
    std::abort();
}

}  // namespace understudy::fuzz
