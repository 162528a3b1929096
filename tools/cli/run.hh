// `understudy run`: starts a program whose service is replicated.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

namespace understudy::tools {

struct RunOptions {
    std::vector<std::string> services;  // ADDR:PORT
    std::vector<std::string> command;
};

// Starts the program, and stays beside it: signals go on to it, and when understudyd ends it is ended by SIGTERM, for
// its sockets are dead then. Returns its exit status, 128 + N if signal N ended it. Throws UsageError, whose one line
// says what is missing: the program, the replica at `control`, or the service in it.
int run_program_of_service(const RunOptions& options, const std::filesystem::path& control,
                           std::chrono::milliseconds timeout);

}  // namespace understudy::tools
