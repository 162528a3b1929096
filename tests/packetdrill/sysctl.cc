#include "tests/packetdrill/sysctl.hh"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace understudy::packetdrill {
namespace {

std::string trimmed(std::string_view text) {
    const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '"'; };
    while (!text.empty() && is_space(text.front()))
        text.remove_prefix(1);
    while (!text.empty() && is_space(text.back()))
        text.remove_suffix(1);
    return std::string(text);
}

// RFC 7323 2.3, as Linux chooses it: the smallest scale that lets 16 bits name the largest buffer.
std::uint8_t scale_for(std::int64_t bytes) {
    std::uint8_t scale = 0;
    while (scale < 14 && (bytes >> scale) > 65535)
        ++scale;
    return scale;
}

}  // namespace

void Sysctls::set(std::string_view assignment) {
    const auto equals = assignment.find('=');
    if (equals == std::string_view::npos) return;
    values_[trimmed(assignment.substr(0, equals))] = trimmed(assignment.substr(equals + 1));
}

void Sysctls::read_file(const char* path) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);)
        set(line);
}

std::int64_t Sysctls::number(std::string_view name, std::int64_t otherwise, unsigned n) const {
    const auto found = values_.find(name);
    if (found == values_.end()) return otherwise;
    std::istringstream words(found->second);
    std::string word;
    for (unsigned i = 0; i <= n; ++i)
        if (!(words >> word)) return otherwise;
    char* end = nullptr;
    errno = 0;
    const long long value = std::strtoll(word.c_str(), &end, 0);
    return errno != 0 || end == word.c_str() ? otherwise : value;
}

void Sysctls::apply(stack::Settings& settings) const {
    stack::TcpSettings& tcp = settings.tcp;
    const std::int64_t largest_receive = number("net.ipv4.tcp_rmem", 15 << 20, 2);
    tcp.window_scale =
        number("net.ipv4.tcp_window_scaling", 1) != 0 ? scale_for(largest_receive) : std::uint8_t{0};
    tcp.timestamps = number("net.ipv4.tcp_timestamps", tcp.timestamps) != 0;
    tcp.sack = number("net.ipv4.tcp_sack", tcp.sack) != 0;
    tcp.syn_retries =
        static_cast<std::uint32_t>(std::clamp<std::int64_t>(number("net.ipv4.tcp_syn_retries", 6), 0, 127));
}

}  // namespace understudy::packetdrill
