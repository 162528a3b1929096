// The table of checks. Each is two functions that run at the same time: the server program's, whose sockets are
// under test, and that of a client beyond the network, who sees what the wire says.
#pragma once

#include <span>

#include "tests/shim/side.hh"

namespace understudy::conformance {

struct Check {
    const char* name;
    void (*server)(Side& side);
    void (*client)(Side& side);
};

std::span<const Check> data_checks();      // what is read and written
std::span<const Check> readiness_checks();  // who is woken, when, and by what
std::span<const Check> ending_checks();    // FIN, RST, linger, SIGPIPE
std::span<const Check> transfer_checks();  // sendfile, splice, io_uring, vectors, bulk
std::span<const Check> process_checks();   // fork, exec, threads, copies of descriptors
std::span<const Check> name_checks();      // addresses, options, flags, errors
std::span<const Check> many_checks();      // 10 000 connections, no descriptors left

}  // namespace understudy::conformance
