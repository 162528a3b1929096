// The captures with known answers, where the environment names their folder.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace understudy::tap::test {

struct Conversation {
    std::string client_address;
    std::string client_port;
    std::string server_port;
    std::size_t frames = 0;

    // Both directions, whatever the server's address is.
    std::string filter() const {
        return "tcp and ((src host " + client_address + " and src port " + client_port + " and dst port " +
               server_port + ") or (dst host " + client_address + " and dst port " + client_port +
               " and src port " + server_port + "))";
    }
};

// Empty where UNDERSTUDY_CAPTURES is not set.
inline std::filesystem::path captures_folder() {
    const char* folder = std::getenv("UNDERSTUDY_CAPTURES");
    return folder != nullptr ? folder : "";
}

// By file name.
inline std::map<std::string, std::vector<Conversation>> read_manifest() {
    std::map<std::string, std::vector<Conversation>> conversations;
    std::ifstream lines(captures_folder() / "manifest.jsonl");
    for (std::string line; std::getline(lines, line);) {
        const auto entry = nlohmann::json::parse(line);
        std::string client = entry.at("client");
        const std::size_t colon = client.rfind(':');
        std::string address = client.substr(0, colon);
        if (address.starts_with('[')) address = address.substr(1, address.size() - 2);
        conversations[entry.at("file")].push_back(
            {.client_address = address,
             .client_port = client.substr(colon + 1),
             .server_port = std::to_string(entry.at("server_port").get<unsigned>()),
             .frames = entry.at("frames")});
    }
    return conversations;
}

}  // namespace understudy::tap::test
