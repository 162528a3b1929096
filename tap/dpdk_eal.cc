#include <pthread.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <sstream>
#include <vector>

#include "tap/dpdk_port.hh"

namespace understudy::tap {
namespace {

constexpr std::uint64_t wanted_huge_memory = 256ull << 20;

enum class EalState { not_started, started, failed };

std::mutex eal_mutex;
EalState eal_state = EalState::not_started;

// The EAL explains itself on the standard streams alone, and over many lines: kept, for one line of our own.
class StandardStreamCapture {
  public:
    StandardStreamCapture()
        : memory_(memfd_create("eal-output", MFD_CLOEXEC)),
          out_(dup(STDOUT_FILENO)),
          err_(dup(STDERR_FILENO)) {
        std::fflush(nullptr);
        if (memory_ < 0 || out_ < 0 || err_ < 0) return;
        dup2(memory_, STDOUT_FILENO);
        dup2(memory_, STDERR_FILENO);
    }
    ~StandardStreamCapture() {
        restore();
        close(memory_);
    }
    StandardStreamCapture(const StandardStreamCapture&) = delete;
    StandardStreamCapture& operator=(const StandardStreamCapture&) = delete;

    // Gives the streams back and returns the line that names the error.
    std::string error_line() {
        restore();
        std::string text(1 << 16, '\0');
        const ssize_t length = pread(memory_, text.data(), text.size(), 0);
        text.resize(length > 0 ? static_cast<std::size_t>(length) : 0);
        std::istringstream lines(text);
        std::string last;
        for (std::string line; std::getline(lines, line);) {
            if (line.starts_with("EAL:") || line.find("unrecognized option") != std::string::npos)
                return line;
            if (line.find_first_not_of(' ') != std::string::npos) last = line;
        }
        return last;
    }

  private:
    void restore() {
        std::fflush(nullptr);
        give_back(out_, STDOUT_FILENO);
        give_back(err_, STDERR_FILENO);
    }
    static void give_back(int& saved, int descriptor) {
        if (saved < 0) return;
        dup2(saved, descriptor);
        close(saved);
        saved = -1;
    }

    int memory_;
    int out_;
    int err_;
};

// rte_eal_init binds the calling thread to its first core.
class AffinityKeeper {
  public:
    AffinityKeeper() : known_(pthread_getaffinity_np(pthread_self(), sizeof cpus_, &cpus_) == 0) {}
    ~AffinityKeeper() {
        if (known_) pthread_setaffinity_np(pthread_self(), sizeof cpus_, &cpus_);
    }
    AffinityKeeper(const AffinityKeeper&) = delete;
    AffinityKeeper& operator=(const AffinityKeeper&) = delete;

    int first_cpu() const {
        for (int cpu = 0; known_ && cpu < CPU_SETSIZE; ++cpu)
            if (CPU_ISSET(static_cast<unsigned>(cpu), &cpus_)) return cpu;
        return 0;
    }

  private:
    cpu_set_t cpus_;
    bool known_;
};

std::uint64_t free_huge_memory() {
    std::uint64_t bytes = 0;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator("/sys/kernel/mm/hugepages", error)) {
        unsigned long long page_kib = 0, pages = 0;  // the folder is named hugepages-2048kB
        if (std::sscanf(entry.path().filename().c_str(), "hugepages-%llukB", &page_kib) != 1) continue;
        std::ifstream(entry.path() / "free_hugepages") >> pages;
        bytes += page_kib * 1024 * pages;
    }
    return bytes;
}

// Whether one of `names` is among the arguments, as "--name", "--name=value" or "-nVALUE".
bool has_option(const std::vector<std::string>& arguments, std::initializer_list<std::string> names) {
    return std::any_of(arguments.begin(), arguments.end(), [&](const std::string& argument) {
        return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
            if (name.starts_with("--")) return argument == name || argument.starts_with(name + "=");
            return argument.starts_with(name) && !argument.starts_with("--");
        });
    });
}

std::vector<std::string> complete_arguments(const std::string& given, int cpu) {
    std::istringstream words(given);
    std::vector<std::string> arguments{"understudy"};
    for (std::string word; words >> word;)
        arguments.push_back(word);
    const auto has = [given = arguments](std::initializer_list<std::string> names) {
        return has_option(given, names);
    };
    if (!has({"-l", "-c", "--lcores"})) arguments.push_back("--lcores=0@" + std::to_string(cpu));
    if (!has({"-a", "-b", "--allow", "--block", "--no-pci"})) arguments.emplace_back("--no-pci");
    if (!has({"--telemetry", "--no-telemetry"})) arguments.emplace_back("--no-telemetry");
    if (!has({"--log-level"})) arguments.emplace_back("--log-level=error");
    const bool short_of_pages =
        !has({"--no-huge", "-m", "--socket-mem"}) && free_huge_memory() < wanted_huge_memory;
    if (short_of_pages) arguments.insert(arguments.end(), {"--no-huge", "-m", "256"});
    // Nothing is shared with other processes nor left behind in files. The EAL has two options for it, and
    // refuses --in-memory without huge pages.
    if (!has({"--in-memory", "--no-shconf", "--file-prefix", "--huge-dir", "--proc-type", "--legacy-mem"}))
        arguments.emplace_back(short_of_pages || has({"--no-huge"}) ? "--no-shconf" : "--in-memory");
    return arguments;
}

}  // namespace

bool dpdk_started() {
    const std::lock_guard lock(eal_mutex);
    return eal_state == EalState::started;
}

void start_dpdk(const DpdkOptions& options) {
    const std::lock_guard lock(eal_mutex);
    if (eal_state == EalState::started) return;
    if (eal_state == EalState::failed) throw PortError("DPDK failed to start earlier in this process");
    const AffinityKeeper affinity;
    // The EAL keeps pointers into its arguments.
    static std::vector<std::string> arguments;
    static std::vector<char*> argv;
    arguments = complete_arguments(options.arguments, affinity.first_cpu());
    for (std::string& argument : arguments)
        argv.push_back(argument.data());
    argv.push_back(nullptr);
    StandardStreamCapture output;
    if (rte_eal_init(static_cast<int>(arguments.size()), argv.data()) < 0) {
        eal_state = EalState::failed;
        std::string message = "DPDK does not start: " + output.error_line() + " (arguments:";
        for (std::size_t i = 1; i < arguments.size(); ++i)
            message += " " + arguments[i];
        throw PortError(message + ")");
    }
    eal_state = EalState::started;
}

}  // namespace understudy::tap
