// What an ELF file says of itself: how it is linked, and the names it uses.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

namespace understudy::tools {

struct ElfProgram {
    bool of_this_machine = false;
    std::string loader;                  // PT_INTERP; empty: statically linked
    bool is_go = false;
    std::vector<std::string> libraries;  // DT_NEEDED
    std::vector<std::string> library_folders;  // DT_RUNPATH and DT_RPATH, $ORIGIN resolved
    std::set<std::string> names;         // imported functions; of a static program, all that it contains
    bool has_names = false;              // false: stripped of them
    std::set<std::string> random_files;  // "/dev/urandom", where its constants name them
};

// False: no ELF file, or one that is damaged. Of a library, only what it imports is told.
bool read_elf_program(const std::filesystem::path& file, ElfProgram& program, bool is_library = false);

}  // namespace understudy::tools
