// A manifest of captures with known answers: one line of JSON for each TCP conversation.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "stack/address.hh"

namespace understudy::corpus {

// The bytes of one direction, as others reconstructed them.
struct Answer {
    std::uint64_t bytes = 0;
    std::string sha256;  // lower-case hexadecimal; empty: not known
};

struct Conversation {
    std::string file;  // relative to the manifest's root
    std::uint32_t stream = 0;
    stack::Endpoint client;
    std::uint16_t server_port = 0;
    std::uint32_t client_isn = 0;
    std::uint32_t server_isn = 0;
    bool strict = false;  // complete, unambiguous, acknowledged to the last byte
    Answer client_to_server;
    Answer server_to_client;
};

// Throws std::runtime_error with one line that names the file and the line in it.
std::vector<Conversation> read_manifest(const std::filesystem::path& path);

}  // namespace understudy::corpus
