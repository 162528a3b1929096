#include "tools/agent/guard_target.hh"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <memory>
#include <sstream>
#include <vector>

#include "tools/common/program.hh"

namespace understudy::tools {
namespace {

namespace fs = std::filesystem;

const std::array<fs::path, 3> hierarchies{"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"};

bool is_group(const fs::path& path) {
    std::error_code error;
    return fs::is_regular_file(path / "cgroup.procs", error);
}

fs::path find_group(const std::string& text) {
    if (text.starts_with("/sys/fs/cgroup") && is_group(text)) return text;
    for (const fs::path& hierarchy : hierarchies)
        if (const fs::path path = hierarchy / text.substr(text.starts_with('/') ? 1 : 0); is_group(path)) return path;
    return {};
}

// Where systemd keeps the unit; empty: it does not know one, or is not there.
std::string group_of_unit(const std::string& unit) {
    const bool is_name = std::ranges::all_of(unit, [](unsigned char c) {
        return std::isalnum(c) != 0 || std::string_view("-_.@:\\").find(static_cast<char>(c)) != std::string_view::npos;
    });
    if (!is_name) return {};
    const std::string command = "systemctl show -p ControlGroup --value -- '" + unit + "' 2>/dev/null";
    const std::unique_ptr<FILE, int (*)(FILE*)> output(popen(command.c_str(), "r"), pclose);
    std::array<char, 4096> line{};
    if (!output || std::fgets(line.data(), line.size(), output.get()) == nullptr) return {};
    const std::string group = line.data();
    return group.substr(0, group.find('\n'));
}

// The field of a stat file (proc(5)), counted from the state, which is 0; 0: it is not there.
unsigned long stat_field(const fs::path& path, int number) {
    std::ifstream file(path);
    std::string stat;
    std::getline(file, stat);
    // Behind the name, which may hold anything.
    const std::size_t end = stat.rfind(')');
    if (end == std::string::npos) return 0;
    std::istringstream fields(stat.substr(end + 1));
    std::string field;
    for (int i = 0; i <= number; ++i)
        fields >> field;
    unsigned long value = 0;
    std::from_chars(field.data(), field.data() + field.size(), value);
    return value;
}

pid_t parent_of(pid_t process) {
    return static_cast<pid_t>(stat_field("/proc/" + std::to_string(process) + "/stat", 1));
}

std::set<pid_t> with_descendants(pid_t process) {
    std::vector<std::pair<pid_t, pid_t>> families;
    for (const auto& entry : fs::directory_iterator("/proc")) {
        const std::string name = entry.path().filename();
        pid_t child = 0;
        const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), child);
        if (error == std::errc() && end == name.data() + name.size()) families.emplace_back(child, parent_of(child));
    }
    std::set<pid_t> all;
    if (std::ranges::any_of(families, [process](const auto& family) { return family.first == process; }))
        all.insert(process);
    for (std::size_t before = 0; before != all.size();) {
        before = all.size();
        for (const auto& [child, parent] : families)
            if (all.contains(parent)) all.insert(child);
    }
    return all;
}

void read_group(const fs::path& group, std::set<pid_t>& into) {
    std::ifstream file(group / "cgroup.procs");
    for (pid_t process = 0; file >> process;)
        if (process > 0) into.insert(process);
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(group, error))
        if (entry.is_directory(error)) read_group(entry.path(), into);
}

}  // namespace

bool still_runs(pid_t process) {
    constexpr unsigned long exiting = 4;  // the kernel's PF_EXITING
    std::error_code error;
    const fs::directory_iterator threads("/proc/" + std::to_string(process) + "/task", error);
    return std::any_of(begin(threads), end(threads), [](const fs::directory_entry& thread) {
        const unsigned long flags = stat_field(thread.path() / "stat", 6);
        return flags != 0 && (flags & exiting) == 0;
    });
}

GuardTarget::GuardTarget(const std::string& text) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), process_);
    if (error == std::errc() && end == text.data() + text.size() && process_ > 0) {
        if (processes().empty()) throw UsageError("--guard " + text + ": no such process");
        return;
    }
    process_ = 0;
    group_ = find_group(text);
    if (group_.empty() && !text.starts_with('/'))
        if (const std::string of_unit = group_of_unit(text); !of_unit.empty()) group_ = find_group(of_unit);
    if (group_.empty())
        throw UsageError("--guard " + text + ": no process, control group or running unit has that name");
}

std::set<pid_t> GuardTarget::processes() const {
    if (process_ != 0) return with_descendants(process_);
    std::set<pid_t> all;
    read_group(group_, all);
    return all;
}

}  // namespace understudy::tools
