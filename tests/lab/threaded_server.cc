// As asyncio_server.py, with a thread for each connection and stdio on its descriptor: ADDRESS PORT.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sodium/crypto_hash_sha256.h>
#include <sodium/utils.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <thread>

namespace {

void serve(int connection) {
    std::FILE* input = ::fdopen(connection, "r");
    std::FILE* output = ::fdopen(::dup(connection), "w");
    char* line = nullptr;
    std::size_t room = 0;
    for (ssize_t length = 0; (length = ::getline(&line, &room, input)) > 0;) {
        const std::string_view text(line, static_cast<std::size_t>(length) - 1);
        unsigned char hash[crypto_hash_sha256_BYTES];
        crypto_hash_sha256(hash, reinterpret_cast<const unsigned char*>(text.data()), text.size());
        char hex[2 * sizeof hash + 1];
        std::fprintf(output, "%s\n", sodium_bin2hex(hex, sizeof hex, hash, sizeof hash));
        std::fflush(output);
    }
    std::fputs("bye\n", output);
    std::free(line);
    std::fclose(output);
    std::fclose(input);
}

}  // namespace

int main(int argc, char** argv) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    if (argc != 3 || ::inet_pton(AF_INET, argv[1], &address.sin_addr) != 1) return 2;
    address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(argv[2])));
    const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
    const int on = 1;
    ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener, SOMAXCONN) != 0) {
        std::perror("threaded_server");
        return 1;
    }
    for (;;) {
        const int connection = ::accept(listener, nullptr, nullptr);
        if (connection >= 0) std::thread(serve, connection).detach();
    }
}
