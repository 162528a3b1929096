// Which way a program needs under `understudy run`, and what in it is known to differ from one run to the next.
//
// Read from the program's file: what it imports, it may never call, and what it reads from a file or a socket is not
// seen. So a finding is a reason to look, and no finding is no proof.
#pragma once

#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

namespace understudy::tools {

enum class ShimWay {
    preload,  // the library of `understudy run` is loaded into it
    seccomp,  // the library is not; its system calls would have to be answered instead
    none,     // neither: not a program of this machine
};

struct NonDeterminism {
    std::string kind;                   // "threads", "time", ...
    std::vector<std::string> evidence;  // names of functions and files, "getrandom (by libcrypto.so.3)"
    std::string why;
    std::string helps;
};

struct ProgramCheck {
    std::filesystem::path program;               // as PATH finds it
    std::vector<std::filesystem::path> scripts;  // that name the next as their interpreter, the program first
    std::filesystem::path file;                  // what the kernel loads in the end
    ShimWay way = ShimWay::none;
    std::string reason;  // of the way
    std::vector<NonDeterminism> findings;
    bool symbols_known = true;  // false: stripped and static, so the findings are not all
};

// `name` as execvp would take it. Throws UsageError with one line when there is no such program, or an interpreter is
// missing.
ProgramCheck check_program(const std::string& name);

// Whether `understudy run` serves it in this version.
bool can_run(const ProgramCheck& check);

void print(std::ostream& out, const ProgramCheck& check);
std::string to_json(const ProgramCheck& check);

}  // namespace understudy::tools
