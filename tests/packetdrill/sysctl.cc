#include "tests/packetdrill/sysctl.hh"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace understudy::packetdrill {
namespace {

using stack::Duration;

std::string trimmed(std::string_view text) {
    const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '"'; };
    while (!text.empty() && is_space(text.front()))
        text.remove_prefix(1);
    while (!text.empty() && is_space(text.back()))
        text.remove_suffix(1);
    return std::string(text);
}

constexpr const char* namespace_folder = "/proc/sys/net/ipv4/";
constexpr const char* namespace_names[] = {
    "tcp_rmem",
    "tcp_wmem",
    "tcp_window_scaling",
    "tcp_timestamps",
    "tcp_sack",
    "tcp_dsack",
    "tcp_ecn",
    "tcp_syn_retries",
    "tcp_synack_retries",
    "tcp_min_tso_segs",
    "tcp_notsent_lowat",
    "tcp_fin_timeout",
    "tcp_keepalive_time",
    "tcp_keepalive_intvl",
    "tcp_keepalive_probes",
    "tcp_slow_start_after_idle",
    "tcp_early_retrans",
    "tcp_recovery",
    "tcp_syncookies",
    "tcp_mtu_probing",
    "tcp_base_mss",
    "tcp_congestion_control",
    "tcp_retries2",
    "tcp_reordering",
    "tcp_invalid_ratelimit",
};

std::string namespace_value(const char* name) {
    std::ifstream file(std::string(namespace_folder) + name);
    std::string line;
    std::getline(file, line);
    return line;
}

}  // namespace

NamespaceSysctls::NamespaceSysctls() {
    for (const char* name : namespace_names)
        at_first_[name] = namespace_value(name);
}

void NamespaceSysctls::add_changes(Sysctls& sysctls) const {
    for (const auto& [name, value] : at_first_) {
        const auto now = namespace_value(name.c_str());
        if (now != value || sysctls.number("namespace.net.ipv4." + name, 0) != 0)
            sysctls.set("net.ipv4." + name, now);
    }
}

void Sysctls::set(std::string_view assignment) {
    const auto equals = assignment.find('=');
    if (equals == std::string_view::npos) return;
    set(assignment.substr(0, equals), assignment.substr(equals + 1));
}

void Sysctls::set(std::string_view name, std::string_view value) {
    values_[trimmed(name)] = trimmed(value);
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
    const auto seconds = [&](const char* name, Duration otherwise) {
        const auto value = number(name, -1);
        return value < 0 ? otherwise : std::chrono::seconds(value);
    };
    // The public scripts set these buffers first of all.
    tcp.receive_buffer_bytes = static_cast<std::uint32_t>(number("net.ipv4.tcp_rmem", 540000, 1));
    tcp.receive_buffer_max_bytes = static_cast<std::uint32_t>(number("net.ipv4.tcp_rmem", 15 << 20, 2));
    tcp.timestamps = number("net.ipv4.tcp_timestamps", tcp.timestamps) != 0;
    switch (number("net.ipv4.tcp_ecn", 2)) {
        case 0:
            tcp.ecn = stack::Ecn::off;
            break;
        case 1:
            tcp.ecn = stack::Ecn::active;
            break;
        default:
            tcp.ecn = stack::Ecn::passive;
            break;
    }
    switch (number("net.ipv4.tcp_syncookies", 1)) {
        case 0:
            tcp.syn_cookies = stack::SynCookies::off;
            break;
        case 2:
            tcp.syn_cookies = stack::SynCookies::always;
            break;
        default:
            tcp.syn_cookies = stack::SynCookies::automatic;
            break;
    }
    tcp.window_scaling = number("net.ipv4.tcp_window_scaling", 1) != 0;
    tcp.restart_after_idle = number("net.ipv4.tcp_slow_start_after_idle", 1) != 0;
    tcp.loss_probes = number("net.ipv4.tcp_early_retrans", 3) != 0;
    tcp.forward_rto_recovery = number("net.ipv4.tcp_frto", 2) != 0;
    tcp.syn_ack_retries = static_cast<std::uint32_t>(
        std::clamp<std::int64_t>(number("net.ipv4.tcp_synack_retries", 5), 0, 127));
    tcp.mtu_probing = number("net.ipv4.tcp_mtu_probing", 0) != 0;
    tcp.base_mss = static_cast<std::uint16_t>(number("net.ipv4.tcp_base_mss", tcp.base_mss));
    // Not a name of Linux, which has no choice here.
    tcp.answer_future_acks = number("understudy.answer_future_acks", 0) != 0;
    tcp.min_burst_segments = static_cast<std::uint32_t>(
        std::clamp<std::int64_t>(number("net.ipv4.tcp_min_tso_segs", tcp.min_burst_segments), 1, 64));
    tcp.sack = number("net.ipv4.tcp_sack", tcp.sack) != 0;
    tcp.syn_retries =
        static_cast<std::uint32_t>(std::clamp<std::int64_t>(number("net.ipv4.tcp_syn_retries", 6), 0, 127));
    tcp.fin_wait_2_timeout = seconds("net.ipv4.tcp_fin_timeout", tcp.fin_wait_2_timeout);
    tcp.options.keepalive_idle = seconds("net.ipv4.tcp_keepalive_time", tcp.options.keepalive_idle);
    tcp.options.keepalive_interval = seconds("net.ipv4.tcp_keepalive_intvl", tcp.options.keepalive_interval);
    tcp.options.keepalive_count =
        static_cast<std::uint8_t>(number("net.ipv4.tcp_keepalive_probes", tcp.options.keepalive_count));
}

}  // namespace understudy::packetdrill
