#include "tools/shim/socket.hh"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace understudy::shim {
namespace {

using proto::shim::Address;
using proto::shim::Message;
using proto::shim::SocketName;

constexpr int answer_timeout_ms = 5000;
// Above what programs that count their descriptors from 0 look at.
constexpr int least_channel_number = 200;

struct Configuration {
    sockaddr_un channel{};
    Address services[proto::shim::max_services]{};
    std::size_t service_count = 0;
};
Configuration configuration;

struct Attached {
    std::atomic<int> number{-1};
    std::atomic<std::uint64_t> inode{0};
};
Attached attached[proto::shim::max_services];

Real bound;
std::atomic<bool> is_bound{false};

template <typename Function>
void bind_function(Function& function, const char* name) {
    function = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

// "10.77.0.1:6379" or "[fd00::1]:6379"; writes into the text.
bool parse_service(char* text, Address& service) {
    char* colon = std::strrchr(text, ':');
    if (colon == nullptr) return false;
    *colon = 0;
    service.port = static_cast<std::uint16_t>(std::atoi(colon + 1));
    if (text[0] == '[' && colon > text && colon[-1] == ']') {
        colon[-1] = 0;
        return ::inet_pton(AF_INET6, text + 1, service.octets) == 1;
    }
    service.octets[10] = service.octets[11] = 0xff;
    return ::inet_pton(AF_INET, text, service.octets + 12) == 1;
}

void read_configuration() {
    const char* path = std::getenv(proto::shim::channel_variable);
    const char* services = std::getenv(proto::shim::services_variable);
    if (path == nullptr || services == nullptr || std::strlen(path) >= sizeof configuration.channel.sun_path) return;
    configuration.channel.sun_family = AF_UNIX;
    std::strcpy(configuration.channel.sun_path, path);
    char list[proto::shim::max_services * 64];
    if (std::strlen(services) >= sizeof list) return;
    std::strcpy(list, services);
    char* rest = nullptr;
    for (char* word = ::strtok_r(list, ",", &rest); word != nullptr; word = ::strtok_r(nullptr, ",", &rest))
        if (configuration.service_count < proto::shim::max_services &&
            parse_service(word, configuration.services[configuration.service_count]))
            ++configuration.service_count;
}

bool is_v4(const Address& address) {
    static constexpr std::uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return std::memcmp(address.octets, mapped, sizeof mapped) == 0;
}

std::uint64_t inode_of(int descriptor) {
    struct stat status {};
    return ::fstat(descriptor, &status) == 0 && S_ISSOCK(status.st_mode) ? status.st_ino : 0;
}

__attribute__((constructor)) void start() {
    real();
}

}  // namespace

const Real& real() {
    if (!is_bound.load(std::memory_order_acquire)) {
#define FUNCTION(name, result, parameters) bind_function(bound.name, #name);
#define KERNEL(name)
#include "tools/shim/functions.def"
#undef FUNCTION
#undef KERNEL
        if (configuration.service_count == 0) read_configuration();
        is_bound.store(true, std::memory_order_release);
    }
    return bound;
}

bool read_name(const sockaddr_storage& address, socklen_t length, SocketName& name) {
    constexpr socklen_t before = offsetof(sockaddr_un, sun_path) + 1;
    if (address.ss_family != AF_UNIX || length != before + proto::shim::name_bytes) return false;
    return proto::shim::parse_name(reinterpret_cast<const sockaddr_un&>(address).sun_path + 1,
                                   proto::shim::name_bytes, name);
}

bool find_socket(int descriptor, SocketName& name) {
    if (configuration.service_count == 0) return false;
    const int kept = errno;
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    const bool found = real().getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &length) == 0 &&
                       read_name(address, length, name);
    errno = kept;
    return found;
}

bool from_sockaddr(const sockaddr* address, socklen_t length, Address& out) {
    out = {};
    if (address != nullptr && address->sa_family == AF_INET && length >= sizeof(sockaddr_in)) {
        const auto& v4 = *reinterpret_cast<const sockaddr_in*>(address);
        out.octets[10] = out.octets[11] = 0xff;
        std::memcpy(out.octets + 12, &v4.sin_addr, 4);
        out.port = ntohs(v4.sin_port);
        return true;
    }
    if (address != nullptr && address->sa_family == AF_INET6 && length >= sizeof(sockaddr_in6)) {
        const auto& v6 = *reinterpret_cast<const sockaddr_in6*>(address);
        std::memcpy(out.octets, &v6.sin6_addr, 16);
        out.port = ntohs(v6.sin6_port);
        return true;
    }
    return false;
}

int to_sockaddr(const Address& address, int family, sockaddr* out, socklen_t* length) {
    if (out == nullptr || length == nullptr) {
        errno = EFAULT;
        return -1;
    }
    if (static_cast<int>(*length) < 0) {
        errno = EINVAL;
        return -1;
    }
    sockaddr_storage made{};
    socklen_t size = 0;
    if (family == 6) {
        auto& v6 = reinterpret_cast<sockaddr_in6&>(made);
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(address.port);
        std::memcpy(&v6.sin6_addr, address.octets, 16);
        size = sizeof v6;
    } else {
        auto& v4 = reinterpret_cast<sockaddr_in&>(made);
        v4.sin_family = AF_INET;
        v4.sin_port = htons(address.port);
        std::memcpy(&v4.sin_addr, address.octets + 12, 4);
        size = sizeof v4;
    }
    std::memcpy(out, &made, *length < size ? *length : size);
    *length = size;
    return 0;
}

const Address* find_service(const sockaddr* address, socklen_t length, bool v6_only) {
    Address wanted;
    if (configuration.service_count == 0 || !from_sockaddr(address, length, wanted)) return nullptr;
    static constexpr std::uint8_t v4_any[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0};
    static constexpr std::uint8_t v6_any[16] = {};
    const bool any_v4 = std::memcmp(wanted.octets, v4_any, 16) == 0;
    const bool any_v6 = std::memcmp(wanted.octets, v6_any, 16) == 0;
    for (std::size_t i = 0; i < configuration.service_count; ++i) {
        const Address& service = configuration.services[i];
        if (service.port != wanted.port) continue;
        const bool served = is_v4(service) ? any_v4 || (any_v6 && !v6_only) : any_v6;
        if (served || std::memcmp(service.octets, wanted.octets, 16) == 0) return &service;
    }
    return nullptr;
}

int connect_channel() {
    const int channel = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (channel < 0) return -1;
    if (real().connect(channel, reinterpret_cast<const sockaddr*>(&configuration.channel),
                       sizeof configuration.channel) == 0)
        return channel;
    const int error = errno;
    ::close(channel);
    errno = error;
    return -1;
}

bool send_message(int channel, const Message& message, int passed_descriptor) {
    iovec part{const_cast<Message*>(&message), sizeof message};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    if (passed_descriptor >= 0) {
        header.msg_control = control;
        header.msg_controllen = sizeof control;
        cmsghdr* first = CMSG_FIRSTHDR(&header);
        first->cmsg_level = SOL_SOCKET;
        first->cmsg_type = SCM_RIGHTS;
        first->cmsg_len = CMSG_LEN(sizeof passed_descriptor);
        std::memcpy(CMSG_DATA(first), &passed_descriptor, sizeof passed_descriptor);
    }
    ssize_t sent = 0;
    // A listening socket may be non-blocking: it is the channel that must take the message.
    while ((sent = real().sendmsg(channel, &header, MSG_NOSIGNAL)) < 0 && (errno == EINTR || errno == EAGAIN)) {
        pollfd waiting{.fd = channel, .events = POLLOUT, .revents = 0};
        ::poll(&waiting, 1, answer_timeout_ms);
    }
    return sent == static_cast<ssize_t>(sizeof message);
}

namespace {

bool receive_answer(int from, Message& answer) {
    pollfd waiting{.fd = from, .events = POLLIN, .revents = 0};
    int ready = 0;
    while ((ready = ::poll(&waiting, 1, answer_timeout_ms)) < 0 && errno == EINTR) {
    }
    if (ready <= 0) {
        errno = ETIMEDOUT;
        return false;
    }
    if (::recv(from, &answer, sizeof answer, MSG_DONTWAIT) != static_cast<ssize_t>(sizeof answer) ||
        answer.magic_number != proto::shim::magic) {
        errno = EPROTO;
        return false;
    }
    if (answer.error != 0) errno = answer.error;
    return answer.error == 0;
}

}  // namespace

bool ask(int channel, const Message& question, Message& answer) {
    // The first message of a connection is answered there; later ones would meet what accept() waits for.
    if (question.kind == proto::shim::Kind::bind || question.kind == proto::shim::Kind::attach)
        return send_message(channel, question) && receive_answer(channel, answer);
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return false;
    const bool sent = send_message(channel, question, pair[1]);
    ::close(pair[1]);
    const bool answered = sent && receive_answer(pair[0], answer);
    const int error = errno;
    ::close(pair[0]);
    errno = error;
    return answered;
}

int attached_channel(const Address& service) {
    std::size_t index = 0;
    while (index < configuration.service_count &&
           std::memcmp(&configuration.services[index], &service, sizeof service) != 0)
        ++index;
    if (index == configuration.service_count) {
        errno = ENOTCONN;
        return -1;
    }
    Attached& place = attached[index];
    const int number = place.number.load(std::memory_order_acquire);
    if (number >= 0 && inode_of(number) == place.inode.load(std::memory_order_acquire)) return number;
    const int channel = connect_channel();
    if (channel < 0) return -1;
    Message question, answer;
    question.kind = proto::shim::Kind::attach;
    question.local = service;
    if (!ask(channel, question, answer)) {
        const int error = errno;
        ::close(channel);
        errno = error;
        return -1;
    }
    int high = ::fcntl(channel, F_DUPFD_CLOEXEC, least_channel_number);
    if (high >= 0)
        ::close(channel);
    else
        high = channel;
    // Of two threads that come here at once, one wins; the other's connection stays open unused.
    place.inode.store(inode_of(high), std::memory_order_release);
    place.number.store(high, std::memory_order_release);
    return high;
}

void tell(const char* line) {
    char text[512];
    const std::size_t length = ::strnlen(line, sizeof text - 16);
    std::memcpy(text, "understudy: ", 12);
    std::memcpy(text + 12, line, length);
    text[12 + length] = '\n';
    (void)!::write(STDERR_FILENO, text, 13 + length);
}

}  // namespace understudy::shim
