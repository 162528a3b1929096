#include "tests/corpus/manifest.hh"

#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace understudy::corpus {
namespace {

Answer read_answer(const nlohmann::json& json) {
    const auto& hash = json.at("sha256");
    return {.bytes = json.at("bytes"), .sha256 = hash.is_null() ? "" : hash.get<std::string>()};
}

// "192.0.2.1:80", and "2001:db8::1:80" with or without brackets: the port stands behind the last colon.
stack::Endpoint read_endpoint(const std::string& text) {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string::npos) throw std::runtime_error("no port in \"" + text + "\"");
    std::string address = text.substr(0, colon);
    if (address.starts_with('[') && address.ends_with(']')) address = address.substr(1, address.size() - 2);
    const auto parsed = stack::parse_ip_address(address);
    const unsigned long port = std::stoul(text.substr(colon + 1));
    if (!parsed || port > UINT16_MAX) throw std::runtime_error("no endpoint: \"" + text + "\"");
    return {*parsed, static_cast<std::uint16_t>(port)};
}

Conversation read_line(const std::string& line) {
    const auto json = nlohmann::json::parse(line);
    Conversation c;
    c.file = json.at("file");
    c.stream = json.at("tshark_stream");
    c.client = read_endpoint(json.at("client"));
    c.server_port = json.at("server_port");
    c.client_isn = json.at("client_isn");
    c.server_isn = json.at("server_isn");
    c.strict = json.at("strict");
    c.client_to_server = read_answer(json.at("client_to_server"));
    c.server_to_client = read_answer(json.at("server_to_client"));
    return c;
}

}  // namespace

std::vector<Conversation> read_manifest(const std::filesystem::path& path) {
    std::ifstream lines(path);
    if (!lines) throw std::runtime_error(fmt::format("{}: cannot be read", path.string()));
    std::vector<Conversation> conversations;
    std::size_t number = 0;
    for (std::string line; std::getline(lines, line);) {
        ++number;
        if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
        try {
            conversations.push_back(read_line(line));
        } catch (const std::exception& error) {
            throw std::runtime_error(fmt::format("{}:{}: {}", path.string(), number, error.what()));
        }
    }
    return conversations;
}

}  // namespace understudy::corpus
