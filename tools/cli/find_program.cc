#include "tools/cli/find_program.hh"

#include <unistd.h>

#include <cstdlib>
#include <sstream>

#include "tools/common/program.hh"

namespace understudy::tools {
namespace fs = std::filesystem;

namespace {

bool is_runnable(const fs::path& path) {
    return ::access(path.c_str(), X_OK) == 0 && !fs::is_directory(path);
}

}  // namespace

fs::path find_program(const std::string& name, const char* purpose) {
    const std::string failed = std::string("cannot ") + purpose + " " + name + ": ";
    if (name.find('/') != std::string::npos) {
        if (is_runnable(name)) return name;
        throw UsageError(failed + (fs::exists(name) ? "it is not executable" : "there is no such file"));
    }
    const char* variable = std::getenv("PATH");
    std::istringstream folders(variable == nullptr ? "/usr/local/bin:/usr/bin:/bin" : variable);
    for (std::string folder; std::getline(folders, folder, ':');)
        if (is_runnable(fs::path(folder) / name)) return fs::path(folder) / name;
    throw UsageError(failed + "no program of that name is in PATH");
}

}  // namespace understudy::tools
