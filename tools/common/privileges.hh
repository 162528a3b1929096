// Gives up what a program needed only to start.
#pragma once

#include <initializer_list>

namespace understudy::tools {

// Keeps these capabilities (CAP_…) of those that the calling thread has, and drops all others. Threads that it starts
// later have no more; those started before keep theirs. A program that root starts has them all again. False, and
// nothing has changed, where there is nothing to drop.
bool keep_capabilities(std::initializer_list<unsigned> kept);

}  // namespace understudy::tools
