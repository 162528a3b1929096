#include "tools/agent/service_on_port.hh"

#include <algorithm>
#include <cctype>

#include "tools/common/program.hh"

namespace understudy::tools {
namespace {

// Interface names reach the packet filter's words: no more than the usual characters.
bool is_interface_name(const std::string& name) {
    return !name.empty() && name.size() < 16 && std::ranges::all_of(name, [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.' || c == '@';
    });
}

}  // namespace

ServiceOnPort parse_service_on_port(const char* option, const std::string& text) {
    const std::size_t equals = text.find('=');
    const auto endpoint =
        equals == std::string::npos ? std::nullopt : stack::parse_endpoint(text.substr(equals + 1));
    if (!endpoint || endpoint->port == 0 || !is_interface_name(text.substr(0, equals)))
        throw UsageError(std::string(option) + " \"" + text +
                         "\" is not IFACE=ADDR:PORT, for example lan0=10.77.0.1:7000");
    return {text.substr(0, equals), *endpoint};
}

}  // namespace understudy::tools
