#include "tools/cli/check.hh"

#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <ostream>
#include <sstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tools/cli/elf_program.hh"
#include "tools/cli/find_program.hh"
#include "tools/common/program.hh"

namespace understudy::tools {
namespace {

namespace fs = std::filesystem;

// `understudy run` answers no system calls.
constexpr bool seccomp_offered = false;
// As the kernel: a chain that is longer fails with ELOOP.
constexpr std::size_t max_scripts = 5;

struct Source {
    const char* kind;
    std::vector<const char*> functions;  // a trailing * stands for any ending
    const char* why;
    const char* helps;
};

const std::vector<Source>& sources() {
    static const std::vector<Source> all = {
        {"threads",
         {"pthread_create", "thrd_create", "_ZNSt6thread15_M_start_thread*", "g_thread_new", "uv_thread_create"},
         "threads that serve connections meet in an order that is another in each run",
         "one thread for connections, where the program has such a setting; each connection alone stays equal "
         "when it does not show what another one did"},
        {"processes",
         {"fork", "vfork", "posix_spawn", "posix_spawnp"},
         "which of several processes takes a connection is decided anew in each run, and each has a state of its own",
         "one worker, or workers that keep no state of their own"},
        {"time",
         {"clock_gettime", "gettimeofday", "time", "_ZNSt6chrono3_V212system_clock3nowEv", "ftime"},
         "answers that show the time, or that expire, differ",
         "align=request of the service passes dates in answers; see docs/shim.md"},
        {"random",
         {"getrandom", "getentropy", "arc4random*", "rand", "rand_r", "random", "random_r", "drand48", "lrand48",
          "RAND_bytes", "RAND_priv_bytes", "RAND_pseudo_bytes", "_ZNSt13random_device*", "gcry_randomize",
          "gnutls_rnd", "uuid_generate*", "randombytes*"},
         "identifiers, seeds and keys are others in each run",
         "a fixed seed, where the program has such a setting; align=request where only a part of an answer is random"},
        {"encryption",
         {"SSL_accept", "SSL_do_handshake", "gnutls_handshake", "mbedtls_ssl_handshake"},
         "each run makes its own keys for each connection: no byte of an encrypted one is equal",
         "end TLS before the replicated service, or leave it off"},
    };
    return all;
}

bool fits(const std::string& name, const std::string& pattern) {
    return pattern.back() == '*' ? name.compare(0, pattern.size() - 1, pattern, 0, pattern.size() - 1) == 0
                                 : name == pattern;
}

// The program that reads this script; empty: no script.
std::string interpreter_of(const fs::path& script) {
    std::ifstream file(script, std::ios::binary);
    std::string line;
    if (file.get() != '#' || file.get() != '!' || !std::getline(file, line)) return {};
    std::istringstream words(line);
    std::string word;
    words >> word;
    if (fs::path(word).filename() != "env") return word;
    // What `env` starts: behind its options and its settings.
    while (words >> word)
        if (word.front() != '-' && word.find('=') == std::string::npos) return word;
    return {};
}

fs::path find_library(const std::string& name, const std::vector<std::string>& folders) {
    for (const std::string& folder : folders)
        if (const fs::path path = fs::path(folder) / name; fs::exists(path)) return path;
    for (const char* folder : {"/usr/local/lib", "/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/lib64", "/lib"})
        if (const fs::path path = fs::path(folder) / name; fs::exists(path)) return path;
    return {};
}

// Whose own use of threads, time and chance is the program's that calls them.
bool is_of_the_language(const std::string& library) {
    for (const char* name : {"libc.", "libm.", "libpthread.", "libdl.", "librt.", "ld-linux", "libstdc++.", "libgcc_s.",
                             "libresolv.", "libcrypt.", "libutil."})
        if (library.rfind(name, 0) == 0) return true;
    return false;
}

void find_sources(const ElfProgram& elf, const std::string& place, ProgramCheck& check) {
    for (const Source& source : sources()) {
        std::vector<std::string> evidence;
        for (const std::string& name : elf.names)
            if (std::any_of(source.functions.begin(), source.functions.end(),
                            [&name](const char* pattern) { return fits(name, pattern); }))
                evidence.push_back(name + place);
        if (std::string_view(source.kind) == "random")
            for (const std::string& file : elf.random_files)
                evidence.push_back(file + place);
        if (evidence.empty()) continue;
        const auto known = std::find_if(check.findings.begin(), check.findings.end(),
                                        [&source](const NonDeterminism& finding) { return finding.kind == source.kind; });
        NonDeterminism& finding = known != check.findings.end()
                                      ? *known
                                      : check.findings.emplace_back(
                                            NonDeterminism{source.kind, {}, source.why, source.helps});
        finding.evidence.insert(finding.evidence.end(), evidence.begin(), evidence.end());
    }
}

// Languages whose runtime differs from run to run whatever the program imports.
void find_runtime(const ElfProgram& elf, ProgramCheck& check) {
    if (elf.is_go)
        check.findings.push_back({"runtime",
                                  {"the Go runtime"},
                                  "goroutines run on several threads, select takes a ready case by chance, and maps "
                                  "are walked in an order of chance",
                                  "GOMAXPROCS=1 for the threads; nothing for the order of select and maps"});
    if (check.file.filename().string().rfind("python", 0) == 0)
        check.findings.push_back({"runtime",
                                  {"the hash seed of Python"},
                                  "sets of strings are walked in an order that is another in each run",
                                  "PYTHONHASHSEED=0 on both hosts"});
}

// A privilege that comes with the file makes the loader ignore LD_PRELOAD.
std::string gained_privilege(const fs::path& file) {
    struct stat status {};
    if (::geteuid() == 0 || ::stat(file.c_str(), &status) != 0) return {};
    if ((status.st_mode & S_ISUID) != 0 && status.st_uid != ::geteuid()) return "it is setuid";
    if ((status.st_mode & S_ISGID) != 0 && status.st_gid != ::getegid()) return "it is setgid";
    if (::getxattr(file.c_str(), "security.capability", nullptr, 0) > 0) return "its file has capabilities";
    return {};
}

void choose_way(const ElfProgram& elf, ProgramCheck& check) {
    const auto needs_seccomp = [&check](const std::string& reason) {
        check.way = ShimWay::seccomp;
        check.reason = reason;
    };
    const std::string privilege = gained_privilege(check.file);
    if (!elf.of_this_machine) {
        check.way = ShimWay::none;
        check.reason = "it is not a 64-bit program of this machine";
    } else if (elf.loader.empty()) {
        needs_seccomp("it is statically linked: no library can be loaded before it");
    } else if (elf.is_go) {
        needs_seccomp("it is a Go program: it makes its system calls itself, not through the C library");
    } else if (elf.loader.find("musl") != std::string::npos) {
        needs_seccomp("its C library is musl: the library to be loaded before it needs the GNU one");
    } else if (!privilege.empty()) {
        needs_seccomp(privilege + " and you are not root: the loader then takes no library from the environment");
    } else {
        check.way = ShimWay::preload;
        check.reason = "it is dynamically linked against the GNU C library";
    }
}

const char* name_of(ShimWay way) {
    switch (way) {
        case ShimWay::preload: return "preload";
        case ShimWay::seccomp: return "seccomp";
        case ShimWay::none: break;
    }
    return "none";
}

}  // namespace

ProgramCheck check_program(const std::string& name) {
    ProgramCheck check;
    check.program = find_program(name, "check");
    check.file = check.program;
    for (std::string next; !(next = interpreter_of(check.file)).empty();) {
        if (check.scripts.size() == max_scripts)
            throw UsageError("cannot check " + name + ": its interpreters are scripts without end");
        check.scripts.push_back(check.file);
        check.file = find_program(next, "check");
    }
    check.file = fs::absolute(check.file);
    ElfProgram elf;
    if (!read_elf_program(check.file, elf)) {
        check.reason = "it is neither a program nor a script that names its interpreter";
        return check;
    }
    choose_way(elf, check);
    check.symbols_known = elf.has_names || elf.is_go;
    find_runtime(elf, check);
    find_sources(elf, "", check);
    for (const std::string& library : elf.libraries) {
        ElfProgram used;
        if (is_of_the_language(library)) continue;
        if (read_elf_program(find_library(library, elf.library_folders), used, true))
            find_sources(used, " (by " + library + ")", check);
    }
    return check;
}

bool can_run(const ProgramCheck& check) {
    return check.way == ShimWay::preload || (check.way == ShimWay::seccomp && seccomp_offered);
}

void print(std::ostream& out, const ProgramCheck& check) {
    for (const fs::path& script : check.scripts)
        out << script.string() << ": a script, read by\n";
    out << check.file.string() << ": " << check.reason << '\n';
    if (check.way == ShimWay::preload)
        out << "way: preload, as understudy run does\n";
    else if (check.way == ShimWay::seccomp)
        out << "way: seccomp, which this version does not offer: its sockets would stay the kernel's\n";
    else
        out << "way: none\n";
    if (check.way == ShimWay::none) return;
    if (!check.symbols_known) out << "what it uses cannot be told: it is stripped of all names\n";
    if (check.findings.empty()) {
        if (check.symbols_known) out << "nothing in it is known to differ from one run to the next\n";
        return;
    }
    out << "may differ from one run to the next:\n";
    for (const NonDeterminism& finding : check.findings) {
        std::string names;
        for (const std::string& name : finding.evidence)
            names += (names.empty() ? "" : ", ") + name;
        out << fmt::format("  {}: {}\n    why: {}\n    what helps: {}\n", finding.kind, names, finding.why,
                           finding.helps);
    }
}

std::string to_json(const ProgramCheck& check) {
    nlohmann::json json{{"program", check.program.string()},
                        {"scripts", nlohmann::json::array()},
                        {"file", check.file.string()},
                        {"way", name_of(check.way)},
                        {"runs", can_run(check)},
                        {"reason", check.reason},
                        {"symbols_known", check.symbols_known},
                        {"findings", nlohmann::json::array()}};
    for (const fs::path& script : check.scripts)
        json["scripts"].push_back(script.string());
    for (const NonDeterminism& finding : check.findings)
        json["findings"].push_back({{"kind", finding.kind},
                                    {"evidence", finding.evidence},
                                    {"why", finding.why},
                                    {"helps", finding.helps}});
    return json.dump();
}

}  // namespace understudy::tools
