// Where the program is that a command names.
#pragma once

#include <filesystem>
#include <string>

namespace understudy::tools {

// As execvp(3) finds it: a name with a slash as it is, else the first of that name in PATH that is executable. Throws
// UsageError with one line: "cannot `purpose` `name`: " and why.
std::filesystem::path find_program(const std::string& name, const char* purpose);

}  // namespace understudy::tools
